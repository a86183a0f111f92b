package cache

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// late is a context that ends just after the load does.
type late struct{ context.Context }

func (late) Err() error { return context.Canceled }

// What is known is the answer where the server can't be reached, also for a caller who is interrupted at that moment. One
// who is interrupted before it is told so.
func TestAnInterruptedCallerGetsWhatIsKnownOnlyWithTheAnswer(t *testing.T) {
	a := newAccount(&Cache{options: Options{Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)}}, "", &server{})
	defer a.tasks.group.Wait()
	defer a.tasks.stop()
	var k refreshed[string]
	k.set("known")
	k.expire()
	got, err := k.get(late{t.Context()}, a, 0, func(context.Context) (string, error) { return "", remote.ErrUnreachable })
	if got != "known" || err != nil {
		t.Errorf("interrupted when the answer had come: %q, %v; want what is known", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = k.get(ctx, a, 0, func(ctx context.Context) (string, error) {
		cancel()
		<-ctx.Done() // the account's, which ends with the test
		return "", ctx.Err()
	})
	if err != context.Canceled {
		t.Errorf("interrupted while waiting: %v, want %v", err, context.Canceled)
	}
}

// A server that says nothing is waited for once: whoever else has an answer gets it at once, until it says something.
func TestSilenceIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		a := newAccount(&Cache{options: Options{Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)}}, "", s)
		defer a.tasks.group.Wait()
		defer a.tasks.stop()
		get := func() time.Duration {
			t.Helper()
			var k refreshed[string]
			k.set("known")
			began := time.Now()
			got, err := k.get(t.Context(), a, 0, func(ctx context.Context) (string, error) {
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
				s.said.Add(10)
			}
			if took := get(); took != want {
				t.Errorf("answer %d took %v, want %v", i, took, want)
			}
		}
	})
}

// server is one that is never asked anything, and may have said something.
type server struct {
	remote.Account
	said atomic.Int64
}

func (s *server) Stats() remote.Stats { return remote.Stats{BytesIn: s.said.Load()} }
