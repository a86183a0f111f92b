package wait

import (
	"context"
	"sync"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// Value is a value that is loaded anew when it is asked for and has grown old.
type Value[T any] struct {
	mu      sync.Mutex // guards what follows; never held while loading
	value   T
	have    bool
	since   time.Time // when the load of value began; what happened later may be missing in it
	loading *Result   // nil while nothing is loaded
}

// Known returns the value as it is, and whether there is one.
func (v *Value[T]) Known() (T, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.value, v.have
}

// Fresh tells whether Get would return what is known, or attach to a load that is under way.
func (v *Value[T]) Fresh(maxAge time.Duration) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.loading != nil || v.have && remote.Elapsed(v.since) < maxAge
}

// Set replaces the value by one that is as fresh as it is.
func (v *Value[T]) Set(value T) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.value, v.have = value, true
}

// AsOf says that the value is no newer than t.
func (v *Value[T]) AsOf(t time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.since.After(t) {
		v.since = t
	}
}

// Expire makes the next Get load.
func (v *Value[T]) Expire() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.since = time.Time{}
}

// Get returns the value, loaded by load when it is older than maxAge. One load serves all that ask meanwhile. When the
// server can't be reached, or takes too long, what is known is returned, if anything is; load may go on then.
func (v *Value[T]) Get(ctx context.Context, t *Tasks, maxAge time.Duration, load func(context.Context) (T, error)) (T, error) {
	v.mu.Lock()
	if v.have && remote.Elapsed(v.since) < maxAge {
		defer v.mu.Unlock()
		return v.value, nil
	}
	if v.loading == nil {
		since := time.Now()
		r := &Result{}
		r.Init()
		running := t.Run(func(ctx context.Context) {
			loaded, err := load(ctx)
			v.mu.Lock()
			v.loading = nil
			if err == nil {
				v.value, v.have, v.since = loaded, true, since
			}
			v.mu.Unlock()
			r.Finish(nil, err)
		})
		if !running {
			v.mu.Unlock()
			var none T
			return none, remote.ErrClosed
		}
		v.loading = r
	}
	r, have := v.loading, v.have
	v.mu.Unlock()

	wait := t.Wait
	if have {
		wait = t.waitForNews
	}
	err := wait(ctx, r)
	value, have := v.Known()
	if err == nil || have && Away(err) { // also for a caller that was interrupted just when the answer came
		return value, nil
	}
	var none T
	return none, err
}
