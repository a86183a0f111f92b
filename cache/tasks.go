package cache

import (
	"context"
	"sync"
)

// tasks are the goroutines of an account.
type tasks struct {
	mu     sync.Mutex // held where a goroutine begins and where ctx is cancelled, so that none begins later
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

func (t *tasks) init() { t.ctx, t.cancel = context.WithCancel(context.Background()) }

// stop ends the context of the tasks, after which none begins.
func (t *tasks) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancel()
}

// run runs f as a task of the account. It returns false when the account is closed already.
func (a *Account) run(f func(context.Context)) bool {
	t := &a.tasks
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	t.group.Go(func() { f(t.ctx) })
	return true
}
