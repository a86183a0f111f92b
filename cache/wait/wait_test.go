package wait

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// late is a context that ends just after the load does.
type late struct{ context.Context }

func (late) Err() error { return context.Canceled }

// What is known is the answer where the server can't be reached, also for a caller that is interrupted at that moment. A
// caller that is interrupted before is told so.
func TestAnInterruptedCallerGetsWhatIsKnownOnlyWithTheAnswer(t *testing.T) {
	tasks := NewTasks(time.Minute, func() int64 { return 0 })
	defer tasks.Join()
	defer tasks.Stop()
	var v Value[string]
	v.Set("known")
	v.Expire()
	got, err := v.Get(late{t.Context()}, tasks, 0, func(context.Context) (string, error) { return "", remote.ErrUnreachable })
	if got != "known" || err != nil {
		t.Errorf("interrupted when the answer had come: %q, %v; want what is known", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = v.Get(ctx, tasks, 0, func(ctx context.Context) (string, error) {
		cancel()
		<-ctx.Done() // of the tasks, which ends with the test
		return "", ctx.Err()
	})
	if err != context.Canceled {
		t.Errorf("interrupted while waiting: %v, want %v", err, context.Canceled)
	}
}

// A server that says nothing is waited for once: each other caller with an older answer gets that at once, until the server
// says something.
func TestSilenceIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := int64(0)
		tasks := NewTasks(time.Minute, func() int64 { return said })
		defer tasks.Join()
		defer tasks.Stop()
		get := func() time.Duration {
			t.Helper()
			var v Value[string]
			v.Set("known")
			began := time.Now()
			got, err := v.Get(t.Context(), tasks, 0, func(ctx context.Context) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			})
			if got != "known" || err != nil {
				t.Errorf("%q, %v; want what is known", got, err)
			}
			return time.Since(began)
		}
		for i, want := range []time.Duration{newsTimeout, 0, 0, newsTimeout, 0} {
			if i == 3 {
				said += 10
			}
			if took := get(); took != want {
				t.Errorf("answer %d took %v, want %v", i, took, want)
			}
		}
	})
}
