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
)

// conn stands between the network and go-pop3 and supplies what that lacks: deadlines, bounds, and faithfulness.
//
// go-pop3 takes any LF for the end of a line and writes CRLF for it, and takes "." LF for the end of a message. RFC
// 1939, section 3, knows lines that end in CRLF only; what else a message holds is to arrive as it is. So conn
// follows the answers as they stream by, and where an answer holds a bare LF, it puts marks that go-pop3 leaves alone
// and that restore turns back. An answer without one, which is nearly every one, passes unchanged.
//
// It belongs to one goroutine, except for cut and Close.
type conn struct {
	net.Conn
	timeout time.Duration // longest wait for a sign of life

	unsent  []byte // commands: they go out when an answer is waited for, many in one packet
	in      []byte // from the network
	r, w    int    // in[r:w] is not looked at yet
	out     []byte // for go-pop3
	read    int    // out[read:] is not taken yet
	err     error  // what ended the connection
	asked   []*exchange
	content *exchange // whose answer is past its first line; nil between answers

	lineStart bool // at the start of a line of content
	afterLF   bool // the line before ended in a bare LF
	afterCR   bool // the last byte was CR

	mu  sync.Mutex // guards end, and that a deadline is not set later than it
	end time.Time  // when set, nothing is waited for longer than this
}

// The marks that stand for what go-pop3 would change. A mark byte of the message itself is marked.
const (
	mark       = 0x10 // DLE: rare in mail, unlike ESC
	markItself = 'm'
	markLF     = 'n' // a bare LF
	markDot    = 'd' // a dot after a bare LF that may have been stuffed
	markNoEnd  = 'e' // the CRLF after it is not the message's: the terminator followed a bare LF
)

const (
	bufferSize = 64 << 10  // also the longest first line of an answer
	maxContent = 256 << 20 // what an answer may hold at least, whatever LIST said
)

// errConfused says that an answer is none to what was asked, as when a server loses commands that were sent ahead.
var errConfused = fmt.Errorf("%w: its answers are out of step", remote.ErrServer)

// exchange is a command and its answer.
type exchange struct {
	command   string // without CRLF; may hold a password; empty for the greeting
	multi     bool   // the answer has content after its first line, when that is positive
	challenge bool   // the answer may be a challenge ("+ ", RFC 5034, section 4)
	size      int64  // of the content, as LIST announces it; 0 when not known

	refused    bool   // -ERR
	challenged bool   // the answer is a challenge
	said       string // what the first line says after +OK or -ERR
	answer     []byte // the content, dots unstuffed

	onlyLF bool  // the first line ended in a bare LF: a server that knows nothing else
	marked bool  // the content holds marks
	dots   int64 // how many of them are markDot
	count  int64 // bytes of content so far, without stuffed dots
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

// Dial hands the connection to go-pop3, which only takes one that it dials.
func (c *conn) Dial(string, string) (net.Conn, error) { return c, nil }

// expect says what the next command is, before it is written.
func (c *conn) expect(x *exchange) {
	if len(c.asked) == 0 && c.content == nil && c.r < c.w && c.err == nil {
		c.err = fmt.Errorf("%w: the server said unasked %q", remote.ErrLost, shorten(string(c.in[c.r:c.w])))
	}
	c.asked = append(c.asked, x)
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

func (c *conn) arm(set func(time.Time) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := time.Now().Add(c.timeout)
	if !c.end.IsZero() && c.end.Before(at) {
		at = c.end
	}
	_ = set(at) // a connection that takes no deadline is closed, which the next call says
}

// Write keeps commands until an answer is waited for.
func (c *conn) Write(p []byte) (int, error) {
	c.unsent = append(c.unsent, p...)
	return len(p), c.err
}

// Read gives go-pop3 what the answers say.
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
		c.fill()
	}
	n := copy(p, c.out[c.read:])
	c.read += n
	return n, nil
}

func (c *conn) fill() {
	if len(c.unsent) > 0 {
		c.arm(c.SetWriteDeadline)
		_, err := c.Conn.Write(c.unsent)
		c.unsent = c.unsent[:0]
		if err != nil {
			c.err = ended(err)
			return
		}
	}
	c.w = copy(c.in, c.in[c.r:c.w])
	c.r = 0
	c.arm(c.SetReadDeadline)
	n, err := c.Conn.Read(c.in[c.w:])
	c.w += n
	if n == 0 && err != nil {
		c.err = ended(err)
	}
}

// ended says what the end of a connection means for who waits for an answer.
func ended(err error) error {
	var timeout net.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: %w", remote.ErrTimeout, err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: closed by the server", remote.ErrLost)
	default:
		return fmt.Errorf("%w: %w", remote.ErrLost, err)
	}
}

// frame moves what has arrived to out, until more has to arrive.
func (c *conn) frame() {
	for c.r < c.w && c.err == nil {
		if c.content != nil {
			if !c.line() {
				return
			}
			continue
		}
		if len(c.asked) == 0 {
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

// status looks at the first line of an answer.
func (c *conn) status(line string) {
	x := c.asked[0]
	c.asked = c.asked[1:]
	text, crlf := strings.CutSuffix(line, "\r\n")
	text = strings.TrimSuffix(text, "\n")
	x.onlyLF = !crlf
	word := "+OK"
	switch {
	case len(text) >= 3 && strings.EqualFold(text[:3], "+OK"):
		text = text[3:]
		if x.multi {
			c.content, c.lineStart, c.afterLF, c.afterCR = x, true, false, false
		}
	case len(text) >= 4 && strings.EqualFold(text[:4], "-ERR"):
		word, text = "-ERR", text[4:]
		x.refused = true
	case x.challenge && strings.HasPrefix(text, "+"):
		text = text[1:] // go-pop3 knows no challenge
		x.challenged = true
	default:
		c.err = fmt.Errorf("%w: it answers %q to %s", errConfused, shorten(text), x.verb())
		return
	}
	c.out = append(append(c.out, word...), ' ')
	c.out = append(append(c.out, strings.TrimLeft(text, " \t")...), "\r\n"...)
}

// line moves a line of content, or as much of it as has arrived. It returns false when that is too little to tell.
func (c *conn) line() bool {
	x, b := c.content, c.in[c.r:c.w]
	if c.lineStart && b[0] == '.' {
		ending := 0 // length of the line when it is a lone dot
		switch {
		case len(b) < 2, b[1] == '\r' && len(b) < 3:
			return false
		case b[1] == '\n':
			ending = 2
		case b[1] == '\r' && b[2] == '\n':
			ending = 3
		}
		proper := ending == 3 && !c.afterLF
		// Some servers end a message in other ways. Where the message could go on, LIST says whether it does.
		if proper || ending > 0 && (x.onlyLF || x.count >= x.size) {
			if c.afterLF {
				x.marked = true
				c.out = append(c.out, mark, markNoEnd, '\r', '\n')
			}
			c.out = append(c.out, ".\r\n"...)
			c.r += ending
			c.content = nil
			return true
		}
		if !c.afterLF {
			x.count-- // stuffed, go-pop3 takes it away
		} else if b[1] == '.' {
			// For a server that goes by LF this is a stuffed dot, for one that goes by CRLF it is the message's.
			x.marked = true
			x.dots++
			c.out = append(c.out, mark, markDot)
			c.r++
			b = b[1:]
		}
	}
	c.lineStart = false
	i := bytes.IndexByte(b, '\n')
	if i >= 0 {
		b = b[:i+1]
	}
	c.r += len(b)
	x.count += int64(len(b))
	if most := max(maxContent, x.size+x.size/2); x.count > most {
		c.err = fmt.Errorf("%w: more than %d bytes in answer to %s", remote.ErrServer, most, x.verb())
		return true
	}
	if i < 0 {
		c.pass(x, b)
		c.afterCR = b[len(b)-1] == '\r'
		return true
	}
	c.afterLF = !(i > 0 && b[i-1] == '\r' || i == 0 && c.afterCR)
	if c.afterLF {
		c.pass(x, b[:i])
		x.marked = true
		c.out = append(c.out, mark, markLF)
	} else {
		c.pass(x, b)
	}
	c.lineStart, c.afterCR = true, false
	return true
}

// pass hands on content as it is, but for the byte that marks.
func (c *conn) pass(x *exchange, b []byte) {
	for {
		i := bytes.IndexByte(b, mark)
		if i < 0 {
			c.out = append(c.out, b...)
			return
		}
		x.marked = true
		c.out = append(append(c.out, b[:i]...), mark, markItself)
		b = b[i+1:]
	}
}

// restore undoes the marks in what go-pop3 read. Whether dots after a bare LF were stuffed, the announced size
// decides; if it fits neither way, they were: most servers go by LF.
func (x *exchange) restore(b []byte) []byte {
	if !x.marked {
		return b
	}
	fits := func(n int64) bool {
		return n == x.size || n == x.size+2 // with a CRLF before the terminator, for a message that has none
	}
	plain := unmark(b, false)
	if n := int64(len(plain)); x.dots > 0 && !fits(n) && fits(n+x.dots) {
		return unmark(b, true)
	}
	return plain
}

func unmark(b []byte, keepDots bool) []byte {
	plain := make([]byte, 0, len(b))
	for {
		i := bytes.IndexByte(b, mark)
		if i < 0 {
			return append(plain, b...)
		}
		plain = append(plain, b[:i]...)
		kind := b[i+1]
		b = b[i+2:]
		switch kind {
		case markItself:
			plain = append(plain, mark)
		case markLF:
			plain = append(plain, '\n')
		case markDot:
			if keepDots {
				plain = append(plain, '.')
			}
		case markNoEnd:
			b = b[len("\r\n"):]
		}
	}
}

// shorten makes a server's words fit for an error, which quotes them.
func shorten(s string) string {
	if len(s) > 100 {
		s = s[:100] + "..."
	}
	return s
}
