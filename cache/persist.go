package cache

import (
	"context"
	"errors"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// StoreInfo is what the command needs to know of a store.
type StoreInfo = disk.Info

// Errors of opening and of removing a store.
var (
	ErrStoreNewer = disk.ErrNewer
	ErrStoreHeld  = disk.ErrHeld
)

// Stores returns the stores below a directory.
func Stores(dir string) ([]StoreInfo, error) { return disk.List(dir) }

// ClearStore removes a store. ErrStoreHeld: a process uses it, and it stays.
func ClearStore(dir string) error { return disk.Clear(dir) }

// attach opens the store of the account. Where another process has the store, or the disk is full, the account does without,
// which is logged. ErrStoreNewer: a newer version of mailfs wrote the store, which is left alone.
func (a *Account) attach(dir, label string) error {
	store, err := disk.Open(dir, disk.Options{Label: label, Pinned: a.keep}, a.log)
	if errors.Is(err, ErrStoreHeld) || disk.CannotWrite(err) {
		a.unkept = err
		a.log.Warn("nothing is kept on disk: "+err.Error(), "store", dir)
		return nil
	}
	if err != nil {
		return err
	}
	a.store = store
	if list := store.Mailboxes(); list != nil {
		a.mailboxes.Set(list)
	}
	a.tasks.Run(func(context.Context) { a.disk.Scan(store) })
	return nil
}

// Unkept returns why the account does without a store that it could have: another process has it, or the disk is full. It is
// nil otherwise.
func (a *Account) Unkept() error { return a.unkept }

// Stored tells whether the store knows the account: its mail can be listed, and read as far as it was read, without the
// server.
func (a *Account) Stored() bool {
	_, ok := a.mailboxes.Known()
	return ok
}

func (a *Account) diskKey(m *Mailbox, ref Ref) disk.Key {
	ref.Holder = 0
	return a.store.Key(m.hash, ref)
}

// keeping returns which messages stay in a mailbox: those present on the server and, with AccountOptions.Keep, those on disk.
func (a *Account) keeping(m *Mailbox, d *table.Draft, present *remote.UIDSet) *remote.UIDSet {
	if !a.keep || a.store == nil {
		return present
	}
	for _, r := range d.Absent(present).Ranges() {
		for uid := r.First; uid <= r.Last; uid++ {
			if a.disk.Has(a.diskKey(m, Ref{UIDValidity: d.UIDValidity(), UID: uid})) {
				present.Add(uid)
			}
		}
	}
	return present
}

// save writes a table that a synchronisation made to the store: what was listed is there after the next kill -9. old is the
// table before it, before the version before it.
func (m *Mailbox) save(old, t *Table, before remote.Version, c table.Change) {
	a, version := m.account, m.syncs.version
	if a.store == nil || t == old && before == version && a.store.Saved(m.name) {
		return
	}
	u := disk.Update{Table: t.Complete(), Version: version, All: old == nil || old.UIDValidity() != t.UIDValidity()}
	for _, e := range c.Vanished {
		if m.syncs.anew || t.Index(e.UID) < 0 { // else it was listed again, under another name
			u.Gone = append(u.Gone, e.UID)
		}
	}
	u.Dirty = append(append(u.Dirty, c.Added...), u.Gone...)
	for _, e := range c.Flagged {
		u.Dirty = append(u.Dirty, e.UID)
	}
	if old != nil && u.All { // before anybody takes the old one for gone: it may come back, and stand for other messages
		a.disk.Forget(a.store, m.hash, t.UIDValidity())
	}
	m.saving.Lock()
	defer m.saving.Unlock()
	a.store.Save(m.name, u)
	if old == nil {
		a.tasks.Run(func(context.Context) { a.disk.Forget(a.store, m.hash, t.UIDValidity()) })
	}
}

// saveSize writes the size of a message to the store, in a task.
func (m *Mailbox) saveSize(t *Table, uid remote.UID) {
	a := m.account
	if a.store == nil {
		return
	}
	a.tasks.Run(func(context.Context) {
		m.saving.Lock()
		defer m.saving.Unlock()
		if now, _ := m.table.Known(); now == t { // a newer table is saved with the size
			a.store.SaveRows(m.name, t.Complete(), []remote.UID{uid})
		}
	})
}

// saveLost writes to the store what a damaged index has lost. All tasks have ended.
func (a *Account) saveLost() {
	if list, ok := a.mailboxes.Known(); ok {
		a.store.SaveMailboxes(list)
	}
	for _, m := range a.mailboxesUsed() {
		if t, ok := m.table.Known(); ok && !a.store.Saved(m.name) {
			a.store.Save(m.name, disk.Update{Table: t.Complete(), Version: m.syncs.version, All: true})
		}
	}
}

// indexView has the store remember something of a view.
func (m *Mailbox) indexView(ref Ref, v view, value []byte) {
	if store := m.account.store; store != nil && !m.left(ref) {
		store.SaveViewSoon(m.name, disk.View{Ref: ref, Name: string(v)}, value, m.account.tasks.Run)
	}
}

// indexedView returns what the store remembers of a view; nil if it remembers nothing.
func (m *Mailbox) indexedView(ref Ref, v view) []byte {
	if m.account.store == nil {
		return nil
	}
	return m.account.store.View(m.name, disk.View{Ref: ref, Name: string(v)})
}
