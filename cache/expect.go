package cache

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Who goes through an account mailbox by mailbox, as find, cp -r and grep -r do, would wait two round trips for each
// listing. So what comes next is listed before it is asked for: of all that is near, the server tells in one answer what has
// changed, and of that only what is new crosses the network.
const (
	// Expected is how many mailboxes ahead of somebody are of use to [Account.Expect].
	Expected = 32
	// expectAtOnce is how many mailboxes the server is asked about together, soonAsked how many of those ahead must be
	// listed for it not to be asked yet.
	expectAtOnce = 16
	soonAsked    = 8
	// expectMessages is how many new messages are listed together before somebody has asked. A mailbox with more is left to
	// whoever asks: two round trips are little then.
	expectMessages = 4000
	// enduring is for how long a listing must be good for it to be of use later.
	enduring = 5 * time.Second
)

// expectations are what is listed ahead.
type expectations struct {
	mu      sync.Mutex // guards what follows
	next    []*Mailbox // in the order in which they will be asked for
	running bool
}

// Expect says which mailboxes will most likely be asked for next, in their order. What was said before is void. It waits
// for nothing.
func (a *Account) Expect(next []*Mailbox) {
	if a.options.Refresh < enduring {
		return
	}
	e := &a.expected
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.next = next; !e.running && len(a.due(next)) > 0 {
		e.running = a.run(a.listExpected)
	}
}

// due returns the mailboxes that are to be listed now.
func (a *Account) due(next []*Mailbox) (due []*Mailbox) {
	old := func(m *Mailbox) bool { return !m.left.Load() && !m.table.fresh(a.options.Refresh) }
	if !slices.ContainsFunc(next[:min(len(next), soonAsked)], old) {
		return nil
	}
	for _, m := range next {
		if old(m) && len(due) < expectAtOnce {
			due = append(due, m)
		}
	}
	return due
}

// listExpected lists what is expected until nothing is due.
func (a *Account) listExpected(ctx context.Context) {
	e := &a.expected
	for {
		e.mu.Lock()
		due := a.due(e.next)
		e.next = nil // once, whatever comes of it
		e.running = len(due) > 0 && ctx.Err() == nil
		e.mu.Unlock()
		if len(due) == 0 || ctx.Err() != nil {
			return
		}
		a.list(ctx, due)
	}
}

// list lists mailboxes that nobody has asked for. Those that it can't, or won't, are left to whoever asks.
func (a *Account) list(ctx context.Context, due []*Mailbox) {
	names := make([]string, len(due))
	for i, m := range due {
		names[i] = m.name
	}
	asked := time.Now()
	versions, err := a.remote.Versions(ctx, names)
	a.noted(err)
	room := expectMessages
	for i, m := range due {
		m.load()
		known := 0
		if t, ok := m.table.known(); ok {
			known = t.Len()
		}
		if err != nil || versions[i].UIDNext == 0 || int(versions[i].Messages)-known > expectMessages {
			m.left.Store(true)
			continue
		}
		if room -= max(int(versions[i].Messages)-known, 0); room < 0 {
			return // the next step of whoever it is for begins anew here
		}
		_, err := m.table.get(ctx, a, a.options.Refresh, func(ctx context.Context) (*Table, error) {
			return m.sync(ctx, versions[i])
		})
		m.table.asOf(asked)
		if err != nil {
			m.left.Store(true)
		}
	}
}
