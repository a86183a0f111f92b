package pop3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/buffer"
)

// conn lies between the network and go-pop3. It supplies what go-pop3 lacks: deadlines, bounds, exact bytes, and speed.
//
// go-pop3 reads line by line, takes any LF for the end of a line and writes CRLF for it, and takes "." LF for the end of a
// message. RFC 1939, section 3, knows lines that end in CRLF only; any other LF or CR is the message's own and must arrive
// as it is. So conn collects the content of each answer itself, in large blocks, and go-pop3 sees an answer without content.
//
// A conn belongs to one goroutine, except for cut, interrupt and Close.
type conn struct {
	net.Conn
	timeout time.Duration // longest wait for a sign of life

	// ahead is called before each wait for the network. It may send commands, and returns whether it would send more if
	// there were more requests; then interrupt has it called again during the wait. nil sends nothing.
	ahead func() bool

	unsent  []byte      // commands, which go out when an answer is waited for, many in one packet
	in      []byte      // from the network
	r, w    int         // in[r:w] is not looked at yet
	out     []byte      // for go-pop3 to read
	read    int         // out[read:] is not read by go-pop3 yet
	err     error       // the end of the connection; nil while it is up
	asked   []*exchange // commands whose answers have not begun, in their order
	content *exchange   // the answer that is past its first line and has not come whole; nil between answers
	doubt   *exchange   // the answer that ended before its size; what follows is not looked at until realign; nil if none

	// aligned tells whether a line is the answer that realign waits for. nil when realign does not wait.
	aligned func(line string) bool
	skipped int64 // bytes that realign has left out
	within  bool  // what was left out last ended within a line
	owed    int64 // bytes of content, as announced, of all answers that have not come whole

	mu          sync.Mutex // guards what follows, and that no deadline is later than end
	end         time.Time  // no wait is longer than until then; zero is no limit
	waiting     bool       // a wait for the network is under way that interrupt may end
	interrupted bool       // interrupt was called since ahead was
}

const (
	bufferSize = 128 << 10 // also the longest first line of an answer
	maxContent = 256 << 20 // bytes that an answer may hold at least, whatever LIST said

	// trusted is for how many bytes of an answer room is made because LIST announces them. When that many have come, room
	// is made for all.
	trusted = 4 << 20
)

// errConfused says that an answer does not fit the command, as when a server loses commands that were sent ahead.
var errConfused = fmt.Errorf("%w: the answers of the server are out of step", remote.ErrServer)

// exchange is a command and its answer.
type exchange struct {
	command   string // without CRLF; may hold a password; empty for the greeting
	multi     bool   // a positive answer has content after its first line
	challenge bool   // the answer may be a challenge ("+ ", RFC 5034, section 4)
	size      int64  // bytes of the content, as LIST announces it; 0 when not known
	whole     bool   // the content is a whole message: when it ends before its size, its end is in doubt
	header    int64  // bytes of the message whose header the content is: within the header, before so many, its end is in doubt

	refused    bool   // the answer is -ERR
	challenged bool   // the answer is a challenge
	said       string // what the first line says after +OK or -ERR
	answer     []byte // the content, dots unstuffed

	dots   int64 // how many dots before a dot were taken out of answer
	onlyLF bool  // the first line ended in a bare LF, as all lines of such a server do
	unsure int64 // how many dots in answer may have been stuffed: before a dot, at the start of a line after a bare LF
}

// verb is the command as it may be shown.
func (x *exchange) verb() string {
	if x.command == "" {
		return "the connection" // a greeting answers it
	}
	verb, _, _ := strings.Cut(x.command, " ")
	return verb
}

func newConn(c net.Conn, timeout time.Duration) *conn {
	return &conn{Conn: c, timeout: timeout, in: make([]byte, bufferSize)}
}

// Dial gives go-pop3 the connection, since go-pop3 only uses connections that it dials.
func (c *conn) Dial(string, string) (net.Conn, error) { return c, nil }

// expect says what the next command is, before it is written.
func (c *conn) expect(x *exchange) {
	if len(c.asked) == 0 && c.content == nil && c.r < c.w && c.err == nil {
		c.err = fmt.Errorf("%w: the server said unasked %q", remote.ErrLost, remote.Shorten(string(c.in[c.r:c.w])))
	}
	c.asked = append(c.asked, x)
	c.owed += x.size
}

// coming returns how many bytes of content the server still has to send, as announced.
func (c *conn) coming() int64 {
	if c.content == nil {
		return c.owed
	}
	return c.owed - min(c.content.count(), c.content.size)
}

// cut ends every wait at the given time at the latest.
func (c *conn) cut(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end.IsZero() || at.Before(c.end) {
		c.end = at
		_ = c.SetDeadline(at)
	}
}

// interrupt says that there may be something to send, and ends a wait for the network, so that ahead is called.
func (c *conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	if c.waiting {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

// Write stores commands until an answer is waited for.
func (c *conn) Write(p []byte) (int, error) {
	c.unsent = append(c.unsent, p...)
	return len(p), c.err
}

// Read gives go-pop3 the first lines of the answers, and empty contents.
func (c *conn) Read(p []byte) (int, error) {
	for c.read == len(c.out) {
		c.out, c.read = c.out[:0], 0
		c.frame()
		if len(c.out) > 0 {
			break
		}
		if c.err != nil {
			return 0, c.err
		}
		if err := c.fill(); err != nil {
			c.err = ended(err)
		}
	}
	n := copy(p, c.out[c.read:])
	c.read += n
	return n, nil
}

// fill sends what there is to send and waits until bytes come.
func (c *conn) fill() error {
	c.w = copy(c.in, c.in[c.r:c.w])
	c.r = 0
	until := time.Now().Add(c.timeout) // also when the wait is interrupted: that is no sign of life
	if c.aligned != nil {
		until = time.Now().Add(c.timeout / 4) // a reader waits, and another session can serve it
	}
	for {
		open := c.ahead != nil && c.lookAhead()
		if len(c.unsent) > 0 {
			c.mu.Lock()
			c.armLocked(c.SetWriteDeadline, time.Now().Add(c.timeout))
			c.mu.Unlock()
			_, err := c.Conn.Write(c.unsent)
			c.unsent = c.unsent[:0]
			if err != nil {
				return err
			}
		}
		interrupted, err := c.await(until, open)
		if !interrupted {
			return err
		}
	}
}

func (c *conn) lookAhead() bool {
	c.mu.Lock()
	c.interrupted = false
	c.mu.Unlock()
	return c.ahead()
}

// await waits until bytes come, at most until a time. open says that interrupt may end the wait.
func (c *conn) await(until time.Time, open bool) (interrupted bool, err error) {
	c.mu.Lock()
	if open && c.interrupted {
		c.mu.Unlock()
		return true, nil
	}
	c.waiting = open
	c.armLocked(c.SetReadDeadline, until)
	c.mu.Unlock()
	n, err := c.Conn.Read(c.in[c.w:])
	c.w += n
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = false
	if n > 0 {
		return false, nil
	}
	return open && c.interrupted && errors.Is(err, os.ErrDeadlineExceeded), err
}

// armLocked sets a deadline, which is never later than end.
func (c *conn) armLocked(set func(time.Time) error, at time.Time) {
	if !c.end.IsZero() && c.end.Before(at) {
		at = c.end
	}
	_ = set(at) // a connection that takes no deadline is closed, which the next call says
}

// ended wraps the error that ended a connection into an error of package remote.
func ended(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded): // ETIMEDOUT is not one: it says that the system has given up the connection
		return fmt.Errorf("%w: %w", remote.ErrTimeout, err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: closed by the server", remote.ErrLost)
	default:
		return fmt.Errorf("%w: %w", remote.ErrLost, err)
	}
}

// frame reads the answers in what has arrived, until more has to arrive.
func (c *conn) frame() {
	for c.r < c.w && c.err == nil && c.doubt == nil {
		if c.aligned != nil && c.skip() {
			continue
		}
		if c.content != nil {
			if !c.collect() {
				return
			}
			continue
		}
		if len(c.asked) == 0 || c.aligned != nil {
			return
		}
		i := bytes.IndexByte(c.in[c.r:c.w], '\n')
		if i < 0 {
			if c.w-c.r == len(c.in) {
				c.err = fmt.Errorf("%w: a line of more than %d bytes", remote.ErrServer, len(c.in))
			}
			return
		}
		c.status(string(c.in[c.r : c.r+i+1]))
		c.r += i + 1
	}
}

// realign has everything left out that comes before the answer to x, the next command to be sent. is tells whether a line is
// that answer. Answers that were waited for do not come any more.
func (c *conn) realign(x *exchange, is func(line string) bool) {
	c.unsent, c.asked, c.content, c.doubt, c.owed = c.unsent[:0], nil, nil, nil, 0
	c.aligned, c.skipped, c.within = is, 0, false
	c.asked = append(c.asked, x)
}

// skip leaves out what is not the answer that realign waits for. It returns false when more has to arrive, true when the answer
// is next or something was left out.
func (c *conn) skip() bool {
	b := c.in[c.r:c.w]
	i := bytes.IndexByte(b, '\n')
	switch {
	case i < 0 && len(b) < len(c.in):
		return false
	case i < 0:
		c.r, c.skipped, c.within = c.w, c.skipped+int64(len(b)), true
	case !c.within && c.aligned(string(b[:i+1])):
		c.aligned = nil
	default:
		c.r, c.skipped, c.within = c.r+i+1, c.skipped+int64(i+1), false
	}
	return true
}

// status reads the first line of an answer.
func (c *conn) status(line string) {
	x := c.asked[0]
	c.asked[0] = nil
	c.asked = c.asked[1:]
	text, crlf := strings.CutSuffix(line, "\r\n")
	text = strings.TrimSuffix(text, "\n")
	x.onlyLF = !crlf
	word := "+OK"
	switch {
	case len(text) >= 3 && strings.EqualFold(text[:3], "+OK"):
		text = text[3:]
		if x.multi {
			c.content = x
		}
	case len(text) >= 4 && strings.EqualFold(text[:4], "-ERR"):
		word, text = "-ERR", text[4:]
		x.refused = true
	case x.challenge && strings.HasPrefix(text, "+"):
		text = text[1:] // go-pop3 knows no challenge
		x.challenged = true
	default:
		c.err = fmt.Errorf("%w: the server answers %q to %s", errConfused, remote.Shorten(text), x.verb())
		return
	}
	if c.content == nil {
		c.owed -= x.size
	}
	c.out = append(append(c.out, word...), ' ')
	c.out = append(append(c.out, strings.TrimLeft(text, " \t")...), "\r\n"...)
}

// collect takes what has arrived of the content of an answer. It returns false when too little has arrived to tell whether it
// is the end of the content.
func (c *conn) collect() bool {
	x, b := c.content, c.in[c.r:c.w]
	if n := len(x.answer); b[0] == '.' && (n == 0 || x.answer[n-1] == '\n') {
		ending := 0 // length of the line when it is a lone dot
		switch {
		case len(b) < 2, b[1] == '\r' && len(b) < 3:
			return false
		case b[1] == '\n':
			ending = 2
		case b[1] == '\r' && b[2] == '\n':
			ending = 3
		}
		afterLF := n > 0 && !bytes.HasSuffix(x.answer, []byte("\r\n"))
		proper := ending == 3 && !afterLF
		// Some servers end a message in other ways. Where it may be a line of the message, LIST says whether it is.
		if proper || ending > 0 && (x.onlyLF || x.count() >= x.size) {
			c.r += ending
			c.content = nil
			c.owed -= x.size
			x.finish()
			if n := int64(len(x.answer)); x.whole && n < x.size || n < x.header && !hasEmptyLine(x.answer) {
				c.doubt = x
			}
			c.out = append(c.out, ".\r\n"...)
			return true
		}
		if !afterLF {
			c.r++ // the dot is stuffed
			x.dots++
			b = b[1:]
		} else if b[1] == '.' {
			// A server for which LF ends a line has stuffed this dot; for one with CRLF it is the message's own.
			x.unsure++
		}
	}
	// Up to the next line that begins with a dot.
	if i := bytes.Index(b, []byte("\n.")); i >= 0 {
		b = b[:i+1]
	}
	c.r += len(b)
	x.add(b)
	if most := max(maxContent, x.size+x.size/2); x.count() > most {
		c.err = fmt.Errorf("%w: more than %d bytes in answer to %s", remote.ErrServer, most, x.verb())
	}
	return true
}

// count returns how many bytes of content have come.
func (x *exchange) count() int64 { return int64(len(x.answer)) - x.unsure }

// add adds to the content. It makes room for what LIST announces, and a little more, since some servers count LF where they
// send CRLF.
func (x *exchange) add(b []byte) {
	if n := len(x.answer) + len(b); n > cap(x.answer) {
		room := min(x.size+x.size/32+2, maxContent)
		if x.answer == nil {
			room = min(room, trusted)
		}
		if room >= int64(n) {
			x.answer = append(buffer.Get(int(room))[:0], x.answer...)
		}
	}
	x.answer = append(x.answer, b...)
}

// finish decides, once all content is there, whether dots after a bare LF were stuffed: the announced size says it, and if it
// fits neither way, they were, since for most servers LF ends a line. It also gives back room that was not needed.
func (x *exchange) finish() {
	fits := func(n int64) bool {
		return n == x.size || n == x.size+2 // two more where the message has no CRLF before the terminator
	}
	if n := x.count(); x.unsure > 0 && (fits(n) || !fits(n+x.unsure)) {
		x.answer = unstuffLF(x.answer)
	}
	if len(x.answer) < cap(x.answer)/4*3 {
		x.answer = bytes.Clone(x.answer)
	}
}

// unstuffLF removes, in place, the dots before a dot at the start of a line after a bare LF.
func unstuffLF(b []byte) []byte {
	plain := b[:0]
	for {
		i := bytes.Index(b, []byte("\n.."))
		if i < 0 {
			return append(plain, b...)
		}
		if i > 0 && b[i-1] == '\r' {
			plain = append(plain, b[:i+3]...)
		} else {
			plain = append(plain, b[:i+2]...)
		}
		b = b[i+3:]
	}
}
