package imap

import (
	"errors"
	"net"
	"slices"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// fewerFor is how long no more connections are tried after the server has refused one, notMadeFor after one could not even
// be made: that says nothing about how many there may be.
const (
	fewerFor   = 5 * time.Minute
	notMadeFor = 5 * time.Second
)

// growingLocked tells whether a lane has no connection yet, but will have one.
func (p *pool) growingLocked(l lane) bool {
	return p.max > 1 && !slices.ContainsFunc(p.sessions, func(s *session) bool { return s.usage.lane == l && s.alive() })
}

// prepare dials the first connection for a lane that will be wanted.
func (p *pool) prepare(l lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && p.growingLocked(l) {
		p.growLocked(l)
	}
}

// open opens a mailbox on a connection for bodies that has nothing else to do, and waits for nothing.
func (p *pool) open(mailbox string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := func(s *session) bool {
		return s.usage.lane == bodies && s.usage.users == 0 && s.alive() && s.usage.mailbox != mailbox
	}
	if p.closed || p.max == 1 || !p.dialing[bodies] && !slices.ContainsFunc(p.sessions, idle) {
		return
	}
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		q := &request{lane: bodies, mailbox: mailbox, prio: remote.Foreground}
		// If it fails, the reader of a message in it is told.
		_ = p.use(p.ctx, q, func(*session) error { return nil })
	}()
}

// growLocked dials one more connection for a lane, if there may be one.
func (p *pool) growLocked(l lane) {
	have := 0
	for _, s := range p.sessions {
		if s.alive() && (p.max == 1 || s.usage.lane == l) {
			have++
		}
	}
	limit := 1
	if l == bodies {
		limit = p.max - 1
	}
	if have >= limit || p.dialing[l] {
		return
	}
	p.dialing[l] = true
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		s, err := p.dial(p.ctx)
		if errors.Is(err, remote.ErrLost) { // while signing in: as any lost connection, it is made once more
			s, err = p.dial(p.ctx)
		}
		if err == nil {
			p.dialed(l, s)
		} else {
			p.notDialed(l, err)
		}
	}()
}

// dialed takes in a connection that was made for a lane.
func (p *pool) dialed(l lane, s *session) {
	p.mu.Lock()
	p.dialing[l] = false
	if p.closed {
		p.mu.Unlock()
		s.conn.Shut(remote.ErrClosed)
		<-s.client.Closed()
		return
	}
	defer p.mu.Unlock()
	s.usage.lane = l
	if s.caps.Has(compress) {
		s.usage.compression = compressOff
	}
	p.sessions = append(p.sessions, s)
	p.wg.Add(1)
	go p.watch(s)
	if p.compressLocked(s); s.usage.compression.mayUse() {
		p.unusedLocked(s)
	}
	p.scheduleLocked()
}

// notDialed makes do with the connections that there are, after one more could not be made for a lane. Where there are
// none, the requests of the lane fail.
func (p *pool) notDialed(l lane, why error) {
	p.mu.Lock()
	p.dialing[l] = false
	enough := p.fewerLocked(l, why)
	if !enough {
		p.failLocked(l, why)
	}
	p.scheduleLocked()
	up, warn := p.max, enough && !dialFailed(why) && !p.warned
	p.warned = p.warned || warn
	p.mu.Unlock()
	if warn {
		p.log.Warn("the server allows fewer connections than wanted", "connections", up, "wanted", p.size, "error", why)
	}
}

// dialFailed tells a connection that could not be made from one that the server refused.
func dialFailed(err error) bool {
	dial, ok := errors.AsType[*net.OpError](err)
	return ok && dial.Op == "dial"
}

// fewerLocked sets max to the number of connections that there are, if there are any, after one more was refused for a lane.
func (p *pool) fewerLocked(l lane, why error) bool {
	up, served := 0, false
	var last *session
	for _, s := range p.sessions {
		if s.alive() {
			up, last, served = up+1, s, served || s.usage.lane == l
		}
	}
	if up == 0 {
		return false
	}
	if !served {
		last.usage.lane = l
	}
	p.max = up
	p.forget()
	p.fewerUntil = time.Now().Add(fewerFor)
	if dialFailed(why) {
		p.fewerUntil = time.Now().Add(notMadeFor)
	}
	return true
}

// failLocked ends the wait of all requests of a lane.
func (p *pool) failLocked(l lane, why error) {
	left := p.waiting[:0]
	for _, q := range p.waiting {
		if p.laneOfLocked(q) != l {
			left = append(left, q)
			continue
		}
		q.err = why
		close(q.settled)
	}
	clear(p.waiting[len(left):])
	p.waiting = left
}

// watch drops a connection that has ended.
func (p *pool) watch(s *session) {
	defer p.wg.Done()
	<-s.client.Closed()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked(s)
	p.scheduleLocked()
}

// dropIdle ends the connections that nobody uses after another one was lost: what has ended that one has mostly ended them
// too, and a request that is tried again shall not meet one after the other.
func (p *pool) dropIdle(lost *session) {
	p.mu.Lock()
	var dropped []*session
	for _, s := range slices.Clone(p.sessions) {
		if s != lost && s.usage.users == 0 && s.usage.compression.mayUse() && p.dropLocked(s) {
			dropped = append(dropped, s)
		}
	}
	p.mu.Unlock()
	for _, s := range dropped { // not under the lock, as in close
		s.conn.Shut(remote.ErrClosed)
	}
}

// dropLocked takes a session out of the pool. It returns false if the session was not in it any more.
func (p *pool) dropLocked(s *session) bool {
	i := slices.Index(p.sessions, s)
	if i < 0 {
		return false
	}
	p.sessions = slices.Delete(p.sessions, i, i+1)
	if s.usage.idle != nil {
		s.usage.idle.Stop()
	}
	if len(p.sessions) == 0 {
		p.slow = false // the next ones may be by another network
		p.trip.Forget()
	}
	return true
}

// unusedLocked has a session retired after a while, if nobody uses it.
func (p *pool) unusedLocked(s *session) {
	if s.usage.users == 0 && !p.closed {
		s.usage.idle = time.AfterFunc(p.idle, func() { p.retire(s) })
	}
}

// retire ends a connection that nobody has used for a while, before the server does.
func (p *pool) retire(s *session) {
	p.mu.Lock()
	if p.closed || s.usage.users > 0 || !p.dropLocked(s) {
		p.mu.Unlock()
		return
	}
	p.wg.Add(1)
	p.mu.Unlock()
	defer p.wg.Done()
	s.logout()
}
