package pop3

import (
	"context"
	"errors"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// aim is what a request asks for.
type aim uint8

const (
	listing aim = iota // the maildrop of a session
	header
	body
)

// request is one thing asked of the session.
type request struct {
	ctx   context.Context // of the caller that waits
	prio  remote.Priority
	aim   aim
	uid   remote.UID
	fresh bool          // the maildrop must be listed as it was at the time asked; of a listing only
	asked time.Time     // when the request was made; of a listing only
	reply chan<- result // has room, so that replying never blocks

	// top is what TOP gave, where that did not do: the message is asked for again, by RETR. nil before that.
	top *topAnswer

	// again says that the message was asked for before, ended before its size, and took the session with it.
	again bool
}

// result answers a request.
type result struct {
	uid     remote.UID
	drop    *maildrop // listing
	content []byte    // header, body
	size    int64     // header: of the message, as far as is known, else -1
	err     error
}

// queue holds the requests that no command was sent for yet, by priority.
type queue [remote.Background + 1][]*request

// pop takes the request that comes first; nil when there is none.
func (q *queue) pop() *request {
	for i := range q {
		if len(q[i]) > 0 {
			r := q[i][0]
			q[i][0] = nil
			q[i] = q[i][1:]
			return r
		}
	}
	return nil
}

func (q *queue) push(r *request) { q[r.prio] = append(q[r.prio], r) }

// pushFront makes a request the first of its priority.
func (q *queue) pushFront(r *request) { q[r.prio] = append([]*request{r}, q[r.prio]...) }

// maxQueued is how many requests of one call are queued or under way at most: enough to keep the window full, and few enough
// that a long listing lets others in between, and that answers do not pile up before a slow caller.
const maxQueued = window + window/4

// open waits for a session and returns what it lists.
func (a *Account) open(ctx context.Context, fresh bool) (*maildrop, error) {
	reply := make(chan result, 1)
	r := &request{ctx: ctx, prio: remote.Foreground, aim: listing, fresh: fresh, asked: time.Now(), reply: reply}
	if err := a.enqueue(ctx, r); err != nil {
		return nil, err
	}
	select {
	case r := <-reply:
		return r.drop, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-a.alive.Done():
		return nil, remote.ErrClosed
	}
}

// fetch asks for headers or bodies and calls each, in the calling goroutine, for every message that came, is not there or was
// refused; an error of each ends it. A lost connection is returned after the other messages have come, any other error at
// once.
func (a *Account) fetch(ctx context.Context, prio remote.Priority, what aim, uids []remote.UID,
	each func(result) error) error {
	ctx, cancel := context.WithCancel(ctx) // nobody waits for the requests that are still in the queue then
	defer cancel()
	reply := make(chan result, min(maxQueued, len(uids)))
	var lost error
	for waiting := 0; len(uids) > 0 || waiting > 0; {
		next := make([]*request, min(len(uids), maxQueued-waiting))
		for i := range next {
			next[i] = &request{ctx: ctx, prio: min(prio, remote.Background), aim: what, uid: uids[i], reply: reply}
		}
		if err := a.enqueue(ctx, next...); err != nil {
			return err
		}
		uids = uids[len(next):]
		waiting += len(next)
		select {
		case r := <-reply:
			waiting--
			switch {
			case r.err == nil, errors.Is(r.err, remote.ErrNoMessage), errors.Is(r.err, remote.ErrServer),
				errors.Is(r.err, remote.ErrUnavailable):
				if err := each(r); err != nil {
					return err
				}
			case errors.Is(r.err, remote.ErrLost):
				lost = r.err
			default:
				return r.err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-a.alive.Done():
			return remote.ErrClosed
		}
	}
	return lost
}

func (a *Account) enqueue(ctx context.Context, requests ...*request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(requests) == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return remote.ErrClosed
	}
	for _, r := range requests {
		a.queue.push(r)
	}
	if !a.working {
		a.working = true
		a.wg.Go(a.work)
	}
	if a.serving != nil {
		a.serving.interrupt()
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return nil
}

// setServing says which connection is interrupted for new requests while it waits for answers; nil is none.
func (a *Account) setServing(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.serving = c
}

// take returns the next request that somebody still waits for; nil when there is none.
func (a *Account) take() *request {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		r := a.queue.pop()
		if r == nil || r.ctx.Err() == nil {
			return r
		}
	}
}

// putBack makes requests the next ones, in their order.
func (a *Account) putBack(requests ...*request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := len(requests) - 1; i >= 0; i-- {
		a.queue.pushFront(requests[i])
	}
}

// idleFor waits for a request. It returns false when none came in that time.
func (a *Account) idleFor(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		if r := a.take(); r != nil {
			a.putBack(r)
			return true
		}
		select {
		case <-a.wake:
		case <-timer.C:
			return false
		case <-a.alive.Done():
			return false
		}
	}
}

// fail answers all requests that wait now with an error. Later requests are tried again.
func (a *Account) fail(err error) {
	a.mu.Lock()
	waiting := a.queue
	a.queue = queue{}
	a.mu.Unlock()
	for _, requests := range waiting {
		for _, r := range requests {
			r.reply <- result{uid: r.uid, err: err}
		}
	}
}

// more tells whether a request waits. If not, the goroutine that works must end: the next request starts another.
func (a *Account) more() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for r := a.queue.pop(); r != nil; r = a.queue.pop() {
		if r.ctx.Err() == nil {
			a.queue.pushFront(r)
			return true
		}
	}
	a.working = false
	return false
}

// work serves the queue until it is empty and stays so for a while.
func (a *Account) work() {
	for a.more() {
		if a.alive.Err() != nil {
			a.fail(remote.ErrClosed)
			continue
		}
		s, err := a.begin()
		if err != nil {
			a.fail(err)
			continue
		}
		a.proven.Store(true)
		a.serve(s)
	}
}
