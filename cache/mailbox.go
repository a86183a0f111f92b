package cache

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/cache/identity"
	"github.com/mailfs/mailfs/cache/sizes"
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
	hash    disk.Hash // stands for the name on disk
	role    remote.Role
	log     *slog.Logger

	table      wait.Value[*Table]
	walks      walk.Walks                  // of readers of messages
	texts      walk.Walks                  // of readers of texts
	structures walk.Walks                  // of readers of parts
	searches   wait.Values[string, *Table] // listings of what a query found

	syncs syncs

	loading sync.Once   // done when what the store knows of the mailbox was taken
	asked   atomic.Bool // the table was asked for, and there was an answer
	skipped atomic.Bool // the mailbox is not listed ahead of readers; set when that failed, until it is asked for
	saving  sync.Mutex  // held while the table is written to the store: by tasks only, one after the other

	inflight inflight
	larges   largeReads
	sizes    sizes.Corrections
	kept     identity.Kept // decides which message an identifier means
}

// Change tells what became of a mailbox.
type Change struct {
	Mailbox  *Mailbox
	Table    *Table  // the new one
	Vanished []Entry // messages that were in the old table and are not in the new one
	Flagged  []Entry // messages whose flags changed
	Resized  []Entry // messages whose size turned out to be another one than announced, as they are now
}

// Name is remote.Mailbox.Name.
func (m *Mailbox) Name() string { return m.name }

// Known returns the listing as it is known now, without asking the server; nil when nothing is known. What the store holds
// counts as known once the server was asked for news of it, or could not be reached.
func (m *Mailbox) Known() *Table {
	if !m.asked.Load() {
		return nil
	}
	t, _ := m.table.Known()
	return t
}

// load takes what the store knows of the mailbox, the first time.
func (m *Mailbox) load() {
	m.loading.Do(func() {
		if store := m.account.store; store != nil {
			if t, version := store.Load(m.name); t != nil {
				m.syncs.version = version
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

// at addresses messages of the mailbox to the protocol.
func (m *Mailbox) at(validity uint32, prio remote.Priority) remote.Place {
	return remote.Place{Mailbox: m.name, UIDValidity: validity, Priority: prio}
}
