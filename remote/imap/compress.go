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
// time as a line of 150 Mbit/s has for it. So it is begun on all connections once one has been seen to be slower.
//
// A server on this machine or in this house must have been slow with bodies, and evenly: mail that waits for a server that
// is busy, or for us, comes in bursts, where a line lets through the same all the time.
const (
	compression = goimap.Cap("COMPRESS=DEFLATE")
	slowLine    = 150e6 / 8 // bytes a second
	farAway     = 5 * time.Millisecond
	paceSample  = 128 << 10 // bytes
	// How many samples in a row must have been slow. One that is not shows that the line can do better.
	slowFarAway = 2
	slowNearby  = 8
	// even is by how much the fastest of slowNearby samples may exceed the slowest.
	even = 1.5
)

// trip is the shortest time from a command to the first byte of its answer, over all connections of an account: a single
// answer may have taken the server a while. It is in nanoseconds; 0 is unknown.
type trip struct{ atomic.Int64 }

func (t *trip) note(d time.Duration) {
	for {
		old := t.Load()
		if old != 0 && old <= int64(d) || t.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// pace measures how fast a line is. Only its reader may call note.
type pace struct {
	asked atomic.Int64 // when a command began on the quiet connection, in Unix nanoseconds; 0 once it is answered
	// slow is told when a line is slow and how many bytes a second came over it, again with each sample that says so. It must
	// not wait for anything.
	slow func(far bool, rate float64)
	trip *trip

	since    time.Time // first byte of the sample
	bytes    int
	row      int           // samples in a row that were slow
	min, max time.Duration // of those, the shortest and the longest of what is even
	evenly   int           // how many of them were
}

// begin notes that a command begins while no other is under way.
func (p *pace) begin() { p.asked.Store(time.Now().UnixNano()) }

// skip has what comes next not be taken for the answer to a command.
func (p *pace) skip() { p.asked.Store(0) }

// note takes the bytes that came in.
func (p *pace) note(n int) {
	now := time.Now()
	if asked := p.asked.Swap(0); asked != 0 {
		p.trip.note(now.Sub(time.Unix(0, asked)))
		p.since, p.bytes = now, 0
		return
	}
	if p.bytes += n; p.bytes < paceSample {
		return
	}
	took := time.Duration(float64(now.Sub(p.since)) * paceSample / float64(p.bytes))
	p.since, p.bytes = now, 0
	if took.Seconds()*slowLine < paceSample {
		p.row, p.evenly = 0, 0
		return
	}
	p.row++
	if p.evenly++; p.evenly == 1 {
		p.min, p.max = took, took
	}
	p.min, p.max = min(p.min, took), max(p.max, took)
	if float64(p.max) > even*float64(p.min) {
		p.min, p.max, p.evenly = took, took, 1
	}
	if far := time.Duration(p.trip.Load()) >= farAway; far && p.row >= slowFarAway || p.evenly >= slowNearby {
		p.slow(far, paceSample/p.min.Seconds())
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
	c.in = flate.NewReader(bufio.NewReaderSize(io.MultiReader(bytes.NewReader(ahead), wire{c}), bufferSize))
	own <- nil
	return nil
}

// wire counts what comes before it is unpacked.
type wire struct{ *conn }

func (w wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.packedBytes.Add(int64(n))
	return n, err
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
