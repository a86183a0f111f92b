package cache

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// Mailbox is what is known of one mailbox.
type Mailbox struct {
	account *Account
	name    string
	role    remote.Role
	log     *slog.Logger

	table kept[*Table]

	// What a synchronisation leaves to the next one. One runs at a time, so nothing guards it.
	version remote.Version
	draft   *draft // what an interrupted one had got so far

	mu      sync.Mutex // guards what follows
	flights map[bodyKey]*bodyFlight
	sizes   map[remote.UID]int64 // of messages whose announced size was wrong, in the present UIDVALIDITY
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

// Known returns the listing as it is known now, without asking anyone; nil when nothing is known.
func (m *Mailbox) Known() *Table {
	t, _ := m.table.known()
	return t
}

// Table returns the listing, synchronised when it is older than Options.Refresh. When the server can't be reached it
// returns what is known, if anything is.
func (m *Mailbox) Table(ctx context.Context) (*Table, error) {
	return m.table.get(ctx, m.account, m.account.options.Refresh, m.sync)
}

// sync brings the table up to date.
func (m *Mailbox) sync(ctx context.Context) (*Table, error) {
	old, d, since := m.Known(), m.draft, m.version
	if d == nil {
		d = newDraft(old, since.UIDValidity)
	} else {
		since = remote.Version{UIDValidity: d.base.validity} // it knows some messages, but not which are missing
	}
	reset := false
	named := func(msg *remote.Message) (string, time.Time) { return name(msg, m.role) }
	version, err := m.account.remote.Sync(ctx, m.name, since, d.known(), func(delta remote.Delta) error {
		if delta.Reset {
			m.log.Info("UIDVALIDITY changed: the mailbox is listed anew", "from", since.UIDValidity, "to", delta.UIDValidity)
			d, reset = newDraft(nil, delta.UIDValidity), true
		}
		if d.base.validity == 0 { // nothing was known
			d.base.validity = delta.UIDValidity
		}
		for i := range delta.Messages {
			d.add(&delta.Messages[i], named)
		}
		for _, f := range delta.Flags {
			d.flag(f)
		}
		if delta.Present != nil {
			d.keep(delta.Present)
		}
		return nil
	})
	if err != nil {
		if d.base.validity != 0 && (reset || len(d.added) > 0) {
			m.draft = d
		}
		return nil, err
	}
	if d.base.validity == 0 {
		d.base.validity = version.UIDValidity
	}
	m.draft, m.version = nil, version
	return m.publish(old, d), nil
}

// publish makes a draft the table of the mailbox and tells of it.
func (m *Mailbox) publish(old *Table, d *draft) *Table {
	since := time.Now()
	t, vanished, flagged := d.finish(since)
	if t == old {
		return t
	}
	if old != nil && t.validity != old.validity {
		vanished, flagged = nil, nil
		for i := range old.Len() {
			vanished = append(vanished, old.At(i))
		}
	}
	m.mu.Lock()
	if old == nil || t.validity != old.validity {
		m.sizes = nil
	}
	for uid, size := range m.sizes {
		if i := t.Index(uid); i >= 0 {
			t.resize(i, size)
		} else {
			delete(m.sizes, uid)
		}
	}
	m.table.set(t, since)
	m.mu.Unlock()
	if old != nil {
		m.account.changed(Change{Mailbox: m, Table: t, Vanished: vanished, Flagged: flagged})
	}
	return t
}

// Bytes returns up to n bytes of a message from offset off; fewer only at its end. The caller must not change them. All
// who wait for a message share one fetch; ctx ends the wait, not the fetch. ErrNoMessage: it is gone. ErrStale: the
// mailbox was replaced.
func (m *Mailbox) Bytes(ctx context.Context, ref Ref, off int64, n int) ([]byte, error) {
	body, err := m.fetch(ctx, bodyKey{mailbox: m, ref: ref})
	if err != nil {
		return nil, err
	}
	off = min(off, int64(len(body)))
	return body[off:min(off+int64(n), int64(len(body)))], nil
}

// Size returns the number of bytes that readers of a message get. Where that is not certain the message is fetched.
func (m *Mailbox) Size(ctx context.Context, ref Ref) (int64, error) {
	if t := m.Known(); t != nil && t.validity == ref.UIDValidity {
		if e, ok := t.Find(ref.UID); ok && e.Verified {
			return e.Size, nil
		}
	}
	body, err := m.fetch(ctx, bodyKey{mailbox: m, ref: ref})
	return int64(len(body)), err
}

// Header returns the raw header of a message, with at least the fields remote.HeaderFields if it has them.
func (m *Mailbox) Header(ctx context.Context, ref Ref) ([]byte, error) {
	if body, ok := m.account.bodies.get(bodyKey{mailbox: m, ref: ref}); ok {
		if end := bytes.Index(body, []byte("\r\n\r\n")); end >= 0 {
			body = body[:end+2]
		}
		return body, nil
	}
	return m.fetch(ctx, bodyKey{mailbox: m, ref: ref, header: true})
}

// fetch returns a body or a header from memory, or from the server, once for all who wait for it.
func (m *Mailbox) fetch(ctx context.Context, key bodyKey) ([]byte, error) {
	if body, ok := m.account.bodies.get(key); ok {
		return body, nil
	}
	m.mu.Lock()
	f := m.flights[key]
	if f == nil {
		if body, ok := m.account.bodies.get(key); ok { // it landed between the two looks
			m.mu.Unlock()
			return body, nil
		}
		f = m.launch(key)
	}
	m.mu.Unlock()
	if err := m.account.wait(ctx, f.flight); err != nil {
		return nil, err
	}
	return f.body, nil
}

// launch starts the fetch of a body or a header. m.mu is held.
func (m *Mailbox) launch(key bodyKey) *bodyFlight {
	f := &bodyFlight{}
	if m.flights == nil {
		m.flights = map[bodyKey]*bodyFlight{}
	}
	m.flights[key] = f
	f.flight = m.account.fly(func(ctx context.Context) (err error) {
		if key.header {
			f.body, err = m.account.remote.Header(ctx, m.name, key.ref.UIDValidity, key.ref.UID)
		} else {
			f.body, err = m.download(ctx, key.ref)
		}
		if err == nil {
			m.account.bodies.add(key, f.body)
		}
		m.mu.Lock()
		delete(m.flights, key)
		m.mu.Unlock()
		return err
	})
	return f
}

// bodyFlight is a flight that brings a body; it is set before the flight is done.
type bodyFlight struct {
	*flight
	body []byte
}

// download fetches a message whole and compares its size with the one announced.
func (m *Mailbox) download(ctx context.Context, ref Ref) ([]byte, error) {
	var body []byte
	arrived := false
	err := m.account.remote.Bodies(ctx, remote.Foreground, m.name, ref.UIDValidity, []remote.UID{ref.UID},
		func(uid remote.UID, b []byte) {
			if uid == ref.UID {
				body, arrived = b, true
			}
		})
	switch {
	case arrived: // an error after it concerns something else
		m.verify(ref, int64(len(body)))
		return body, nil
	case err != nil:
		return nil, err
	default:
		m.table.expire() // the listing is behind
		return nil, fmt.Errorf("%w: UID %d in %s", remote.ErrNoMessage, ref.UID, m.name)
	}
}

// verify notes the size that a message really has.
func (m *Mailbox) verify(ref Ref, size int64) {
	m.mu.Lock()
	t := m.Known()
	i := -1
	if t != nil && t.validity == ref.UIDValidity {
		i = t.Index(ref.UID)
	}
	if i < 0 {
		m.mu.Unlock()
		return
	}
	announced, verified := t.resize(i, size)
	if announced != size {
		if m.sizes == nil {
			m.sizes = map[remote.UID]int64{}
		}
		m.sizes[ref.UID] = size
	}
	m.mu.Unlock()
	switch {
	case announced != size:
		if m.account.wrong.Add(1) == 1 {
			m.account.log.Warn("the server announces wrong sizes: each message is checked when it is opened",
				"mailbox", m.name, "uid", ref.UID, "announced", announced, "real", size)
		}
		m.account.changed(Change{Mailbox: m, Table: t, Resized: []Entry{t.At(i)}})
	case !verified:
		m.account.right.Add(1)
	}
}
