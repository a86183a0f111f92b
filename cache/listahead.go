package cache

import (
	"context"
	"sync"
	"time"

	"github.com/mailfs/mailfs/cache/walk"
)

// Programs that go through an account mailbox by mailbox, as find, cp -r and grep -r do, would wait two round trips for each
// listing. So the mailboxes that come next are listed before they are asked for: the server tells in one answer what has
// changed in all that are near, and only what is new crosses the network.
const (
	// MaxListAhead is how many mailboxes ahead of a reader are of use to [Account.ListAhead].
	MaxListAhead = 32
	// listAheadMessages is how many new messages are listed together before somebody has asked. A mailbox with more is listed
	// when it is asked for: two round trips are little then.
	listAheadMessages = 4000
	// listAheadRefresh is the least Options.Refresh: a listing must still be fresh when it is asked for.
	listAheadRefresh = 5 * time.Second
)

// listAhead is what is listed ahead of readers of an account.
type listAhead struct {
	mu      sync.Mutex // guards what follows
	next    []*Mailbox // in the order in which they will be asked for; nil when listExpected has taken them
	running bool       // listExpected runs
}

// ListAhead says which mailboxes will most likely be asked for next, in their order, in place of what was said before. It
// waits for nothing.
func (a *Account) ListAhead(next []*Mailbox) {
	if a.options.Refresh < listAheadRefresh {
		return
	}
	l := &a.listAhead
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next = next; !l.running && len(a.due(next)) > 0 {
		l.running = a.tasks.Run(a.listExpected)
	}
}

// due returns which of the mailboxes that come next are to be listed now.
func (a *Account) due(next []*Mailbox) []*Mailbox {
	return walk.MailboxesToList(next, func(m *Mailbox) bool {
		return !m.skipped.Load() && !m.table.Fresh(a.options.Refresh)
	})
}

// listExpected lists the mailboxes that were named to ListAhead until none is due.
func (a *Account) listExpected(ctx context.Context) {
	l := &a.listAhead
	for {
		l.mu.Lock()
		due := a.due(l.next)
		l.next = nil // each is tried once, whatever comes of it
		l.running = len(due) > 0 && ctx.Err() == nil
		l.mu.Unlock()
		if len(due) == 0 || ctx.Err() != nil {
			return
		}
		a.list(ctx, due)
	}
}

// list lists mailboxes that nobody has asked for. One that can't be listed, or has too many new messages, is skipped: it is
// listed when it is asked for.
func (a *Account) list(ctx context.Context, due []*Mailbox) {
	names := make([]string, len(due))
	for i, m := range due {
		names[i] = m.name
	}
	asked := time.Now()
	versions, err := a.remote.Versions(ctx, names)
	a.contact.Note(err)
	room := listAheadMessages
	for i, m := range due {
		m.load()
		known := 0
		if t, ok := m.table.Known(); ok {
			known = t.Len()
		}
		if err != nil || versions[i].UIDNext == 0 || int(versions[i].Messages)-known > listAheadMessages {
			m.skipped.Store(true)
			continue
		}
		if room -= max(int(versions[i].Messages)-known, 0); room < 0 {
			return // the reader's next step asks for this mailbox again
		}
		_, err := m.table.Get(ctx, a.tasks, a.options.Refresh, func(ctx context.Context) (*Table, error) {
			return m.sync(ctx, versions[i])
		})
		m.table.AsOf(asked)
		if err != nil {
			m.skipped.Store(true)
		}
	}
}
