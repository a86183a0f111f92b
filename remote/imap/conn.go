package imap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// What a server may send, in bytes. go-imap itself has no limits.
const (
	maxLine   = 16 << 20 // one response without the bodies in it
	maxString = 1 << 20  // a literal that is not a body
	maxBody   = 4 << 30  // a literal that is one
)

const (
	bufferSize = 64 << 10 // go-imap's own 4 KB cost a third more time in a listing
	rearmEvery = 100 * time.Millisecond
	// A connection that has been silent for quiet may be gone without our having been told (a NAT, a laptop that slept).
	// It gets a third of the timeout for its first sign of life and counts as lost, not as slow.
	quiet = time.Minute
)

// emptyInitial is an initial response that is empty (RFC 4959, section 3). go-imap says it also in answer to a challenge,
// where an empty line stands for it (RFC 9051, section 6.2.2).
const emptyInitial = "=\r\n"

// errGarbled is the end of a connection that spoke what go-imap can't parse, or what exceeds the limits.
var errGarbled = errors.New("answer can't be understood")

// conn lies between the network and go-imap, which can't be told about timeouts of its commands, bounds nothing, and
// ends the connection over every response that it does not expect. conn frames the responses as they stream by, so
// that it can drop or mend what go-imap would stumble over, and knows why a connection ended.
type conn struct {
	net.Conn
	timeout time.Duration
	names   *spellings
	parsing chan (<-chan struct{}) // of capacity 1: what go-imap closes when it has stopped reading

	in          io.Reader    // Conn, or what unpacks it
	out         io.Writer    // Conn, or what packs for it
	packedBytes atomic.Int64 // that came to be unpacked
	pace        pace
	// Commands go one by one, as they do while signing in: with each write one begins.
	oneByOne atomic.Bool

	// Of the goroutine that reads.
	buf     []byte // what was received is buf[r:w]
	r, w    int
	ready   []byte // framed, to be handed out next
	literal int64  // bytes of a literal, to be handed out after ready
	kind    responseKind
	more    bool  // the next line belongs to the same response, since a literal came before it
	size    int64 // of the response so far, without bodies

	mu      sync.Mutex // guards what follows
	own     chan error // takes the answer to a command that go-imap knows nothing of
	pending int        // commands that wait for the server
	armed   time.Time  // when the read deadline was set
	heard   time.Time  // when bytes came in
	probing bool       // nothing has been heard after a long silence
	ending  ending
}

// ending is how a connection ended.
type ending struct {
	reason error  // nil while the connection is up
	shared bool   // several commands were pending
	bye    string // what the server said with BYE
}

func newConn(inner net.Conn, timeout time.Duration, names *spellings) *conn {
	return &conn{
		Conn: inner, in: inner, out: inner, timeout: timeout, names: names, parsing: make(chan (<-chan struct{}), 1),
		buf: make([]byte, bufferSize), heard: time.Now(), pace: pace{slow: func(bool, float64) {}, trip: &trip{}},
	}
}

// begin and done enclose the time in which an answer of the server is awaited. Only then is there a deadline.
func (c *conn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending++
	if c.pending == 1 {
		c.pace.begin()
		c.probing = remote.Elapsed(c.heard) > quiet
		c.arm()
	}
}

func (c *conn) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending--
	if c.pending == 0 {
		c.Conn.SetReadDeadline(time.Time{})
	}
}

// arm is called with mu held.
func (c *conn) arm() {
	limit := c.timeout
	if c.probing {
		limit /= 3
	}
	c.armed = time.Now()
	c.Conn.SetReadDeadline(c.armed.Add(limit))
}

// The deadlines that go-imap sets are fixed, and absolute where they should follow progress.
func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// end notes why the connection ended; the first reason is the true one.
func (c *conn) end(why error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending.reason == nil {
		if c.probing && errors.Is(why, os.ErrDeadlineExceeded) {
			why = fmt.Errorf("%w while it was idle", remote.ErrLost)
		}
		c.ending.reason, c.ending.shared = why, c.pending > 1
	}
	return c.ending.reason
}

// why returns how the connection ended.
func (c *conn) why() ending {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// shut ends the connection for a reason of ours.
func (c *conn) shut(why error) {
	c.end(why)
	c.Conn.Close()
}

// Close is called by go-imap. When nothing else has ended the connection, go-imap has given up on what it read.
func (c *conn) Close() error {
	c.end(errGarbled)
	return c.Conn.Close()
}

func (c *conn) Write(p []byte) (int, error) {
	c.Conn.SetWriteDeadline(time.Now().Add(c.timeout))
	if c.oneByOne.Load() {
		c.pace.begin()
	}
	data := c.names.outgoing(p)
	if c.oneByOne.Load() && string(p) == emptyInitial {
		data = data[1:]
	}
	if _, err := c.out.Write(data); err != nil {
		err = c.end(err)
		c.Conn.Close()
		// At an error go-imap ends all commands from here, and closes channels that its reading goroutine may just be
		// sending on. So that one ends first.
		stopped := <-c.parsing
		c.parsing <- stopped
		<-stopped
		return 0, err
	}
	return len(p), nil
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		switch {
		case len(c.ready) > 0:
			n := copy(p, c.ready)
			c.ready = c.ready[n:]
			return n, nil
		case c.literal == 0:
			if err := c.frame(); err != nil {
				return 0, err
			}
		case c.r < c.w:
			n := int(min(c.literal, int64(c.w-c.r)))
			if c.kind != unknown {
				n = copy(p, c.buf[c.r:c.r+n])
			}
			c.r += n
			c.literal -= int64(n)
			if c.kind != unknown {
				return n, nil
			}
		case c.kind == unknown || len(p) < bufferSize/16:
			if err := c.fill(); err != nil {
				return 0, err
			}
		default: // a body, straight to where it is wanted
			n, err := c.receive(p[:min(int64(len(p)), c.literal)])
			c.literal -= int64(n)
			return n, err
		}
	}
}

// fill receives more bytes behind those that are in the buffer.
func (c *conn) fill() error {
	switch {
	case c.r == c.w:
		c.r, c.w = 0, 0
		if len(c.buf) > bufferSize {
			c.buf = make([]byte, bufferSize)
		}
	case c.w < len(c.buf):
	case c.r > 0:
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	default:
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
	n, err := c.receive(c.buf[c.w:])
	c.w += n
	return err
}

func (c *conn) receive(p []byte) (int, error) {
	c.mu.Lock()
	if c.pending > 0 && time.Since(c.armed) > rearmEvery {
		c.arm()
	}
	c.mu.Unlock()
	n, err := c.in.Read(p)
	if n > 0 {
		c.pace.note(n)
		c.mu.Lock()
		c.heard = time.Now()
		if c.probing {
			c.probing = false
			c.arm()
		}
		c.mu.Unlock()
		return n, nil
	}
	if err == io.EOF && (c.literal > 0 || c.more || c.r < c.w) {
		err = io.ErrUnexpectedEOF // go-imap takes EOF within a literal for its end
	}
	if err != nil {
		err = c.end(err)
	}
	return 0, err
}

// line returns the n-th byte after the line that starts off bytes into what was received, receiving it if need be.
func (c *conn) line(off int) (int, error) {
	for scanned := off; ; {
		if i := bytes.IndexByte(c.buf[c.r+scanned:c.w], '\n'); i >= 0 {
			return scanned + i + 1, nil
		}
		scanned = c.w - c.r
		if c.size+int64(scanned) > maxLine {
			return 0, c.end(fmt.Errorf("%w: a line of more than %d bytes", errGarbled, maxLine))
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
}

// frame takes the next line of what the server says, makes it ready, and notes the literal that follows it.
func (c *conn) frame() error {
	end, err := c.line(0)
	if err != nil {
		return err
	}
	line := c.buf[c.r : c.r+end]
	if !c.more {
		c.kind, c.size = kindOf(line), 0
	}
	if c.kind == list {
		return c.frameList(end)
	}
	if c.kind == ours {
		c.r += end
		return c.answered(line)
	}
	c.r += end
	c.more = false
	if c.kind == fetch {
		line = mendOrigin(mendDate(line))
	}
	if c.kind != text {
		if c.literal, c.more, err = c.literalAfter(line); err != nil {
			return c.end(err)
		}
	}
	c.size += int64(end)
	if c.size > maxLine {
		return c.end(fmt.Errorf("%w: a response of more than %d bytes", errGarbled, maxLine))
	}
	switch c.kind {
	case unknown:
		return nil
	case text, capability:
		line = withoutRev2(line)
		if rest, ok := bytes.CutPrefix(line, []byte("* BYE ")); ok {
			c.mu.Lock()
			c.ending.bye = shorten(strings.TrimSpace(string(rest)))
			c.mu.Unlock()
		}
	}
	c.ready = line
	return nil
}

// frameList makes a whole LIST response ready, its literals included, with a mailbox name that go-imap can decode.
func (c *conn) frameList(end int) error {
	start := 0
	for {
		size, more, err := c.literalAfter(c.buf[c.r+start : c.r+end])
		if err != nil {
			return c.end(err)
		}
		if !more {
			break
		}
		for int64(c.w-c.r-end) < size {
			if err := c.fill(); err != nil {
				return err
			}
		}
		start = end + int(size)
		if end, err = c.line(start); err != nil {
			return err
		}
	}
	whole := c.buf[c.r : c.r+end]
	c.r += end
	c.ready = c.names.incoming(whole)
	return nil
}

// literalAfter returns the size of the literal that a line announces at its end.
func (c *conn) literalAfter(line []byte) (size int64, announced bool, err error) {
	head := bytes.TrimRight(line, "\r\n")
	open := bytes.LastIndexByte(head, '{')
	if open < 0 || head[len(head)-1] != '}' {
		return 0, false, nil
	}
	digits := head[open+1 : len(head)-1]
	if len(digits) == 0 || len(bytes.Trim(digits, "0123456789")) > 0 {
		return 0, false, nil
	}
	limit := int64(maxString)
	if c.kind == fetch && afterSection(head[:open]) {
		limit = maxBody
	}
	size, err = strconv.ParseInt(string(digits), 10, 64)
	if err != nil || size > limit {
		return 0, true, fmt.Errorf("%w: a literal of %.20s bytes", errGarbled, digits)
	}
	if limit == maxString && c.kind != list {
		c.size += size
	}
	return size, true, nil
}

// afterSection tells whether a literal that begins here is the content of a body section: after `BODY[...] `,
// `BODY[...]<0> ` or `BINARY[...] ~`.
func afterSection(head []byte) bool {
	head, _ = bytes.CutSuffix(head, []byte("~"))
	head, ok := bytes.CutSuffix(head, []byte(" "))
	if !ok {
		return false
	}
	if bytes.HasSuffix(head, []byte(">")) {
		head = bytes.TrimRight(head[:len(head)-1], "0123456789")
		head, ok = bytes.CutSuffix(head, []byte("<"))
	}
	return ok && bytes.HasSuffix(head, []byte("]"))
}
