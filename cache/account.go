package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// Account is what is known of one account.
type Account struct {
	name    string
	remote  remote.Account
	options Options
	bodies  *bodies
	disk    *disk
	log     *slog.Logger

	// The account's place on disk; nil where nothing is kept.
	index    *index
	store    *accountDir
	unkept   error // why not, where it should have been
	keep     bool
	prefetch Prefetch
	views    viewKeeper

	ctx        context.Context // ends when the account is closed
	cancel     context.CancelFunc
	goroutines sync.WaitGroup

	mailboxes refreshed[[]remote.Mailbox]
	quota     refreshed[quota]
	listAhead listAhead
	tour      tour

	mu     sync.Mutex // guards byName, and that no goroutine begins after ctx has ended
	byName map[string]*Mailbox

	changing sync.Mutex // held during onChange: one call at a time
	onChange func(Change)

	pushes   chan Pushed
	onPushed func(Pushed) bool

	// How often the size that the server announced for a message was the right one, and how often it was not.
	right, wrong           atomic.Int64
	partsRight, partsWrong atomic.Int64 // of parts

	whole atomic.Bool // the server has no pieces of messages

	fromMemory, fromDisk atomic.Int64 // bodies that a reader got from there

	silentSince atomic.Int64 // remote.Stats.BytesIn when news were last waited for in vain; -1 before

	lastError    atomic.Pointer[error] // why the server was not reached the last time; nil if it was
	lastRead     atomic.Int64          // when a reader last asked for a body, in Unix nanoseconds
	prefetchFull sync.Once             // the log is told once that prefetch has ended
}

func newAccount(c *Cache, name string, r remote.Account) *Account {
	a := &Account{
		name: name, remote: r, options: c.options, bodies: c.bodies, disk: c.disk,
		log:      c.options.Log.With("account", name),
		byName:   map[string]*Mailbox{},
		onChange: func(Change) {},
		pushes:   make(chan Pushed, maxPushes),
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.silentSince.Store(-1)
	return a
}

func (a *Account) close() error {
	if a.index != nil {
		a.index.closing()
	}
	a.mu.Lock()
	a.cancel()
	a.mu.Unlock()
	err := a.remote.Close()
	a.goroutines.Wait()
	if a.index != nil {
		a.saveLost()
		if !a.Stored() {
			a.index.removeUnused()
		}
		err = errors.Join(err, a.index.close())
	}
	return err
}

// Name is what the account is called in the configuration.
func (a *Account) Name() string { return a.name }

// Stats tells what went over the wire so far.
func (a *Account) Stats() remote.Stats { return a.remote.Stats() }

// Mailboxes returns the mailboxes of the account, asked for anew when what is known is older than Options.Refresh. When
// the server can't be reached it returns what is known, if anything is.
func (a *Account) Mailboxes(ctx context.Context) ([]remote.Mailbox, error) {
	return a.mailboxes.get(ctx, a, a.options.Refresh, func(ctx context.Context) ([]remote.Mailbox, error) {
		list, err := a.remote.Mailboxes(ctx)
		a.noted(err)
		if err == nil && a.index != nil {
			a.index.saveMailboxes(list)
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
		mb = &Mailbox{account: a, name: m.Name, hash: mailboxHash(m.Name), role: m.Role, log: a.log.With("mailbox", m.Name)}
		a.byName[m.Name] = mb
	}
	return mb
}

// OnChange sets the function that is told of every change of a mailbox: after the new table is in place, before those who
// wait for it go on, one call at a time. It must not wait for anything. To be called once, before anything else.
func (a *Account) OnChange(f func(Change)) { a.onChange = f }

func (a *Account) changed(c Change) {
	a.changing.Lock()
	defer a.changing.Unlock()
	a.onChange(c)
}

// enoughSizes is how many announced sizes must have been right before the others are relied on.
const enoughSizes = 16

// SizesHold tells whether the sizes that the server announces have been compared with enough bodies to be relied on, and
// never were wrong.
func (a *Account) SizesHold() bool { return a.wrong.Load() == 0 && a.right.Load() >= enoughSizes }

type quota struct {
	used, limit int64
	err         error // that there is none, which is worth remembering too
}

// quotaAge is how long an answer of the server about the quota is used.
const quotaAge = time.Minute

// Quota tells how many bytes the account holds and may hold. ErrUnsupported where the server does not tell.
func (a *Account) Quota(ctx context.Context) (used, limit int64, err error) {
	q, err := a.quota.get(ctx, a, quotaAge, func(ctx context.Context) (quota, error) {
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

// away tells whether an error means that the server is out of reach, so that what is known is the best there is.
func away(err error) bool {
	return errors.Is(err, remote.ErrUnreachable) || errors.Is(err, remote.ErrTimeout) || errors.Is(err, remote.ErrLost)
}
