package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/remote"
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

// run runs f on the account's own time. It returns false when the account is closed already.
func (a *Account) run(f func(context.Context)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx.Err() != nil {
		return false
	}
	a.goroutines.Go(func() { f(a.ctx) })
	return true
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
	if a.silentSince.Load() == heard {
		patience = 0
	}
	waiting, cancel := context.WithTimeoutCause(ctx, patience, remote.ErrTimeout)
	defer cancel()
	err := a.wait(waiting, f)
	if errors.Is(err, remote.ErrTimeout) && a.remote.Stats().BytesIn == heard {
		a.silentSince.Store(heard)
	}
	return err
}

// kept is a value that is loaded anew when it is asked for and has grown old.
type kept[T any] struct {
	mu      sync.Mutex // guards what follows; never held while loading
	value   T
	have    bool
	since   time.Time // when the load of value began; what happened later may be missing in it
	loading *fetch    // nil while nothing is loaded
}

// known returns the value as it is, and whether there is one.
func (k *kept[T]) known() (T, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.value, k.have
}

// fresh tells whether get would return what is known, or attach to a load that is under way.
func (k *kept[T]) fresh(maxAge time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.loading != nil || k.have && remote.Elapsed(k.since) < maxAge
}

// set replaces the value by one that is as fresh as it is.
func (k *kept[T]) set(v T) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.value, k.have = v, true
}

// asOf says that the value is no newer than t.
func (k *kept[T]) asOf(t time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.since.After(t) {
		k.since = t
	}
}

// expire makes the next get load.
func (k *kept[T]) expire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.since = time.Time{}
}

// get returns the value, loaded by load when it is older than maxAge. One load serves all who ask meanwhile. When the
// server can't be reached, or takes too long, what is known is returned, if anything is; load may go on then.
func (k *kept[T]) get(ctx context.Context, a *Account, maxAge time.Duration, load func(context.Context) (T, error)) (T, error) {
	k.mu.Lock()
	if k.have && remote.Elapsed(k.since) < maxAge {
		defer k.mu.Unlock()
		return k.value, nil
	}
	if k.loading == nil {
		since := time.Now()
		f := newFetch()
		running := a.run(func(ctx context.Context) {
			v, err := load(ctx)
			k.mu.Lock()
			k.loading = nil
			if err == nil {
				k.value, k.have, k.since = v, true, since
			}
			k.mu.Unlock()
			f.finish(nil, err)
		})
		if !running {
			k.mu.Unlock()
			var none T
			return none, remote.ErrClosed
		}
		k.loading = f
	}
	f, have := k.loading, k.have
	k.mu.Unlock()

	wait := a.wait
	if have {
		wait = a.waitForNews
	}
	err := wait(ctx, f)
	v, have := k.known()
	if err == nil || have && away(err) { // also for who was interrupted just when the answer came
		return v, nil
	}
	var none T
	return none, err
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
