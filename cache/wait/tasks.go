// Package wait is how callers wait for what is done for several of them at once: a Result is waited for by any number of
// callers, a Value is loaded anew when it is old. What is done belongs to Tasks, not to a caller: a caller that goes away
// leaves it to the others.
package wait

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// Result is something that several callers may wait for: bytes or an error.
type Result struct {
	finished atomic.Bool   // the first call of Finish has set Body and Err, or is about to
	done     chan struct{} // closed when Body and Err are set
	Body     []byte        // not to be read before Done is closed; nil where Err is not nil
	Err      error
}

// Init makes a result one that is still to come. To be called once, before anything else.
func (r *Result) Init() { r.done = make(chan struct{}) }

// Done is closed when the result is there.
func (r *Result) Done() <-chan struct{} { return r.done }

// Finish ends the wait for a result. A second call does nothing.
func (r *Result) Finish(body []byte, err error) {
	if r.finished.CompareAndSwap(false, true) {
		r.Body, r.Err = body, err
		close(r.done)
	}
}

// Tasks are the goroutines that work for callers with one server, and how long the callers wait for them.
type Tasks struct {
	timeout     time.Duration
	heard       func() int64
	silentSince atomic.Int64 // what heard returned when news were last waited for in vain; -1 before

	mu     sync.Mutex // held where a goroutine begins and where ctx is cancelled, so that none begins later
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

// NewTasks returns tasks of which none runs. A caller waits until the server has been silent for a timeout; heard returns how
// many bytes the server has sent so far.
func NewTasks(timeout time.Duration, heard func() int64) *Tasks {
	t := &Tasks{timeout: timeout, heard: heard}
	t.silentSince.Store(-1)
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Run runs f in a goroutine, with a context that ends when Stop is called. It returns false when that was called already.
func (t *Tasks) Run(f func(context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	t.group.Go(func() { f(t.ctx) })
	return true
}

// Stop ends the context of the tasks. No task begins any more.
func (t *Tasks) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancel()
}

// Join waits until all tasks have ended.
func (t *Tasks) Join() { t.group.Wait() }

// minProgress is how many bytes the server must send within the timeout for a wait to go on: a server that sends less could
// hold up a reader for ever, one byte at a time.
const minProgress = 128

// Wait waits until a result is there, ctx ends, or the server has been silent for the timeout (ErrTimeout).
func (t *Tasks) Wait(ctx context.Context, r *Result) error {
	select { // a result that is there needs no timer
	case <-r.done:
		return r.Err
	default:
	}
	timer := time.NewTimer(t.timeout)
	defer timer.Stop()
	for seen := t.heard(); ; {
		select {
		case <-r.done:
			return r.Err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			now := t.heard()
			if now < seen+minProgress {
				return fmt.Errorf("%w: nothing came for %v", remote.ErrTimeout, t.timeout)
			}
			seen = now
			timer.Reset(t.timeout)
		}
	}
}

// newsTimeout bounds how long a caller waits for news where there is an older answer: a user whose network just went away
// wants the listing of a minute ago, not a pause. After one such wait in vain no caller with an older answer waits again
// until the server has sent something.
const newsTimeout = 5 * time.Second

// waitForNews is Wait for a caller that has an older answer.
func (t *Tasks) waitForNews(ctx context.Context, r *Result) error {
	heard := t.heard()
	timeout := min(newsTimeout, t.timeout)
	if t.silentSince.Load() == heard {
		timeout = 0
	}
	waiting, cancel := context.WithTimeoutCause(ctx, timeout, remote.ErrTimeout)
	defer cancel()
	err := t.Wait(waiting, r)
	if errors.Is(err, remote.ErrTimeout) && t.heard() == heard {
		t.silentSince.Store(heard)
	}
	return err
}

// Away tells whether an error means that the server is out of reach, so that what is known is the best there is.
func Away(err error) bool {
	return errors.Is(err, remote.ErrUnreachable) || errors.Is(err, remote.ErrTimeout) || errors.Is(err, remote.ErrLost) ||
		errors.Is(err, remote.ErrUnavailable)
}
