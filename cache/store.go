package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// attach gives the account its place on disk. Where another process has it, or the disk is full, the account does
// without, which is logged. ErrStoreNewer: a newer version of mailfs wrote it, and it is left alone.
func (a *Account) attach(dir, label string) error {
	bodies := filepath.Join(dir, bodiesDir)
	var index *index
	err := error(os.ErrNotExist)
	for tries := 0; tries < 3 && errors.Is(err, os.ErrNotExist); tries++ { // another process may remove it if it held nothing
		if err = os.MkdirAll(bodies, 0o700); err == nil {
			index, err = openIndex(dir, a.keep, a.log)
		}
	}
	if errors.Is(err, ErrStoreHeld) || full(err) {
		a.unkept = err
		a.log.Warn("nothing is kept on disk: "+err.Error(), "store", dir)
		return nil
	}
	if err != nil {
		return err
	}
	if err := putLabel(dir, label); err != nil && !full(err) {
		return errors.Join(err, index.close())
	}
	a.index, a.store = index, &accountDir{path: bodies, pinned: a.keep, scanned: make(chan struct{})}
	if list := index.mailboxes(); list != nil {
		a.mailboxes.set(list)
	}
	a.run(func(context.Context) { a.disk.scan(a.store) })
	return nil
}

// Unkept returns why the account does without a store that it could have: another process has it, or the disk is full. It is
// nil otherwise.
func (a *Account) Unkept() error { return a.unkept }

// putLabel says in a store whose it is.
func putLabel(dir, label string) error {
	path := filepath.Join(dir, labelFile)
	if b, err := os.ReadFile(path); err == nil && string(b) == label+"\n" {
		return nil
	}
	return os.WriteFile(path, []byte(label+"\n"), 0o600)
}

// Stored tells whether the store knows the account: its mail can be listed, and read as far as it was read, without the
// server.
func (a *Account) Stored() bool {
	_, ok := a.mailboxes.known()
	return ok
}

func (a *Account) diskKey(m *Mailbox, ref Ref) diskKey {
	return diskKey{account: a.store, mailbox: m.hash, ref: ref}
}

// keeping returns what stays in a mailbox: what is on the server, and for an account that keeps also what is on disk.
func (a *Account) keeping(m *Mailbox, d *table.Draft, present *remote.UIDSet) *remote.UIDSet {
	if !a.keep || a.store == nil {
		return present
	}
	for _, r := range d.Absent(present).Ranges() {
		for uid := r.First; uid <= r.Last; uid++ {
			if a.disk.has(a.diskKey(m, Ref{UIDValidity: d.UIDValidity(), UID: uid})) {
				present.Add(uid)
			}
		}
	}
	return present
}

// save brings a table that a synchronisation made into the store: what was listed is there after the next kill -9.
func (m *Mailbox) save(old, t *Table, version remote.Version, moved bool, c table.Change) {
	a := m.account
	if a.index == nil || t == old && !moved && a.index.holds(m.name) {
		return
	}
	var dirty, gone []remote.UID
	for _, e := range c.Vanished {
		gone = append(gone, e.UID)
	}
	dirty = append(append(dirty, c.Added...), gone...)
	for _, e := range c.Flagged {
		dirty = append(dirty, e.UID)
	}
	all := old == nil || old.UIDValidity() != t.UIDValidity()
	m.saving.Lock()
	defer m.saving.Unlock()
	a.index.save(m.name, t, version, dirty, gone, all)
	if all {
		a.run(func(context.Context) { a.disk.forget(a.store, m.name, t.UIDValidity()) })
	}
}

// saveSize brings the size of a message into the store.
func (m *Mailbox) saveSize(t *Table, uid remote.UID) {
	a := m.account
	if a.index == nil {
		return
	}
	a.run(func(context.Context) {
		m.saving.Lock()
		defer m.saving.Unlock()
		if now, _ := m.table.known(); now == t { // else the next table has it
			a.index.saveRows(m.name, t, []remote.UID{uid})
		}
	})
}

// headerBatch is how many header fields are written to the store together.
const headerBatch = 2000

// headerKeeper writes the header fields of a listing to the store while the listing goes on.
type headerKeeper struct {
	batch map[remote.UID][]byte
	write func(validity uint32, batch map[remote.UID][]byte)
	done  chan struct{} // closed when the batch before this one is written
}

// keepHeaders returns nil, which keeps nothing, where there is no store.
func (m *Mailbox) keepHeaders() *headerKeeper {
	a := m.account
	if a.index == nil {
		return nil
	}
	done := make(chan struct{})
	close(done)
	k := &headerKeeper{batch: map[remote.UID][]byte{}, done: done}
	k.write = func(validity uint32, batch map[remote.UID][]byte) {
		<-k.done
		done := make(chan struct{})
		k.done = done
		if !a.run(func(context.Context) {
			defer close(done)
			a.index.saveHeaders(m.name, validity, batch)
		}) {
			close(done)
		}
	}
	return k
}

// add takes the header fields of messages, which it copies.
func (k *headerKeeper) add(validity uint32, messages []remote.Message) {
	if k == nil {
		return
	}
	for i := range messages {
		k.batch[messages[i].UID] = message.ListedFields(messages[i].Header)
	}
	if len(k.batch) >= headerBatch {
		k.flush(validity)
	}
}

// flush begins to write what has been taken.
func (k *headerKeeper) flush(validity uint32) {
	if k == nil || len(k.batch) == 0 {
		return
	}
	k.write(validity, k.batch)
	k.batch = map[remote.UID][]byte{}
}

// saveLost brings into the store what a damaged index has lost. Nothing else runs any more.
func (a *Account) saveLost() {
	if list, ok := a.mailboxes.known(); ok {
		a.index.saveMailboxes(list)
	}
	for _, m := range a.byName {
		if t, ok := m.table.known(); ok && !a.index.holds(m.name) {
			a.index.save(m.name, t, m.version, nil, nil, true)
		}
	}
}
