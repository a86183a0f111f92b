package imap

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/imap/wire"
)

// lane is what a connection is for. A body never waits behind a listing, unless the server allows one connection only.
type lane uint8

const (
	listing lane = iota
	bodies
	lanes // how many there are
)

// pool holds the connections of an account and grants them to requests: choose.go decides which request gets which
// connection, connections.go makes and ends connections, compression.go compresses them.
//
// Nothing is sent, received, closed or logged while mu is held.
type pool struct {
	dial   func(context.Context) (*session, error)
	forget func() // makes the next dial try at once, though the last one failed
	log    *slog.Logger
	size   int           // how many connections there may be
	idle   time.Duration // how long a connection without users is kept
	trip   wire.Trip

	ctx    context.Context // ends with the pool
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines of the pool and of its users

	mu         sync.Mutex // guards what follows, and the usage of every session
	sessions   []*session
	waiting    []*request                // not granted yet, the most urgent first
	dialing    [lanes]bool               // a connection is being made for the lane
	max        int                       // how many connections the server seems to allow
	fewerUntil time.Time                 // until then max may be below size
	warned     bool                      // the log says that there are fewer connections
	slow       bool                      // the line is one on which compression pays
	lineRate   float64                   // what the line carried before it was compressed, in bytes a second; 0 unless slow
	urgent     time.Time                 // when a reader last asked for a body that was not under way
	above      map[string]*atomic.Uint32 // by mailbox, see newest
	closed     bool
}

// usage is what the pool knows of a session. All of it is guarded by the pool's mutex.
type usage struct {
	lane        lane
	mailbox     string             // the mailbox that is open; "" is none
	box         *goimap.SelectData // what the server said when it was opened; nil where none is open
	users       int                // requests that have the session
	listings    int                // of the users, those of lane listing
	bulk        int                // of the users, those that fetch bodies that no reader waits for yet
	bulkEnd     time.Time          // when the last of the bulk users came or went
	exclusive   bool               // no request may join the user, which is alone or is opening a mailbox
	examining   string             // the mailbox that is being opened, until the server has answered; "" is none
	overdue     *time.Timer        // ends what examining is for, should the server not answer; nil while nothing is opened
	single      bool               // a user sends a command that only FETCH may go beside
	claims      []*remote.UIDSet   // what the users fetch
	compression compression
	idle        *time.Timer // retires the session; nil while it has users

	// Of a compressed session with bulk users: since when it is watched, how many compressed bytes had come by then, and
	// whether it turned out to bring less than the line would carry, as from a server that takes its time.
	watched  time.Time
	cameFrom int64
	behind   bool
}

// request is a wish for a connection. It shares the connection with others that want the same mailbox.
type request struct {
	lane     lane
	mailbox  string // to be open; "" for commands that need none
	validity uint32 // UIDVALIDITY that the mailbox must have; 0 is any
	fresh    bool   // the mailbox is to be opened anew
	alone    bool   // nothing else may be under way on the connection
	single   bool   // nothing but FETCH may be under way beside it: go-imap would mix up the answers
	prio     remote.Priority
	// fetches are the UIDs that will be fetched. go-imap matches answers by UID only, so that two commands on one
	// connection must not ask for the same one.
	fetches *remote.UIDSet

	// Guarded by the pool's mutex until settled is closed, constant after that.
	session *session // granted
	err     error
	settled chan struct{} // closed when session or err is set
}

// use runs f with a connection. When ctx ends, use returns at once; f goes on, so that its answer is taken off the connection,
// and the variables that f writes must not be read any more.
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
	p.scheduleLocked()
	p.mu.Unlock()
	select {
	case <-q.settled:
		return q.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	if i := slices.Index(p.waiting, q); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.scheduleLocked()
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
	open := !s.usage.mustExamine(q)
	p.mu.Unlock()
	opened := func() error { return nil }
	if !open {
		answer := s.examine(q.mailbox, p.newest(q.mailbox))
		opened = sync.OnceValue(func() error {
			s.opening = nil
			box, err := answer()
			return p.opened(q, box, err)
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

// opened notes that the mailbox of a request is open, or with an error that none is, and returns what that means for the
// request.
func (p *pool) opened(q *request, box *goimap.SelectData, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.scheduleLocked()
	u := &q.session.usage
	u.endExamine()
	u.mailbox, u.box = "", nil
	if err != nil {
		return err
	}
	u.mailbox, u.box = q.mailbox, box
	if !q.alone {
		u.exclusive = false
	}
	if q.validity != 0 && box.UIDValidity != q.validity {
		return remote.ErrStale
	}
	return nil
}

// openOn returns the mailbox that a session has open, and what the server said when it was opened; nil if none is open.
func (p *pool) openOn(s *session) (mailbox string, box *goimap.SelectData) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.usage.mailbox, s.usage.box
}

// release takes the connection back from a request.
func (p *pool) release(q *request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, u := q.session, &q.session.usage
	u.users--
	if q.single {
		u.single = false
	}
	u.count(q, -1, s.conn.CompressedBytes())
	if q.fetches != nil {
		i := slices.Index(u.claims, q.fetches)
		u.claims = slices.Delete(u.claims, i, i+1)
	}
	if u.users == 0 {
		u.exclusive = false
		u.endExamine() // of a request that was given up before it was sent
	}
	if p.compressLocked(s); u.compression.mayUse() {
		p.unusedLocked(s)
	}
	p.scheduleLocked()
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

// close ends all connections and waits for all goroutines.
func (p *pool) close() {
	p.mu.Lock()
	var busy []*session
	if !p.closed {
		p.closed = true
		for l := range lanes {
			p.failLocked(l, remote.ErrClosed)
		}
		p.cancel()
		for _, s := range p.sessions {
			if s.usage.idle != nil {
				s.usage.idle.Stop()
			}
			if s.usage.users > 0 || !s.usage.compression.mayUse() {
				busy = append(busy, s)
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
	for _, s := range busy { // not under the lock: TLS says farewell, which may take its time
		s.conn.Shut(remote.ErrClosed)
	}
	p.wg.Wait()
}
