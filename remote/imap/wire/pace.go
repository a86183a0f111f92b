package wire

import (
	"sync/atomic"
	"time"
)

// A line is slow below slowLine, which is what compression pays on: COMPRESS=DEFLATE (RFC 4978) makes a listing five times
// smaller and mail a third smaller, and costs a server about as much time as a line of 150 Mbit/s has for it.
//
// The line to a server nearby must be slow for more samples, and evenly: mail that waits for a busy server, or for mailfs,
// comes in bursts, where a slow line lets through the same all the time.
const (
	slowLine   = 150e6 / 8 // bytes a second
	farAway    = 5 * time.Millisecond
	paceSample = 128 << 10 // bytes
	// How many samples in a row must have been slow. One that is not shows that the line can do better.
	slowFarAway = 2
	slowNearby  = 8
	// even is by how much the fastest of slowNearby samples may exceed the slowest.
	even = 1.5
)

// Trip is the round trip to a server: the shortest time from a command to the first byte of its answer, over all
// connections of an account, since a single answer may have taken the server a while.
type Trip struct {
	nanoseconds atomic.Int64 // 0: not known
}

// Time returns the round trip, 0 while it is not known.
func (t *Trip) Time() time.Duration { return time.Duration(t.nanoseconds.Load()) }

// Forget makes the round trip unknown, as after a change of the network.
func (t *Trip) Forget() { t.nanoseconds.Store(0) }

// note takes the time that one answer took.
func (t *Trip) note(d time.Duration) {
	for {
		old := t.nanoseconds.Load()
		if old != 0 && old <= int64(d) || t.nanoseconds.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// pace measures how fast a line is, from how the bytes of one connection come in. Only the connection's reader calls note.
type pace struct {
	// asked is when a command began while no other was under way, in Unix nanoseconds; 0 once its answer has begun.
	asked atomic.Int64
	// slow is called with each sample that shows a slow line; see Options.Slow.
	slow func(far bool, rate float64)
	trip *Trip

	// Of the sample that is being taken.
	since time.Time // first byte
	bytes int       // so far

	row      int           // how many samples in a row were slow
	evenly   int           // how many of these, the last ones, took about the same time
	min, max time.Duration // the shortest and the longest of the even ones
}

// begin notes that a command begins while no other is under way.
func (p *pace) begin() { p.asked.Store(time.Now().UnixNano()) }

// skip says that what comes next is not the answer to a command.
func (p *pace) skip() { p.asked.Store(0) }

// note takes the number of bytes that came in.
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
	if far := p.trip.Time() >= farAway; far && p.row >= slowFarAway || p.evenly >= slowNearby {
		p.slow(far, paceSample/p.min.Seconds())
	}
}
