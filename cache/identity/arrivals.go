package identity

import (
	"context"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// Arrivals are messages of a synchronisation that were not listed before.
type Arrivals struct {
	Kept *Kept
	Old  *table.Table // the listing so far; nil where there is none
	Anew bool         // the messages of Old are compared as well
	Same remote.UIDSet
}

// Note compares a message with what is kept under its UID. Where that belongs to another message, the body on disk is removed.
func (a *Arrivals) Note(ctx context.Context, validity uint32, msg *remote.Message) {
	k := a.Kept
	ref := table.Ref{UIDValidity: validity, UID: msg.UID}
	listed := a.Old != nil && a.Old.UIDValidity() == validity && a.Old.Index(msg.UID) >= 0
	if listed && !a.Anew && !a.Old.Incomplete().Contains(msg.UID) {
		return
	}
	if listed && a.Anew && !msg.Incomplete && k.sameListed(a.Old, ref, msg) {
		a.Same.Add(msg.UID)
		return
	}
	if k.Store == nil || listed && msg.Incomplete {
		return
	}
	key := k.Store.Key(k.Hash, ref)
	k.Disk.Await(ctx, key)
	if !k.Disk.Has(key) {
		return
	}
	body, ok := k.Disk.Read(key)
	if ok && (msg.Incomplete && k.Pinned || !msg.Incomplete && k.sameBody(body, msg)) {
		a.Same.Add(msg.UID)
		return
	}
	k.Log.Warn("the server gives the identifier of a message to another one: what is kept of the first is forgotten", "uid", msg.UID)
	k.Disk.Remove(key)
}

// Settle forgets what is kept of messages that are not in the listing any more, and tells apart those that follow under the
// same identifiers, before the table is put in place. forgetMemory drops what is in memory, and on its way there, of messages
// for which void returns true.
func (a *Arrivals) Settle(t *table.Table, c *table.Change, forgetMemory func(void func(table.Ref) bool)) {
	k, old := a.Kept, a.Old
	if old == nil {
		k.ForgetViews(t.UIDValidity(), remote.NewUIDSet(c.Added...).Minus(&a.Same))
		return
	}
	if old.UIDValidity() != t.UIDValidity() {
		c.Vanished, c.Flagged = entriesOf(old, func(remote.UID) bool { return true }), nil
		t.SetHolders(k.Holders.PassAll())
		forgetMemory(func(table.Ref) bool { return true })
		k.ForgetViews(old.UIDValidity(), old.UIDs())
		k.ForgetViews(t.UIDValidity(), remote.NewUIDSet(c.Added...).Minus(&a.Same))
		return
	}
	if a.Anew {
		c.Vanished = entriesOf(old, func(uid remote.UID) bool { return !a.Same.Contains(uid) })
		for uid := range each(&a.Same) {
			if e, ok := old.Find(uid); ok {
				t.SetHolder(uid, e.Holder)
			}
		}
	}
	gone, passed := &remote.UIDSet{}, &remote.UIDSet{}
	for _, e := range c.Vanished {
		if t.Index(e.UID) < 0 {
			gone.Add(e.UID)
		} else if a.Anew { // else it was listed again, under another name
			passed.Add(e.UID)
		}
	}
	var fresh []remote.UID
	for _, uid := range c.Added {
		if old.Index(uid) < 0 {
			fresh = append(fresh, uid)
		}
	}
	for uid := range each(k.Holders.Back(fresh)) {
		passed.Add(uid)
	}
	k.Holders.Leave(gone)
	k.ForgetViews(t.UIDValidity(), gone)
	if passed.Len() > 0 {
		validity := t.UIDValidity()
		k.Holders.Pass(passed)
		forgetMemory(func(ref table.Ref) bool { return ref.UIDValidity == validity && passed.Contains(ref.UID) })
		k.ForgetViews(validity, passed)
	}
	for uid := range each(passed) {
		t.SetHolder(uid, k.Holders.Of(uid))
	}
}

// entriesOf returns the messages of a table for whose UIDs which returns true.
func entriesOf(t *table.Table, which func(remote.UID) bool) (all []table.Entry) {
	for i := range t.Len() {
		if which(t.UID(i)) {
			all = append(all, t.At(i))
		}
	}
	return all
}
