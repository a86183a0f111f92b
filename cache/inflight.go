package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/buffer"
)

// fetch is one fetch that several may wait for. What it brings is set before done is closed.
type fetch struct {
	finished atomic.Bool
	done     chan struct{}
	body     []byte // of a message or a header
	err      error

	ahead int64 // bytes that it counts for in bodies.ahead
	place int64 // bytes of the mailbox that had been asked for ahead of readers with it; 0 if it was not one of those
	push  bool  // what the fetch brings is pushed to the kernel, see [Pushed]; set before the fetch is sent

	lease lease // of body
}

func newFetch() *fetch { return &fetch{done: make(chan struct{})} }

// finish ends a fetch. A second call does nothing.
func (f *fetch) finish(body []byte, err error) {
	if f.finished.CompareAndSwap(false, true) {
		f.body, f.err = body, err
		close(f.done)
	}
}

// inflight are the fetches of a mailbox that are under way.
type inflight struct {
	bodies *bodies // the cache in memory, which takes what is fetched

	mu           sync.Mutex // guards what follows, and the leases of the fetches
	fetches      map[bodyKey]*fetch
	foreground   int                // commands under way that readers wait for
	batched      map[bodyKey]*fetch // to be sent with one command soon; nil if none is
	aheadAsked   int64              // bytes that were asked for ahead of readers so far
	aheadDone    int64              // bytes of these that have come, or won't
	fetchedAlone time.Time          // when one of these messages was last asked for on its own
}

// startLocked begins a fetch that others can wait for.
func (i *inflight) startLocked(key bodyKey) *fetch {
	if i.fetches == nil {
		i.fetches = map[bodyKey]*fetch{}
	}
	f := newFetch()
	i.fetches[key] = f
	return f
}

// missingLocked tells whether something is neither in memory nor under way.
func (i *inflight) missingLocked(key bodyKey) bool {
	return i.fetches[key] == nil && !i.bodies.has(key)
}

// attachLocked returns the fetch that is under way already; nil if none is.
func (i *inflight) attachLocked(key bodyKey) *fetch {
	f := i.fetches[key]
	if f != nil {
		i.leaseLocked(key, f, leaseRetain, nil)
	}
	return f
}

// finish ends a fetch for all who wait. What it brought is in memory before it leaves inflight.
func (i *inflight) finish(key bodyKey, f *fetch, body []byte, err error) {
	end := leaseKept
	if err != nil {
		end = leaseFailed
	}
	i.mu.Lock()
	i.leaseLocked(key, f, end, body)
	delete(i.fetches, key)
	i.aheadDone += f.ahead
	i.mu.Unlock()
	i.bodies.ahead.Add(-f.ahead)
	f.finish(body, err)
}

// came counts what a fetch has brought that is pushed before it ends.
func (i *inflight) came(f *fetch) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.aheadDone += f.ahead
}

// endFetch ends a finished fetch whose body was to be pushed. pushed: the kernel has the body.
func (i *inflight) endFetch(key bodyKey, f *fetch, pushed bool) {
	end := leaseKept
	if pushed {
		end = leasePushed
	}
	i.bodies.ahead.Add(-f.ahead)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leaseLocked(key, f, end, f.body)
	delete(i.fetches, key)
}

// wanted tells whether a reader has come for what a fetch brings, and is not done.
func (i *inflight) wanted(f *fetch) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return f.lease.wanted()
}

// failLocked ends fetches that no request was sent for.
func (i *inflight) failLocked(fetches map[bodyKey]*fetch, err error) {
	for key, f := range fetches {
		i.leaseLocked(key, f, leaseFailed, nil)
		delete(i.fetches, key)
		f.finish(nil, err)
	}
}

// release ends what a reader borrowed.
func (i *inflight) release(key bodyKey, f *fetch) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leaseLocked(key, f, leaseRelease, nil)
}

// leaseLocked notes an event in the lease of a fetch, and does what is to be done with the bytes. body is what the fetch
// brought where it ends with this event, and nil else.
func (i *inflight) leaseLocked(key bodyKey, f *fetch, e leaseEvent, body []byte) {
	switch f.lease.next(e) {
	case leaseAdd:
		i.bodies.add(key, body)
	case leaseRecycle:
		buffer.Put(f.body)
	}
}

// trickle is how many bytes the server must send within a timeout for it to count as a sign of life: less is a server
// that keeps us waiting for ever, one byte at a time.
const trickle = 128

// wait waits for a fetch until it ends, ctx ends, or the server has been silent for the timeout.
func (a *Account) wait(ctx context.Context, f *fetch) error {
	select { // without a timer, where it has ended already
	case <-f.done:
		return f.err
	default:
	}
	timer := time.NewTimer(a.options.Timeout)
	defer timer.Stop()
	for seen := a.remote.Stats().BytesIn; ; {
		select {
		case <-f.done:
			return f.err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			now := a.remote.Stats().BytesIn
			if now < seen+trickle {
				return fmt.Errorf("%w: nothing came for %v", remote.ErrTimeout, a.options.Timeout)
			}
			seen = now
			timer.Reset(a.options.Timeout)
		}
	}
}

// patience bounds how long a caller waits for news when there is an answer already: someone whose network just went away
// wants the listing of a minute ago, not a pause. It is spent once: while nothing is heard of a server that was waited for
// in vain, nobody else waits who has an answer.
const patience = 5 * time.Second

// waitForNews is wait for who has an answer already.
func (a *Account) waitForNews(ctx context.Context, f *fetch) error {
	heard := a.remote.Stats().BytesIn
	patience := min(patience, a.options.Timeout)
	if a.contact.silentSince.Load() == heard {
		patience = 0
	}
	waiting, cancel := context.WithTimeoutCause(ctx, patience, remote.ErrTimeout)
	defer cancel()
	err := a.wait(waiting, f)
	if errors.Is(err, remote.ErrTimeout) && a.remote.Stats().BytesIn == heard {
		a.contact.silentSince.Store(heard)
	}
	return err
}

// answers notes which messages of a command have been answered.
type answers struct {
	mu   sync.Mutex // guards what follows
	done map[remote.UID]bool
}

// first notes an answer and tells whether it is the first of this UID.
func (a *answers) first(uid remote.UID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done == nil {
		a.done = map[remote.UID]bool{}
	}
	was := a.done[uid]
	a.done[uid] = true
	return !was
}

func (a *answers) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.done)
}
