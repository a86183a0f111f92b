package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// What a server may send, in bytes. go-imap itself has no limits.
const (
	maxLine   = 16 << 20 // one response, not counting the bodies in it
	maxString = 1 << 20  // a literal that is not a body
	maxBody   = 4 << 30  // a literal that is a body
)

const (
	bufferSize = 64 << 10 // bytes; go-imap's own buffer of 4 KB cost a third more time in a listing
	// rearmEvery bounds how often the read deadline is set anew while bytes come in.
	rearmEvery = 100 * time.Millisecond
	// quiet is how long a connection is silent before it may have ended without a word (a NAT, a laptop that slept). After
	// that it gets a third of the timeout for its first sign of life, and counts as lost, not as slow.
	quiet = time.Minute
)

// emptyInitial is an initial response that is empty (RFC 4959, section 3). go-imap sends it also in answer to a challenge,
// where an empty line is right (RFC 9051, section 6.2.2).
const emptyInitial = "=\r\n"

// ErrUnparsable is the end of a connection on which the server said what go-imap can't parse, or more than the limits.
var ErrUnparsable = errors.New("answer can't be understood")

// Conn is a connection between the network and go-imap. go-imap ends a connection over every response that it does not
// expect, bounds nothing, and knows no timeouts of commands. Conn brings each response into the form that go-imap reads, drops
// those that can't be understood, sets the deadlines, and knows why a connection ended.
type Conn struct {
	net.Conn
	timeout time.Duration
	names   *Spellings
	log     *slog.Logger
	reader  chan (<-chan struct{}) // of capacity 1; see SetReader

	in  io.Reader // Conn, or what decompresses its bytes
	out io.Writer // Conn, or what compresses for it
	// compressedBytes is how many bytes have come that had to be decompressed, counted before that.
	compressedBytes atomic.Int64
	pace            pace
	// oneByOne says that each write is a command, sent when the one before is answered, as while signing in.
	oneByOne atomic.Bool

	// Of the goroutine that reads.
	buf        []byte // what was received and not handed out is buf[r:w]
	r, w       int
	ready      []byte  // bytes to be handed out next
	store      []byte  // memory for ready
	literal    int64   // how many bytes of a literal are to be handed out after ready
	size       int64   // bytes of the response so far, not counting bodies
	scanner    scanner // of the response that is being read
	fetching   fetching
	lastHead   lastHead
	buffering  bool // the next literal is content of a message
	greeted    bool // the greeting has come
	inResponse bool // a response was begun and not read to its end
	answers    answers
	tags       tags
	told       told

	mu          sync.Mutex // guards what follows
	compressing chan error // gets the answer to COMPRESS; nil when COMPRESS is not under way
	pending     int        // commands that wait for the server
	armed       time.Time  // when the read deadline was set
	heard       time.Time  // when bytes came in
	probing     bool       // nothing has been heard since a long silence
	ending      Ending
}

// Ending is how a connection ended.
type Ending struct {
	Reason error  // nil while the connection is up
	Shared bool   // several commands were waiting for the server
	Bye    string // what the server said with BYE
}

// Options of a Conn.
type Options struct {
	// Timeout is the longest wait for a sign of life while a command is under way.
	Timeout time.Duration
	// Names are the names of mailboxes, for all connections of an account.
	Names *Spellings
	// Log gets what the server says that can't be understood; nil drops it.
	Log *slog.Logger
	// Slow, where it is not nil, is called when the line is slow, and again with each sample that shows it. far says that
	// the server is not nearby; rate is what the line carries, in bytes a second. It must not wait for anything.
	Slow func(far bool, rate float64)
	// Trip, where it is not nil, gets what the connection tells of the round trip.
	Trip *Trip
}

// New returns what go-imap is to use in place of inner.
func New(inner net.Conn, o Options) *Conn {
	if o.Slow == nil {
		o.Slow = func(bool, float64) {}
	}
	if o.Trip == nil {
		o.Trip = &Trip{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Conn{
		log: o.Log, Conn: inner, in: inner, out: inner, timeout: o.Timeout, names: o.Names, reader: make(chan (<-chan struct{}), 1),
		buf: make([]byte, bufferSize), heard: time.Now(), pace: pace{slow: o.Slow, trip: o.Trip},
	}
	c.answers = answers{names: o.Names, misunderstood: c.noteMisunderstood}
	return c
}

// SetReader says which channel is closed when go-imap has stopped reading. It is called once; until then no Write returns.
func (c *Conn) SetReader(ended <-chan struct{}) { c.reader <- ended }

// readerEnded returns the channel that SetReader was given.
func (c *Conn) readerEnded() <-chan struct{} {
	ended := <-c.reader
	c.reader <- ended
	return ended
}

// Timeout returns Options.Timeout.
func (c *Conn) Timeout() time.Duration { return c.timeout }

// BeginSignIn begins the time of signing in, which the function that it returns ends. The commands go one by one in it.
func (c *Conn) BeginSignIn() (done func()) {
	c.Begin()
	c.pace.skip() // the greeting may have been sent long ago
	c.oneByOne.Store(true)
	return func() {
		c.oneByOne.Store(false)
		c.Done()
	}
}

// Begin and Done enclose the time in which an answer of the server is awaited. Only then is there a deadline.
func (c *Conn) Begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending++
	if c.pending == 1 {
		c.pace.begin()
		c.probing = remote.Elapsed(c.heard) > quiet
		c.armLocked()
	}
}

// Done ends what Begin began.
func (c *Conn) Done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending--
	if c.pending == 0 {
		c.Conn.SetReadDeadline(time.Time{})
	}
}

// armLocked sets the read deadline.
func (c *Conn) armLocked() {
	limit := c.timeout
	if c.probing {
		limit /= 3
	}
	c.armed = time.Now()
	c.Conn.SetReadDeadline(c.armed.Add(limit))
}

// The deadlines that go-imap sets are without effect: they are fixed, and do not follow progress.
func (c *Conn) SetDeadline(time.Time) error      { return nil }
func (c *Conn) SetReadDeadline(time.Time) error  { return nil }
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// end notes why the connection ended, and returns the reason that was noted first, which is the true one.
func (c *Conn) end(why error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending.Reason == nil {
		if c.probing && errors.Is(why, os.ErrDeadlineExceeded) {
			why = fmt.Errorf("%w while it was idle", remote.ErrLost)
		}
		c.ending.Reason, c.ending.Shared = why, c.pending > 1
	}
	return c.ending.Reason
}

// Ending returns how the connection ended.
func (c *Conn) Ending() Ending {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// Shut ends the connection for a reason of mailfs's own.
func (c *Conn) Shut(why error) {
	c.end(why)
	c.Conn.Close()
}

// Close is for go-imap to call. Where nothing else has ended the connection, go-imap could not parse what it read.
func (c *Conn) Close() error {
	c.end(ErrUnparsable)
	return c.Conn.Close()
}

func (c *Conn) Write(p []byte) (int, error) {
	c.Conn.SetWriteDeadline(time.Now().Add(c.timeout))
	if c.oneByOne.Load() {
		c.pace.begin()
	}
	c.noteCommands(p)
	data := c.names.outgoing(p)
	if c.oneByOne.Load() && string(p) == emptyInitial {
		data = data[1:]
	}
	if _, err := c.out.Write(data); err != nil {
		err = c.end(err)
		c.Conn.Close()
		// After an error go-imap ends all commands in this goroutine, and closes channels that its reading goroutine may
		// be sending on. So the reading goroutine must end first.
		<-c.readerEnded()
		return 0, err
	}
	return len(p), nil
}

func (c *Conn) Read(p []byte) (int, error) {
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
			n := copy(p, c.buf[c.r:c.r+int(min(c.literal, int64(c.w-c.r)))])
			c.r += n
			c.literal -= int64(n)
			return n, nil
		case len(p) < bufferSize/16:
			if err := c.fill(); err != nil {
				return 0, err
			}
		default: // a body goes straight into the caller's buffer
			n, err := c.receive(p[:min(int64(len(p)), c.literal)])
			c.literal -= int64(n)
			return n, err
		}
	}
}

// fill receives more bytes behind those that are in the buffer.
func (c *Conn) fill() error {
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

// receive reads from the network, and keeps the deadline after every sign of life.
func (c *Conn) receive(p []byte) (int, error) {
	c.mu.Lock()
	if c.ending.Reason != nil { // go-imap reads on after an error, and each read would wait for the whole timeout
		defer c.mu.Unlock()
		return 0, c.ending.Reason
	}
	if c.pending > 0 && time.Since(c.armed) > rearmEvery {
		c.armLocked()
	}
	c.mu.Unlock()
	n, err := c.in.Read(p)
	if n > 0 {
		c.pace.note(n)
		c.mu.Lock()
		c.heard = time.Now()
		if c.probing {
			c.probing = false
			c.armLocked()
		}
		c.mu.Unlock()
		return n, nil
	}
	if err == io.EOF && (c.literal > 0 || c.inResponse || c.r < c.w) {
		err = io.ErrUnexpectedEOF // go-imap takes EOF within a literal for the literal's end
	}
	if err != nil {
		err = c.end(err)
	}
	return 0, err
}

// line returns where the line ends that begins off bytes into what was received: the offset of the byte after it. It
// receives more until the line is complete.
func (c *Conn) line(off int) (int, error) {
	for scanned := off; ; {
		if i := bytes.IndexByte(c.buf[c.r+scanned:c.w], '\n'); i >= 0 {
			return scanned + i + 1, nil
		}
		scanned = c.w - c.r
		if c.size+int64(scanned) > maxLine {
			return 0, c.end(fmt.Errorf("%w: a line of more than %d bytes", ErrUnparsable, maxLine))
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
}
