package cache

import (
	"context"
	"sync"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// refreshed is a value that is loaded anew when it is asked for and has grown old.
type refreshed[T any] struct {
	mu      sync.Mutex // guards what follows; never held while loading
	value   T
	have    bool
	since   time.Time // when the load of value began; what happened later may be missing in it
	loading *fetch    // nil while nothing is loaded
}

// known returns the value as it is, and whether there is one.
func (r *refreshed[T]) known() (T, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.value, r.have
}

// fresh tells whether get would return what is known, or attach to a load that is under way.
func (r *refreshed[T]) fresh(maxAge time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loading != nil || r.have && remote.Elapsed(r.since) < maxAge
}

// set replaces the value by one that is as fresh as it is.
func (r *refreshed[T]) set(v T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.value, r.have = v, true
}

// asOf says that the value is no newer than t.
func (r *refreshed[T]) asOf(t time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.After(t) {
		r.since = t
	}
}

// expire makes the next get load.
func (r *refreshed[T]) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = time.Time{}
}

// get returns the value, loaded by load when it is older than maxAge. One load serves all that ask meanwhile. When the
// server can't be reached, or takes too long, what is known is returned, if anything is; load may go on then.
func (r *refreshed[T]) get(ctx context.Context, a *Account, maxAge time.Duration, load func(context.Context) (T, error)) (T, error) {
	r.mu.Lock()
	if r.have && remote.Elapsed(r.since) < maxAge {
		defer r.mu.Unlock()
		return r.value, nil
	}
	if r.loading == nil {
		since := time.Now()
		f := newFetch()
		running := a.run(func(ctx context.Context) {
			v, err := load(ctx)
			r.mu.Lock()
			r.loading = nil
			if err == nil {
				r.value, r.have, r.since = v, true, since
			}
			r.mu.Unlock()
			f.finish(nil, err)
		})
		if !running {
			r.mu.Unlock()
			var none T
			return none, remote.ErrClosed
		}
		r.loading = f
	}
	f, have := r.loading, r.have
	r.mu.Unlock()

	wait := a.wait
	if have {
		wait = a.waitForNews
	}
	err := wait(ctx, f)
	v, have := r.known()
	if err == nil || have && away(err) { // also for a caller that was interrupted just when the answer came
		return v, nil
	}
	var none T
	return none, err
}
