package cache

import (
	"fmt"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/cache/identity"
	"github.com/mailfs/mailfs/remote"
)

// identifiedBy returns what decides which message an identifier of the mailbox means.
func (m *Mailbox) identifiedBy() identity.Kept {
	a := m.account
	views := []string{string(textView), string(headersView)}
	for _, number := range "123456789" {
		views = append(views, string(partView)+string(number), string(bodyView)+string(number))
	}
	return identity.Kept{
		Name: m.name, Hash: m.hash, Role: m.role, Log: m.log, Disk: a.disk, Store: a.store, Pinned: a.keep,
		Wrong:    func() bool { return a.sizes.Wrong.Load() > 0 },
		InMemory: func(ref Ref) ([]byte, bool) { return a.bodies.Get(bodyKey{mailbox: m, ref: ref}) },
		Views:    views,
		ViewHash: func(name string) disk.Hash { return m.viewHash(view(name)) },
	}
}

// own returns the Ref under which the cache has a message. remote.ErrStale: the server has given the UID to another message
// since.
func (m *Mailbox) own(ref Ref) (Ref, error) {
	if t, _ := m.table.Known(); t != nil && t.UIDValidity() == ref.UIDValidity {
		if e, ok := t.Find(ref.UID); ok && e.Holder != ref.Holder {
			return ref, fmt.Errorf("%w: UID %d in %s belongs to another message now", remote.ErrStale, ref.UID, m.name)
		}
	}
	ref.Holder = 0
	return ref, nil
}

// owned returns what was found of a message unless the server has given its UID to another message meanwhile.
func owned[T any](m *Mailbox, ref Ref, found T, err error) (T, error) {
	if err == nil {
		_, err = m.own(ref)
	}
	if err != nil {
		var none T
		return none, err
	}
	return found, nil
}

// left tells whether a message is not in the listing any more.
func (m *Mailbox) left(ref Ref) bool {
	t, _ := m.table.Known()
	return t != nil && (t.UIDValidity() != ref.UIDValidity || t.Index(ref.UID) < 0)
}

// forgetMemory drops what is in memory of messages, of which identity.Holders knows that they are gone.
func (m *Mailbox) forgetMemory(void func(Ref) bool) {
	m.larges.mu.Lock()
	var given []*disk.PartialFile
	kept := m.larges.reads[:0:0]
	for _, r := range m.larges.reads {
		if !void(r.ref) {
			kept = append(kept, r)
			continue
		}
		given = append(given, r.file)
		r.file = nil
	}
	m.larges.reads = kept
	m.larges.mu.Unlock()
	for _, file := range given {
		m.giveUp(file)
	}
	m.inflight.mu.Lock() // from here on, fetches that end see that they have brought what is void
	for key := range m.inflight.fetches {
		if void(key.ref) {
			delete(m.inflight.fetches, key) // readers that come now begin another one
		}
	}
	m.inflight.mu.Unlock()
	m.account.bodies.Forget(func(k bodyKey) bool { return k.mailbox == m && void(k.ref) })
	if t, _ := m.table.Known(); t != nil {
		m.sizes.Forget(func(uid remote.UID) bool { return void(Ref{UIDValidity: t.UIDValidity(), UID: uid}) })
	}
}
