package imap

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/imap/wire"
)

// lane is what a connection is for. A body never waits behind a listing, unless the server allows one connection only.
type lane uint8

const (
	listing lane = iota
	bodies
	lanes
)

// fewerFor is how long no more connections are tried after the server has refused one, notMadeFor after one could not even
// be made: that says nothing about how many there may be.
const (
	fewerFor   = 5 * time.Minute
	notMadeFor = 5 * time.Second
)

// bulkPause is how long after the end of a fetch that nobody waited for another is expected in the same mailbox.
const bulkPause = time.Second

// A server packs on one core for each connection, which takes longer than a line of 100 Mbit/s where mail packs well. Then
// what is read ahead comes on two connections, in batches that both take as they get on with them.
const (
	judgeAfter = 300 * time.Millisecond // of bringing bodies, and four round trips, and again
	fullLine   = 0.75                   // of what the line has carried is a line that is in use
	// How many commands are under way on the connection for bodies, and on the one that lends a hand: one, so that who
	// comes in between does not wait for long. It is twice as many where it takes long to order the next one.
	ownBatches  = 4
	lentBatches = 1
	longTrip    = 50 * time.Millisecond
	// leaveAlone is how long the latter is not asked after somebody came in between.
	leaveAlone = time.Second
)

// request is a wish for a connection. It shares the connection with others that want the same mailbox.
type request struct {
	lane     lane
	mailbox  string // to be open; "" for commands that need none
	validity uint32 // UIDVALIDITY that the mailbox must have; 0 is any
	fresh    bool   // the mailbox is to be opened anew
	alone    bool   // with nothing else on the connection
	single   bool   // with nothing but FETCH beside it: go-imap would mix up the answers
	prio     remote.Priority
	// fetches are the UIDs that will be fetched. go-imap matches answers by UID only, so that two commands on one
	// connection must not ask for the same one.
	fetches *remote.UIDSet

	// Guarded by the pool's mutex.
	session *session // granted
	err     error
	settled chan struct{} // closed when session or err is set
}

// pool holds the connections of an account. Requests are served in the order in which they came: one that wants another
// mailbox waits until the users of a connection are gone, and no later one joins these meanwhile.
type pool struct {
	dial   func(context.Context) (*session, error)
	forget func() // a failed dial must not keep the next one waiting
	log    *slog.Logger
	size   int
	idle   time.Duration
	trip   wire.Trip

	ctx    context.Context // ends with the pool
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines of the pool and of its users

	mu         sync.Mutex // guards what follows
	sessions   []*session
	waiting    []*request
	dialing    [lanes]bool
	max        int // connections that the server seems to allow
	fewerUntil time.Time
	told       bool                      // the log has it that there are fewer
	slow       bool                      // the line is one on which compression pays
	lineRate   float64                   // bytes a second that it carried before
	urgent     time.Time                 // when somebody last waited for a body that was not under way
	above      map[string]*atomic.Uint32 // by mailbox, see newest
	closed     bool
}

// use runs f with a connection. When ctx ends it returns at once; f goes on, so that the connection stays in step, and
// what it writes must not be read any more.
func (p *pool) use(ctx context.Context, q *request, f func(*session) error) error {
	if err := p.acquire(ctx, q); err != nil {
		return err
	}
	result := make(chan error, 1)
	go func() {
		defer p.wg.Done()
		err := p.serve(q, f)
		if errors.Is(err, remote.ErrLost) {
			p.dropIdle(q.session)
		}
		p.release(q)
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// acquire waits until the request is granted. The caller then owes the pool a release and a Done.
func (p *pool) acquire(ctx context.Context, q *request) error {
	q.settled = make(chan struct{})
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return remote.ErrClosed
	}
	// Behind all that are as urgent: those that wait longest are served first.
	i := len(p.waiting)
	for i > 0 && p.waiting[i-1].prio > q.prio {
		i--
	}
	p.waiting = slices.Insert(p.waiting, i, q)
	p.schedule()
	p.mu.Unlock()
	select {
	case <-q.settled:
		return q.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	if i := slices.Index(p.waiting, q); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.schedule()
	}
	granted := q.session != nil
	p.mu.Unlock()
	if granted {
		p.release(q)
		p.wg.Done()
	}
	return ctx.Err()
}

// serve opens the mailbox if need be and runs f. Where f fetches it need not wait until the mailbox is open, see
// [session.fetch].
func (p *pool) serve(q *request, f func(*session) error) error {
	s := q.session
	s.conn.Begin()
	defer s.conn.Done()
	p.mu.Lock()
	open := s.fits(q) && !q.fresh
	p.mu.Unlock()
	opened := func() error { return nil }
	if !open {
		answer := s.examine(q.mailbox, p.newest(q.mailbox))
		opened = sync.OnceValue(func() error {
			s.opening = nil
			box, err := answer()
			p.mu.Lock()
			defer p.mu.Unlock()
			s.mailbox, s.box = "", nil
			if err != nil {
				return err
			}
			s.mailbox, s.box = q.mailbox, box
			if !q.alone {
				s.exclusive = false
				p.schedule()
			}
			if q.validity != 0 && box.UIDValidity != q.validity {
				return remote.ErrStale
			}
			return nil
		})
		s.opening = opened
		if q.fetches == nil {
			if err := opened(); err != nil {
				return err
			}
		}
	}
	err := f(s)
	if notOpened := opened(); notOpened != nil {
		return notOpened
	}
	return err
}

// validity returns the UIDVALIDITY of the mailbox that a connection has open.
func (p *pool) validity(s *session) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.box.UIDValidity
}

func (p *pool) release(q *request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := q.session
	s.users--
	if q.single {
		s.single = false
	}
	s.count(q, -1)
	if q.fetches != nil {
		i := slices.Index(s.claims, q.fetches)
		s.claims = slices.Delete(s.claims, i, i+1)
	}
	if s.users == 0 {
		s.exclusive = false
	}
	if !p.packing(s) && s.users == 0 && !p.closed {
		s.idle = time.AfterFunc(p.idle, func() { p.retire(s) })
	}
	p.schedule()
}

// slowLine has the connections compressed, since one of them has turned out to be slow.
func (p *pool) slowLine(s *session, far bool, rate float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slow || p.closed || !far && s.lane == listing {
		return
	}
	p.slow, p.lineRate = true, rate
	for _, s := range p.sessions {
		p.packing(s)
	}
}

// packing has compression begin on a connection if it should, at once or when its users are gone, and tells whether nobody
// may join meanwhile. It is called with mu held.
func (p *pool) packing(s *session) bool {
	if p.slow && !s.packed && s.caps.Has(compress) {
		s.packed, s.draining = true, true // it is tried once
	}
	if s.draining && !s.beginning && s.users == 0 && !p.closed {
		s.beginning = true
		p.pack(s)
	}
	return s.draining
}

// pack begins compression on a connection that nobody uses any more. It is called with mu held.
func (p *pool) pack(s *session) {
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		s.conn.Begin()
		err := s.compress()
		s.conn.Done()
		p.log.Debug("a slow line: compression", "error", err)
		p.mu.Lock()
		defer p.mu.Unlock()
		s.draining = false
		if !p.closed {
			s.idle = time.AfterFunc(p.idle, func() { p.retire(s) })
		}
		p.schedule()
	}()
}

// schedule grants what can be granted. It is called with mu held.
func (p *pool) schedule() {
	if p.closed {
		return
	}
	if p.max < p.size && time.Now().After(p.fewerUntil) {
		p.max = p.size
	}
	var blocked [lanes]bool
	left := p.waiting[:0]
	for _, q := range p.waiting {
		l := p.laneOf(q)
		if !blocked[l] {
			s, overlap := p.place(q, l)
			if s != nil {
				p.grant(q, s)
				continue
			}
			if !overlap {
				blocked[l] = true
				p.grow(l)
			}
		}
		left = append(left, q)
	}
	clear(p.waiting[len(left):])
	p.waiting = left
}

// laneOf returns the lane of a request: there is only one when there is only one connection.
func (p *pool) laneOf(q *request) lane {
	if p.max == 1 {
		return listing
	}
	return q.lane
}

// place finds a connection for a request. overlap says that it waits for nothing but the end of a command on the same
// mailbox that it would be mixed up with, or that there are enough of, which others need not wait for.
func (p *pool) place(q *request, l lane) (found *session, overlap bool) {
	switch {
	case l == bodies && q.prio == remote.Foreground:
		found = p.aside(q)
	case l == bodies && p.max > 1:
		found, overlap = p.inBulk(q)
	}
	if found != nil || overlap {
		return found, overlap
	}
	return p.among(q, func(s *session) bool { return p.max == 1 || s.lane == l })
}

// aside finds a connection for a body that a reader waits for, where it need not stand behind those that nobody waits for
// yet: one for bodies that brings none of these, else the one for listings if it lists nothing. The one for bodies is left
// the mailbox that is being read ahead in, also while it happens to bring nothing.
func (p *pool) aside(q *request) *session {
	p.urgent = time.Now()
	found, _ := p.among(q, func(s *session) bool {
		return s.lane == bodies && s.bulk == 0 && (s.fits(q) || time.Since(s.bulkEnd) > bulkPause)
	})
	if found == nil && !p.growing(bodies) {
		found, _ = p.among(q, func(s *session) bool { return s.lane == listing && s.listings == 0 })
	}
	return found
}

// inBulk finds a connection for bodies that nobody waits for yet. Who reads ahead in two mailboxes at a time does so on
// two connections, not on one that goes to and fro; so does who reads ahead in one, where the server is slower than the
// line.
func (p *pool) inBulk(q *request) (found *session, overlap bool) {
	if p.behind() {
		if found, full := p.share(q); found != nil || full {
			return found, full
		}
	}
	for _, at := range []lane{bodies, listing} {
		found, overlap := p.among(q, func(s *session) bool { return s.lane == at && s.listings == 0 && s.fits(q) })
		if found != nil || overlap {
			return found, overlap
		}
	}
	return nil, false
}

// behind tells whether what is read ahead comes slower than the line would carry it. It is called with mu held.
func (p *pool) behind() bool {
	for _, s := range p.sessions {
		came := s.conn.CompressedBytes()
		if s.lane != bodies || came == 0 { // it is not compressed, or the server refused to
			continue
		}
		if took := time.Since(s.watched); s.bulk > 0 && took > judgeAfter+4*p.trip.Time() {
			s.behind = float64(came-s.cameFrom) < fullLine*p.lineRate*took.Seconds()
			s.watched, s.cameFrom = time.Now(), came
		}
		if s.behind {
			return true
		}
	}
	return false
}

// share finds a connection for what is read ahead where the one for bodies can't keep up with the line: that one, or the
// one for listings, if it has little under way. full says that they have too much.
func (p *pool) share(q *request) (found *session, full bool) {
	own, lent := ownBatches, lentBatches
	if p.trip.Time() >= longTrip {
		own, lent = 2*own, 2*lent
	}
	found, _ = p.among(q, func(s *session) bool { return s.lane == bodies && s.fits(q) && s.bulk < own })
	if found != nil {
		return found, false
	}
	if time.Since(p.urgent) > leaveAlone && q.fetches != nil && q.fetches.Len() > 1 { // a single message may be a large one
		found, _ = p.among(q, func(s *session) bool {
			return s.lane == listing && s.packed && s.listings == 0 && s.fits(q) && s.bulk < lent
		})
	}
	return found, slices.ContainsFunc(p.sessions, func(s *session) bool {
		return s.lane == bodies && s.fits(q) && s.bulk >= own
	})
}

// growing tells whether a lane has no connection yet, but will have one.
func (p *pool) growing(l lane) bool {
	return p.max > 1 && !slices.ContainsFunc(p.sessions, func(s *session) bool { return s.lane == l && s.alive() })
}

// among finds a connection for a request among some.
func (p *pool) among(q *request, may func(*session) bool) (found *session, overlap bool) {
	for _, s := range p.sessions {
		if !may(s) || s.exclusive || s.draining || !s.alive() {
			continue
		}
		if s.users == 0 {
			found = s
			if s.mailbox == q.mailbox && s.fits(q) {
				return found, false
			}
			continue
		}
		if q.alone || q.fresh || !s.fits(q) {
			continue
		}
		if q.single && s.single || slices.ContainsFunc(s.claims, func(c *remote.UIDSet) bool { return c.Overlaps(q.fetches) }) {
			overlap = true
			continue
		}
		return s, false
	}
	return found, overlap && found == nil
}

// fits tells whether the mailbox that is open is the one that a request wants. One that was made anew since it was opened
// is another one.
func (s *session) fits(q *request) bool {
	return q.mailbox == "" || s.mailbox == q.mailbox && (q.validity == 0 || s.box != nil && s.box.UIDValidity == q.validity)
}

// count notes what a connection is used for.
func (s *session) count(q *request, n int) {
	switch {
	case q.lane == listing:
		s.listings += n
	case q.prio != remote.Foreground:
		if s.bulk == 0 {
			s.watched, s.cameFrom = time.Now(), s.conn.CompressedBytes()
		}
		s.bulk += n
		s.bulkEnd = time.Now()
	}
}

func (p *pool) grant(q *request, s *session) {
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	s.users++
	s.exclusive = q.alone || q.fresh || !s.fits(q)
	if q.single {
		s.single = true
	}
	s.count(q, 1)
	if q.fetches != nil {
		s.claims = append(s.claims, q.fetches)
	}
	q.session = s
	p.wg.Add(1)
	close(q.settled)
}

// newest returns what is above every UID that listings have told of in a mailbox.
func (p *pool) newest(mailbox string) *atomic.Uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.above[mailbox] == nil {
		p.above[mailbox] = &atomic.Uint32{}
	}
	return p.above[mailbox]
}

// prepare dials the first connection for a lane that will be wanted.
func (p *pool) prepare(l lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && p.growing(l) {
		p.grow(l)
	}
}

// open opens a mailbox on a connection for bodies that has nothing else to do, and waits for nothing.
func (p *pool) open(mailbox string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := func(s *session) bool { return s.lane == bodies && s.users == 0 && s.alive() && s.mailbox != mailbox }
	if p.closed || p.max == 1 || !p.dialing[bodies] && !slices.ContainsFunc(p.sessions, idle) {
		return
	}
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		q := &request{lane: bodies, mailbox: mailbox, prio: remote.Foreground}
		// That it fails is told to who reads in it.
		_ = p.use(p.ctx, q, func(*session) error { return nil })
	}()
}

// grow dials one more connection for a lane, if there may be one.
func (p *pool) grow(l lane) {
	have := 0
	for _, s := range p.sessions {
		if s.alive() && (p.max == 1 || s.lane == l) {
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
		p.mu.Lock()
		if err == nil && p.closed {
			p.mu.Unlock()
			s.conn.Shut(remote.ErrClosed)
			<-s.client.Closed()
			return
		}
		defer p.mu.Unlock()
		p.dialing[l] = false
		switch {
		case err == nil:
			s.lane = l
			p.sessions = append(p.sessions, s)
			p.wg.Add(1)
			go p.watch(s)
			if !p.packing(s) {
				s.idle = time.AfterFunc(p.idle, func() { p.retire(s) })
			}
		case !p.fewer(l, err):
			p.fail(l, err)
		}
		p.schedule()
	}()
}

// fewer makes do with the connections that there are, if there are any, after one more was refused for a lane.
func (p *pool) fewer(l lane, why error) bool {
	up, served := 0, false
	var last *session
	for _, s := range p.sessions {
		if s.alive() {
			up, last, served = up+1, s, served || s.lane == l
		}
	}
	if up == 0 {
		return false
	}
	if !served {
		last.lane = l
	}
	p.max = up
	p.forget()
	if dial, ok := errors.AsType[*net.OpError](why); ok && dial.Op == "dial" {
		p.fewerUntil = time.Now().Add(notMadeFor)
		return true
	}
	p.fewerUntil = time.Now().Add(fewerFor)
	if !p.told {
		p.told = true
		p.log.Warn("the server allows fewer connections than wanted", "connections", up, "wanted", p.size, "error", why)
	}
	return true
}

// fail ends the wait of all requests of a lane.
func (p *pool) fail(l lane, why error) {
	left := p.waiting[:0]
	for _, q := range p.waiting {
		if p.laneOf(q) != l {
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
	p.drop(s)
	p.schedule()
}

// dropIdle ends the connections that nobody uses after another one was lost: what has ended that has mostly ended them too,
// and who tries again shall not meet one after the other.
func (p *pool) dropIdle(lost *session) {
	var dropped []*session
	p.mu.Lock()
	for _, s := range slices.Clone(p.sessions) {
		if s != lost && s.users == 0 && !s.draining && p.drop(s) {
			dropped = append(dropped, s)
		}
	}
	p.mu.Unlock()
	for _, s := range dropped { // TLS says farewell, which may take its time
		s.conn.Shut(remote.ErrClosed)
	}
}

func (p *pool) drop(s *session) bool {
	i := slices.Index(p.sessions, s)
	if i < 0 {
		return false
	}
	p.sessions = slices.Delete(p.sessions, i, i+1)
	if s.idle != nil {
		s.idle.Stop()
	}
	if len(p.sessions) == 0 {
		p.slow = false // the next ones may be by another network
		p.trip.Forget()
	}
	return true
}

// retire ends a connection that nobody has used for a while, before the server does.
func (p *pool) retire(s *session) {
	p.mu.Lock()
	if p.closed || s.users > 0 || !p.drop(s) {
		p.mu.Unlock()
		return
	}
	p.wg.Add(1)
	p.mu.Unlock()
	defer p.wg.Done()
	s.logout()
}

// close ends all connections and waits for all goroutines.
func (p *pool) close() {
	var used []*session
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		for l := range lanes {
			p.fail(l, remote.ErrClosed)
		}
		p.cancel()
		for _, s := range p.sessions {
			if s.idle != nil {
				s.idle.Stop()
			}
			if s.users > 0 || s.draining {
				used = append(used, s)
				continue
			}
			p.wg.Add(1)
			go func() {
				defer p.wg.Done()
				s.logout()
			}()
		}
	}
	p.mu.Unlock()
	for _, s := range used {
		s.conn.Shut(remote.ErrClosed)
	}
	p.wg.Wait()
}
