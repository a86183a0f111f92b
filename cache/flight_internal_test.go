package cache

import (
	"context"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// late is a context that ends just after the load did.
type late struct{ context.Context }

func (late) Err() error { return context.Canceled }

// What is known is the answer where the server can't be reached, also for a caller who is interrupted at that moment. One
// who is interrupted before it is told so.
func TestKnownWhereInterrupted(t *testing.T) {
	a := &Account{options: Options{Timeout: time.Minute}, remote: silent{}}
	a.ctx, a.cancel = context.WithCancel(t.Context())
	defer a.goroutines.Wait()
	defer a.cancel()
	var k kept[string]
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

// silent is a server that never sends anything.
type silent struct{ remote.Account }

func (silent) Stats() remote.Stats { return remote.Stats{} }
