package imap

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/klauspost/compress/flate"

	"github.com/mailfs/mailfs/remote"
)

// COMPRESS=DEFLATE (RFC 4978) makes a listing five times smaller and mail a third, and costs the server about as much
// time as a line of 150 Mbit/s has for it. So it is begun on all connections once one has been seen to be slower. That of a
// server on this machine or in this house has to be so for a while, and with bodies: it may be busy, or reading its disk.
const (
	compression = goimap.Cap("COMPRESS=DEFLATE")
	slowLine    = 150e6 / 8 // bytes a second
	farAway     = 2 * time.Millisecond
	paceSample  = 128 << 10 // bytes
	// How many samples in a row must have been slow. One that is not shows that the line can do better: what comes in
	// bursts waits for a server, or for us.
	slowFarAway = 2
	slowNearby  = 32
)

// pace measures how fast a line is. Only its reader may call note.
type pace struct {
	asked atomic.Int64   // when a command began on the quiet connection, in Unix nanoseconds; 0 once it is answered
	slow  func(far bool) // told when a line is slow, again with each sample that says so. It must not wait for anything.

	trip  time.Duration // shortest time from a command to the first byte of the answer
	since time.Time     // first byte of the sample
	bytes int
	row   int // samples in a row that were slow
}

// begin notes that a command begins while no other is under way.
func (p *pace) begin() { p.asked.Store(time.Now().UnixNano()) }

// note takes the bytes that came in.
func (p *pace) note(n int) {
	now := time.Now()
	if asked := p.asked.Swap(0); asked != 0 {
		if trip := now.Sub(time.Unix(0, asked)); p.trip == 0 || trip < p.trip {
			p.trip = trip
		}
		p.since, p.bytes = now, 0
		return
	}
	if p.bytes += n; p.bytes >= paceSample {
		if float64(p.bytes) < slowLine*now.Sub(p.since).Seconds() {
			p.row++
		} else {
			p.row = 0
		}
		p.since, p.bytes = now, 0
		if far := p.trip >= farAway; p.slow != nil && (far && p.row >= slowFarAway || p.row >= slowNearby) {
			p.slow(far)
		}
	}
}

// ownTag is the tag of commands that go-imap knows nothing of; its own begin with a T.
const ownTag = "M1"

// compress begins compression on a connection on which no command is under way and none begins meanwhile. A server that
// refuses goes on without.
func (s *session) compress() error {
	c := s.conn
	answer := make(chan error, 1)
	c.mu.Lock()
	c.own = answer
	c.mu.Unlock()
	if _, err := c.Write([]byte(ownTag + " COMPRESS DEFLATE\r\n")); err != nil {
		return s.fault(err)
	}
	select {
	case err := <-answer:
		if err != nil {
			return err
		}
	case <-s.client.Closed():
		return s.fault(io.ErrUnexpectedEOF)
	}
	packer, err := flate.NewWriter(c.Conn, flate.BestSpeed)
	if err != nil {
		return err
	}
	c.out = flusher{packer}
	return nil
}

// answered takes the answer to a command of our own. What comes after an OK to COMPRESS is compressed.
func (c *conn) answered(line []byte) error {
	c.mu.Lock()
	own := c.own
	c.own = nil
	c.mu.Unlock()
	if own == nil {
		return c.end(fmt.Errorf("%w: an answer to a command that was not sent", errGarbled))
	}
	_, status, _ := bytes.Cut(line, []byte(" "))
	word, text := firstWord(status)
	if !bytes.EqualFold(word, []byte("OK")) {
		own <- fmt.Errorf("%w: it refuses COMPRESS: %q", remote.ErrServer, shorten(string(bytes.TrimSpace(text))))
		return nil
	}
	ahead := bytes.Clone(c.buf[c.r:c.w])
	c.r, c.w = 0, 0
	c.in = flate.NewReader(bufio.NewReaderSize(io.MultiReader(bytes.NewReader(ahead), c.Conn), bufferSize))
	own <- nil
	return nil
}

// flusher sends what is written at once.
type flusher struct{ *flate.Writer }

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		err = f.Flush()
	}
	return n, err
}
