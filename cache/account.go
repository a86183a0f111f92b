package cache

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/cache/sizes"
	"github.com/mailfs/mailfs/cache/wait"
	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
)

// Account is what is known of one account.
type Account struct {
	name    string
	remote  remote.Account
	options Options
	bodies  *bodies
	disk    *disk.Bodies
	log     *slog.Logger
	tasks   *wait.Tasks

	store  *disk.Store // nil where nothing is kept on disk
	unkept error       // why nothing is kept on disk, where it should have been; else nil
	keep   bool        // AccountOptions.Keep

	mailboxes wait.Value[[]remote.Mailbox]
	quota     wait.Value[quota]

	listAhead    listAhead
	consecutive  walk.ConsecutiveMailboxes[*Mailbox]
	pushes       pushes
	prefetch     Prefetch
	prefetchFull sync.Once // the log is told once that prefetch has ended

	contact   wait.Contact
	reads     reads
	sizes     sizes.Evidence // of the announced sizes of messages
	partSizes sizes.Evidence // of the announced sizes of parts
	noPieces  atomic.Bool    // the server has no pieces of messages
	changes   changes

	mu     sync.Mutex // guards byName
	byName map[string]*Mailbox
}

// reads counts what readers got without the server.
type reads struct {
	fromMemory, fromDisk atomic.Int64 // bodies
	last                 atomic.Int64 // when a reader last asked for one, in Unix nanoseconds
}

// note notes that a reader asks for a body.
func (r *reads) note() { r.last.Store(time.Now().UnixNano()) }

func newAccount(c *Cache, name string, r remote.Account) *Account {
	a := &Account{
		name: name, remote: r, options: c.options, bodies: c.bodies, disk: c.disk,
		log:    c.options.Log.With("account", name),
		byName: map[string]*Mailbox{},
	}
	a.tasks = wait.NewTasks(c.options.Timeout, func() int64 { return r.Stats().BytesIn })
	a.changes.tell = func(Change) {}
	a.pushes.queue = make(chan Pushed, maxPushes)
	a.contact.Log = a.log
	return a
}

// close ends all that the account does, and saves what is not saved yet.
func (a *Account) close() error {
	if a.store != nil {
		a.store.Ending()
	}
	a.tasks.Stop()
	err := a.remote.Close()
	a.tasks.Join()
	if a.store != nil {
		a.saveLost()
		if !a.Stored() {
			a.store.RemoveUnused()
		}
		err = errors.Join(err, a.store.Close())
	}
	return err
}

// Name is what the account is called in the configuration.
func (a *Account) Name() string { return a.name }

// Stats tells what went over the network so far.
func (a *Account) Stats() remote.Stats { return a.remote.Stats() }

// Mailboxes returns the mailboxes of the account, asked for anew when what is known is older than Options.Refresh. When
// the server can't be reached it returns what is known, if anything is.
func (a *Account) Mailboxes(ctx context.Context) ([]remote.Mailbox, error) {
	return a.mailboxes.Get(ctx, a.tasks, a.options.Refresh, func(ctx context.Context) ([]remote.Mailbox, error) {
		list, err := a.remote.Mailboxes(ctx)
		a.contact.Note(err)
		if err == nil && a.store != nil {
			a.store.SaveMailboxes(list)
		}
		return list, err
	})
}

// Mailbox returns one of Mailboxes. It costs nothing, and is the same *Mailbox each time for a name.
func (a *Account) Mailbox(m remote.Mailbox) *Mailbox {
	a.mu.Lock()
	defer a.mu.Unlock()
	mb := a.byName[m.Name]
	if mb == nil {
		mb = &Mailbox{account: a, name: m.Name, hash: disk.HashOf(m.Name), role: m.Role, log: a.log.With("mailbox", m.Name)}
		mb.searches.Most = maxSearches
		mb.kept = mb.identifiedBy()
		mb.inflight.bodies, mb.inflight.holders = a.bodies, &mb.kept.Holders
		a.byName[m.Name] = mb
	}
	return mb
}

// changes tells of the changes of an account's mailboxes.
type changes struct {
	mu   sync.Mutex // held during tell: one call at a time
	tell func(Change)
}

// mailboxesUsed returns all mailboxes that Mailbox has returned.
func (a *Account) mailboxesUsed() []*Mailbox {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Values(a.byName))
}

// OnChange sets the function that is told of every change of a mailbox: after the new table is in place, before those that
// wait for it go on, one call at a time. The function must not wait for anything. To be called once, before anything else.
func (a *Account) OnChange(f func(Change)) { a.changes.tell = f }

// changed tells of a change.
func (a *Account) changed(c Change) {
	a.changes.mu.Lock()
	defer a.changes.mu.Unlock()
	a.changes.tell(c)
}

// quota is an answer of the server about the account's quota, in bytes.
type quota struct {
	used, limit int64
	err         error // ErrUnsupported where the server does not tell, which is remembered too; else nil
}

// quotaAge is how long an answer of the server about the quota is used.
const quotaAge = time.Minute

// Quota tells how many bytes the account holds and may hold. ErrUnsupported where the server does not tell.
func (a *Account) Quota(ctx context.Context) (used, limit int64, err error) {
	q, err := a.quota.Get(ctx, a.tasks, quotaAge, func(ctx context.Context) (quota, error) {
		used, limit, err := a.remote.Quota(ctx)
		if errors.Is(err, remote.ErrUnsupported) {
			return quota{err: err}, nil
		}
		return quota{used: used, limit: limit}, err
	})
	if err == nil {
		err = q.err
	}
	return q.used, q.limit, err
}
