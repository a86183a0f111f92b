package cache

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/cache/wait"
	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
)

// The listing of a mailbox, see package table.
type (
	Table = table.Table
	Entry = table.Entry
	Ref   = table.Ref
)

// Mailbox is what is known of one mailbox.
type Mailbox struct {
	account *Account
	name    string
	hash    disk.Hash // what stands for the name on disk
	role    remote.Role
	log     *slog.Logger

	table      wait.Value[*Table]
	walks      walk.Walks
	texts      walk.Walks // of readers of texts
	structures walk.Walks // of readers of parts
	searches   searches

	// What a synchronisation leaves to the next one. One runs at a time, so nothing guards it.
	version remote.Version
	draft   *table.Draft // what an interrupted one had got so far

	loading sync.Once   // of what the store knows
	asked   atomic.Bool // the table was asked for, and there was an answer
	skipped atomic.Bool // the mailbox is not listed ahead of readers; set when that failed, until it is asked for
	saving  sync.Mutex  // held while the table is brought into the store

	syncing atomic.Pointer[progress] // nil while none runs

	inflight inflight
	larges   largeReads
	sizes    wrongSizes
}

// Change tells what became of a mailbox.
type Change struct {
	Mailbox  *Mailbox
	Table    *Table  // the new one
	Vanished []Entry // were in the old table and are not in the new one
	Flagged  []Entry // whose flags changed
	Resized  []Entry // whose size turned out to be another one than announced; as they are now
}

// Name is remote.Mailbox.Name.
func (m *Mailbox) Name() string { return m.name }

// Known returns the listing as it is known now, without asking anyone; nil when nothing is known. What the store holds
// counts as known when the server was asked whether it still holds, or could not be.
func (m *Mailbox) Known() *Table {
	if !m.asked.Load() {
		return nil
	}
	t, _ := m.table.Known()
	return t
}

// load takes what the store knows of the mailbox.
func (m *Mailbox) load() {
	m.loading.Do(func() {
		if store := m.account.store; store != nil {
			if t, version := store.Load(m.name); t != nil {
				m.version = version
				m.table.Set(t)
			}
		}
	})
}

// Table returns the listing, synchronised when it is older than Options.Refresh. When the server can't be reached it
// returns what is known, if anything is.
func (m *Mailbox) Table(ctx context.Context) (*Table, error) {
	m.load()
	m.skipped.Store(false)
	t, err := m.table.Get(ctx, m.account.tasks, m.account.options.Refresh, func(ctx context.Context) (*Table, error) {
		return m.sync(ctx, remote.Version{})
	})
	if err == nil {
		m.asked.Store(true)
	}
	return t, err
}

// progress tells how far a synchronisation is.
type progress struct {
	since       time.Time
	done, total atomic.Int64
}

// at addresses messages of the mailbox to the protocol.
func (m *Mailbox) at(validity uint32, prio remote.Priority) remote.Place {
	return remote.Place{Mailbox: m.name, UIDValidity: validity, Priority: prio}
}

// sync brings the table up to date. now is as for [remote.Account].
func (m *Mailbox) sync(ctx context.Context, now remote.Version) (*Table, error) {
	old, _ := m.table.Known()
	d, since := m.draft, m.version
	if d == nil {
		d = table.NewDraft(old, since.UIDValidity)
	} else {
		since = remote.Version{UIDValidity: d.UIDValidity()} // it knows some messages, but not which are missing
	}
	reset := false
	p := &progress{since: time.Now()}
	m.syncing.Store(p)
	defer m.syncing.Store(nil)
	var headers *disk.HeaderWriter // nil where nothing is kept
	if store := m.account.store; store != nil {
		headers = store.HeaderWriter(m.name, m.account.tasks.Run)
	}
	named := func(msg *remote.Message) (string, time.Time) { return message.Name(msg, m.role) }
	version, err := m.account.remote.Sync(ctx, m.name, since, now, d.Known(), func(delta remote.Delta) error {
		p.done.Add(int64(len(delta.Messages)))
		p.total.Store(int64(delta.Total))
		if delta.Reset {
			m.log.Info("UIDVALIDITY changed: the mailbox is listed anew", "from", since.UIDValidity, "to", delta.UIDValidity)
			d, reset = table.NewDraft(nil, delta.UIDValidity), true
		}
		d.SetUIDValidity(delta.UIDValidity)
		for i := range delta.Messages {
			d.Add(&delta.Messages[i], named)
			if headers != nil {
				headers.Add(d.UIDValidity(), delta.Messages[i].UID, message.ListedFields(delta.Messages[i].Header))
			}
		}
		for _, f := range delta.Flags {
			d.Flag(f)
		}
		if delta.Present != nil {
			d.Keep(m.account.keeping(m, d, delta.Present))
		}
		return nil
	})
	m.account.contact.note(err)
	if headers != nil {
		headers.Flush(d.UIDValidity())
	}
	if err != nil {
		if d.UIDValidity() != 0 && (reset || d.Adds()) {
			m.draft = d
		}
		return nil, err
	}
	d.SetUIDValidity(version.UIDValidity)
	t, change := d.Finish(time.Now())
	before := m.version
	if before.UIDValidity == version.UIDValidity && version.UIDNext != 0 && version.UIDNext < before.UIDNext {
		m.wentBack(before.UIDNext, version)
	}
	m.draft, m.version = nil, version
	if t != old {
		m.publish(old, change)
	}
	m.save(old, t, version, before != version, change)
	return t, nil
}

// wentBack forgets messages whose UIDs the server will give to others: UIDNEXT is less than it was, which a mailbox that was
// restored may do, against RFC 9051, section 2.3.1.1.
func (m *Mailbox) wentBack(from remote.UID, to remote.Version) {
	m.log.Warn("UIDNEXT went back: what is kept of the messages from there on is forgotten", "from", from, "to", to.UIDNext)
	a, first := m.account, Ref{UIDValidity: to.UIDValidity, UID: to.UIDNext}
	a.bodies.Forget(func(k bodyKey) bool {
		return k.mailbox == m && k.ref.UIDValidity == first.UIDValidity && k.ref.UID >= first.UID
	})
	if a.store != nil && !a.keep {
		a.disk.ForgetFrom(a.store, m.hash, first)
	}
}

// publish puts the table that follows old in place and tells of it.
func (m *Mailbox) publish(old *Table, c table.Change) {
	t, change := c.Table, Change{Mailbox: m, Table: c.Table, Vanished: c.Vanished, Flagged: c.Flagged}
	if old != nil && t.UIDValidity() != old.UIDValidity() {
		change.Vanished, change.Flagged = nil, nil
		for i := range old.Len() {
			change.Vanished = append(change.Vanished, old.At(i))
		}
	}
	m.sizes.mu.Lock()
	if old == nil || t.UIDValidity() != old.UIDValidity() {
		m.sizes.wrong = nil
	}
	for uid, size := range m.sizes.wrong {
		if i := t.Index(uid); i >= 0 {
			t.SetSize(i, size)
		} else {
			delete(m.sizes.wrong, uid)
		}
	}
	m.table.Set(t)
	m.sizes.mu.Unlock()
	if old != nil && t.UIDValidity() != old.UIDValidity() { // it may come back, and mean other messages
		m.account.bodies.Forget(func(k bodyKey) bool { return k.mailbox == m && k.ref.UIDValidity != t.UIDValidity() })
	}
	if old != nil {
		m.account.changed(change)
	}
}
