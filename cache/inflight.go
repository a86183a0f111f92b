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
