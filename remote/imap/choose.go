package imap

import (
	"slices"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// bulkPause is how long after the end of a fetch that nobody waited for another is expected in the same mailbox.
const bulkPause = time.Second

// A server compresses on one core for each connection. Where mail compresses well, that takes longer than a line of 100 Mbit/s.
// Then messages that are read ahead come on two connections, in batches that each connection takes as it gets on with them.
const (
	judgeAfter = 300 * time.Millisecond // and four round trips: how long bodies come before a connection is judged, and again
	fullLine   = 0.75                   // a line counts as in use that carries this part of what it has carried before
	// How many commands are under way on the connection for bodies, and on the one for listings where it lends a hand: one
	// there, so that a listing that comes in between does not wait for long. It is twice as many where a round trip takes
	// longTrip, since it takes long to order the next one.
	ownBatches  = 4
	lentBatches = 1
	longTrip    = 50 * time.Millisecond
	// leaveAlone is how long the connection for listings lends no hand after a reader needed it.
	leaveAlone = time.Second
)

// scheduleLocked grants what can be granted. Requests are served in the order in which they wait: one that wants another
// mailbox waits until the users of a connection are gone, and no later one joins these meanwhile.
func (p *pool) scheduleLocked() {
	if p.closed {
		return
	}
	if p.max < p.size && time.Now().After(p.fewerUntil) {
		p.max = p.size
	}
	var blocked [lanes]bool
	left := p.waiting[:0]
	for _, q := range p.waiting {
		l := p.laneOfLocked(q)
		if !blocked[l] {
			s, overlap := p.chooseLocked(q, l)
			if s != nil {
				p.grantLocked(q, s)
				continue
			}
			if !overlap {
				blocked[l] = true
				p.growLocked(l)
			}
		}
		left = append(left, q)
	}
	clear(p.waiting[len(left):])
	p.waiting = left
}

// laneOfLocked returns the lane of a request: there is only one when there is only one connection.
func (p *pool) laneOfLocked(q *request) lane {
	if p.max == 1 {
		return listing
	}
	return q.lane
}

// chooseLocked finds a session for a request. overlap says that the request waits for nothing but the end of a command on
// the same mailbox that it would be mixed up with, for the mailbox to be open on another session, or since enough of its
// kind are under way: later requests need not wait for it.
func (p *pool) chooseLocked(q *request, l lane) (found *session, overlap bool) {
	switch {
	case l == bodies && q.prio == remote.Foreground:
		found = p.forReaderLocked(q)
	case l == bodies && p.max > 1:
		found, overlap = p.forBulkLocked(q)
	}
	if found != nil || overlap {
		return found, overlap
	}
	found, overlap = p.firstLocked(q, func(u *usage) bool { return p.max == 1 || u.lane == l })
	return found, overlap || found == nil && p.beingOpenedLocked(q)
}

// forReaderLocked finds a session for a body that a reader waits for, where it need not stand behind bodies that nobody
// waits for yet: one for bodies that brings none of these, else the one for listings if it lists nothing. The session for
// bodies is left to the mailbox that is being read ahead in, also while it happens to bring nothing.
func (p *pool) forReaderLocked(q *request) *session {
	p.urgent = time.Now()
	found, _ := p.firstLocked(q, func(u *usage) bool {
		return u.lane == bodies && u.bulk == 0 && (u.matches(q) || time.Since(u.bulkEnd) > bulkPause)
	})
	if found == nil && !p.growingLocked(bodies) {
		found, _ = p.firstLocked(q, func(u *usage) bool { return u.lane == listing && u.listings == 0 })
	}
	return found
}

// forBulkLocked finds a session for bodies that nobody waits for yet. Two mailboxes that are read ahead at a time have two
// connections, not one that goes to and fro; so has one mailbox, where the server is slower than the line.
func (p *pool) forBulkLocked(q *request) (found *session, overlap bool) {
	if p.behindLocked() {
		if found, full := p.forBulkOnBothLocked(q); found != nil || full {
			return found, full
		}
	}
	for _, at := range []lane{bodies, listing} {
		found, overlap := p.firstLocked(q, func(u *usage) bool { return u.lane == at && u.listings == 0 && u.matches(q) })
		if found != nil || overlap {
			return found, overlap
		}
	}
	return nil, false
}

// behindLocked tells whether messages that are read ahead come slower than the line would carry them.
func (p *pool) behindLocked() bool {
	for _, s := range p.sessions {
		u, came := &s.usage, s.conn.CompressedBytes()
		if u.lane != bodies || came == 0 { // nothing comes compressed
			continue
		}
		if took := time.Since(u.watched); u.bulk > 0 && took > judgeAfter+4*p.trip.Time() {
			u.behind = float64(came-u.cameFrom) < fullLine*p.lineRate*took.Seconds()
			u.watched, u.cameFrom = time.Now(), came
		}
		if u.behind {
			return true
		}
	}
	return false
}

// forBulkOnBothLocked finds a session for messages that are read ahead where the session for bodies can't keep up with the
// line: that session, or the one for listings, if it has little under way. full says that both have too much.
func (p *pool) forBulkOnBothLocked(q *request) (found *session, full bool) {
	own, lent := ownBatches, lentBatches
	if p.trip.Time() >= longTrip {
		own, lent = 2*own, 2*lent
	}
	found, _ = p.firstLocked(q, func(u *usage) bool { return u.lane == bodies && u.matches(q) && u.bulk < own })
	if found != nil {
		return found, false
	}
	if time.Since(p.urgent) > leaveAlone && q.fetches != nil && q.fetches.Len() > 1 { // a single message may be a large one
		found, _ = p.firstLocked(q, func(u *usage) bool {
			return u.lane == listing && u.compression.wasTried() && u.listings == 0 && u.matches(q) && u.bulk < lent
		})
	}
	return found, slices.ContainsFunc(p.sessions, func(s *session) bool {
		return s.usage.lane == bodies && s.usage.matches(q) && s.usage.bulk >= own
	})
}

// beingOpenedLocked tells whether a request that wants its mailbox open has to wait, since another session is opening that
// mailbox. A mailbox may be open on several sessions, but it is opened on one after the other: there are servers that lock a
// mailbox while they open it, and have a second EXAMINE wait for a second. Waiting for the first to be answered takes one
// round trip at most, and mostly the request can join it then. A server that does not answer is waited for no longer than a
// third of the timeout.
func (p *pool) beingOpenedLocked(q *request) bool {
	return q.mailbox != "" && slices.ContainsFunc(p.sessions, func(s *session) bool {
		return s.usage.examining == q.mailbox && s.alive()
	})
}

// examineLocked notes that a session is opening a mailbox.
func (p *pool) examineLocked(s *session, mailbox string) {
	s.usage.examining = mailbox
	var overdue *time.Timer
	overdue = time.AfterFunc(s.conn.Timeout()/3, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if s.usage.overdue == overdue {
			s.usage.endExamine()
			p.scheduleLocked()
		}
	})
	s.usage.overdue = overdue
}

// endExamine notes that the session is opening a mailbox no more, or not one that others should wait for.
func (u *usage) endExamine() {
	if u.overdue != nil {
		u.overdue.Stop()
	}
	u.examining, u.overdue = "", nil
}

// firstLocked finds a session for a request among those that may serve it: the first that has the mailbox open and can be
// joined, else one without users. overlap is as with chooseLocked.
func (p *pool) firstLocked(q *request, may func(*usage) bool) (found *session, overlap bool) {
	for _, s := range p.sessions {
		u := &s.usage
		if !may(u) || u.exclusive || !u.compression.mayUse() || !s.alive() {
			continue
		}
		if u.users == 0 {
			if u.mustExamine(q) && p.beingOpenedLocked(q) {
				continue
			}
			found = s
			if u.mailbox == q.mailbox && u.matches(q) {
				return found, false
			}
			continue
		}
		if q.alone || q.fresh || !u.matches(q) {
			continue
		}
		if q.single && u.single || slices.ContainsFunc(u.claims, q.fetches.Overlaps) {
			overlap = true
			continue
		}
		return s, false
	}
	return found, overlap && found == nil
}

// matches tells whether the mailbox that is open is the one that a request wants. One that was made anew since it was
// opened is another one.
func (u *usage) matches(q *request) bool {
	return q.mailbox == "" || u.mailbox == q.mailbox && (q.validity == 0 || u.box != nil && u.box.UIDValidity == q.validity)
}

// mustExamine tells whether the mailbox of a request must be opened for it.
func (u *usage) mustExamine(q *request) bool { return q.fresh || !u.matches(q) }

// count notes that n more requests of the kind of q, or fewer, use the session, on which so many compressed bytes have come.
func (u *usage) count(q *request, n int, compressed int64) {
	switch {
	case q.lane == listing:
		u.listings += n
	case q.prio != remote.Foreground:
		if u.bulk == 0 {
			u.watched, u.cameFrom = time.Now(), compressed
		}
		u.bulk += n
		u.bulkEnd = time.Now()
	}
}

// grantLocked gives a session to a request.
func (p *pool) grantLocked(q *request, s *session) {
	u := &s.usage
	if u.idle != nil {
		u.idle.Stop()
		u.idle = nil
	}
	u.users++
	u.exclusive = q.alone || u.mustExamine(q)
	if u.mustExamine(q) {
		p.examineLocked(s, q.mailbox)
	}
	if q.single {
		u.single = true
	}
	u.count(q, 1, s.conn.CompressedBytes())
	if q.fetches != nil {
		u.claims = append(u.claims, q.fetches)
	}
	q.session = s
	p.wg.Add(1)
	close(q.settled)
}
