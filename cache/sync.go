package cache

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/cache/identity"
	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
)

// syncs is what a synchronisation of a mailbox leaves to the next one. One runs at a time, so no lock guards version and
// draft.
type syncs struct {
	version  remote.Version           // of the mailbox, as of the last synchronisation that succeeded
	draft    *table.Draft             // what one that was interrupted had listed so far; nil if none was
	progress atomic.Pointer[progress] // of the one that runs; nil while none does
	anew     bool                     // UIDNEXT went back: what is listed already is listed again, and compared
	arrived  identity.Arrivals        // what draft has of messages that were not listed before
	relist   walk.Relist              // when messages that are incomplete are listed again
}

// progress tells how far a synchronisation is.
type progress struct {
	since       time.Time    // when it began
	done, total atomic.Int64 // messages: listed so far, and in the mailbox (0 while that is not known)
}

// sync brings the table up to date with the server. now is the mailbox's version, if it is known already, as for
// [remote.Account]. One call runs at a time.
func (m *Mailbox) sync(ctx context.Context, now remote.Version) (*Table, error) {
	old, _ := m.table.Known()
	d, since := m.syncs.draft, m.syncs.version
	if d == nil && m.syncs.anew {
		d = table.NewDraft(nil, since.UIDValidity)
	} else if d == nil {
		d = table.NewDraft(old, since.UIDValidity)
	}
	if d == m.syncs.draft || m.syncs.anew {
		since = remote.Version{UIDValidity: d.UIDValidity()} // nobody knows which messages the draft lacks
	}
	reset, arrived := m.syncs.anew, &m.syncs.arrived
	*arrived = identity.Arrivals{Kept: &m.kept, Old: old, Anew: m.syncs.anew, Same: arrived.Same}
	p := &progress{since: time.Now()}
	m.syncs.progress.Store(p)
	defer m.syncs.progress.Store(nil)
	var headers *disk.HeaderWriter // nil where nothing is kept
	if store := m.account.store; store != nil {
		headers = store.HeaderWriter(m.name, m.account.tasks.Run)
	}
	known := m.syncs.relist.Known(d.Known(), old.Incomplete(), m.account.options.Refresh)
	named := func(msg *remote.Message) (string, time.Time) { return message.Name(msg, m.role) }
	version, err := m.account.remote.Sync(ctx, m.name, since, now, known, func(delta remote.Delta) error {
		p.done.Add(int64(len(delta.Messages)))
		p.total.Store(int64(delta.Total))
		if delta.Reset {
			m.log.Info("UIDVALIDITY changed: the mailbox is listed anew", "from", since.UIDValidity, "to", delta.UIDValidity)
			d, reset, arrived.Same = table.NewDraft(nil, delta.UIDValidity), true, remote.UIDSet{}
		}
		d.SetUIDValidity(delta.UIDValidity)
		for i := range delta.Messages {
			arrived.Note(ctx, d.UIDValidity(), &delta.Messages[i])
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
	m.account.contact.Note(err)
	if headers != nil {
		headers.Flush(d.UIDValidity())
	}
	if err != nil {
		if d.UIDValidity() != 0 && (reset || d.Adds()) {
			m.syncs.draft = d
		}
		return nil, err
	}
	d.SetUIDValidity(version.UIDValidity)
	t, change := d.Finish(time.Now())
	before := m.syncs.version
	if !m.syncs.anew && old != nil && before.UIDValidity == version.UIDValidity &&
		version.UIDNext != 0 && version.UIDNext < before.UIDNext {
		// As in a mailbox that was restored, against RFC 9051, section 2.3.1.1. UIDs below may be those of other messages, too.
		m.log.Warn("UIDNEXT went back: the mailbox is listed anew", "from", before.UIDNext, "to", version.UIDNext)
		m.syncs.draft, m.syncs.anew, arrived.Same = nil, true, remote.UIDSet{}
		return m.sync(ctx, remote.Version{})
	}
	if t != old {
		arrived.Settle(t, &change, m.forgetMemory)
		m.publish(old, change)
	}
	m.syncs.draft, m.syncs.version = nil, version
	m.save(old, t, before, change)
	m.syncs.anew, m.syncs.arrived = false, identity.Arrivals{}
	return t, nil
}

// publish puts the table that follows old in place and tells of it.
func (m *Mailbox) publish(old *Table, c table.Change) {
	t, change := c.Table, Change{Mailbox: m, Table: c.Table, Vanished: c.Vanished, Flagged: c.Flagged}
	m.sizes.Apply(t, old == nil || t.UIDValidity() != old.UIDValidity(), func() { m.table.Set(t) })
	if old != nil {
		m.account.changed(change)
	}
}
