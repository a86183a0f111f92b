package cache

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/cache/disk"
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
	if d == nil {
		d = table.NewDraft(old, since.UIDValidity)
	} else {
		since = remote.Version{UIDValidity: d.UIDValidity()} // the draft has messages of it, and nobody knows which are missing
	}
	reset := false
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
			m.syncs.draft = d
		}
		return nil, err
	}
	d.SetUIDValidity(version.UIDValidity)
	t, change := d.Finish(time.Now())
	before := m.syncs.version
	if before.UIDValidity == version.UIDValidity && version.UIDNext != 0 && version.UIDNext < before.UIDNext {
		m.wentBack(before.UIDNext, version)
	}
	m.syncs.draft, m.syncs.version = nil, version
	if t != old {
		m.publish(old, change)
	}
	m.save(old, t, before, change)
	return t, nil
}

// wentBack forgets messages whose UIDs the server will give to others: UIDNEXT is less than it was, as in a mailbox that was
// restored, against RFC 9051, section 2.3.1.1.
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
	m.sizes.correct(t, old == nil || t.UIDValidity() != old.UIDValidity(), func() { m.table.Set(t) })
	if old != nil && t.UIDValidity() != old.UIDValidity() { // the old one may come back, and stand for other messages
		m.account.bodies.Forget(func(k bodyKey) bool { return k.mailbox == m && k.ref.UIDValidity != t.UIDValidity() })
	}
	if old != nil {
		m.account.changed(change)
	}
}
