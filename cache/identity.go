package cache

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// A server may give an identifier to another message once the first is gone: a POP3 unique-id (RFC 1939, section 7), a UID of
// a mailbox that was restored, a UIDVALIDITY that was in use before. What is kept under the identifier then belongs to a
// message that is not there any more. So the views of a message that leaves the listing leave the disk, and its body is compared
// with the message that is listed under the same identifier next. What is in memory serves those that have the first message
// open until then, and is dropped. [Ref.Holder] says which of the messages a reader means.

// holders numbers the messages that had the same UID of a mailbox, one after the other, since the process began.
type holders struct {
	mu     sync.Mutex            // guards what follows; taken last
	serial uint32                // the highest number given
	all    uint32                // number of every UID that is not in next, or has a lower one there
	next   map[remote.UID]uint32 // Ref.Holder of the message that has the UID now
	left   map[remote.UID]bool   // UIDs whose message has left the listing
	many   bool                  // there were too many of them: each UID that is listed anew counts as one of them
}

// maxHolders is how many UIDs are numbered one by one, and how many are remembered to have left.
const maxHolders = 1 << 16

// of returns Ref.Holder of a message that is listed now and was not before.
func (h *holders) of(uid remote.UID) uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(h.all, h.next[uid])
}

// leave notes that messages have left the listing.
func (h *holders) leave(uids *remote.UIDSet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.many = h.many || len(h.left)+uids.Len() > maxHolders; h.many {
		h.left = nil
		return
	}
	if h.left == nil {
		h.left = map[remote.UID]bool{}
	}
	for uid := range each(uids) {
		h.left[uid] = true
	}
}

// back returns those of some UIDs, which are listed anew, that another message had before.
func (h *holders) back(uids []remote.UID) *remote.UIDSet {
	h.mu.Lock()
	defer h.mu.Unlock()
	set := &remote.UIDSet{}
	for _, uid := range uids {
		if h.many || h.left[uid] {
			set.Add(uid)
		}
		delete(h.left, uid)
	}
	return set
}

// pass notes that other messages have UIDs now.
func (h *holders) pass(uids *remote.UIDSet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serial++
	if len(h.next)+uids.Len() > maxHolders {
		h.next, h.all = nil, h.serial
		return
	}
	if h.next == nil {
		h.next = map[remote.UID]uint32{}
	}
	for uid := range each(uids) {
		h.next[uid] = h.serial
	}
}

// passAll notes that other messages have all UIDs now, and returns their Ref.Holder.
func (h *holders) passAll() uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serial++
	h.next, h.left, h.all = nil, nil, h.serial
	return h.all
}

// each returns the UIDs of a set.
func each(set *remote.UIDSet) iter.Seq[remote.UID] {
	return func(yield func(remote.UID) bool) {
		for _, r := range set.Ranges() {
			for uid := r.First; uid <= r.Last; uid++ {
				if !yield(uid) {
					return
				}
			}
		}
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

// forget drops what is kept under identifiers that other messages have now: what is in memory, what is on its way there, and
// views. Bodies on disk stay, see [arrivals.note].
func (m *Mailbox) forget(validity uint32, uids *remote.UIDSet) {
	if uids.Len() == 0 {
		return
	}
	m.holders.pass(uids)
	m.forgetMemory(func(ref Ref) bool { return ref.UIDValidity == validity && uids.Contains(ref.UID) })
	m.forgetViews(validity, uids)
}

// forgetMemory drops what is in memory of messages, of which [holders] knows that they are gone.
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

// forgetViews removes the views of messages from the store.
func (m *Mailbox) forgetViews(validity uint32, uids *remote.UIDSet) {
	store := m.account.store
	if store == nil || uids.Len() == 0 {
		return
	}
	names := store.ForgetViews(m.name, validity, uids)
	names[string(textView)], names[string(headersView)] = true, true
	for _, number := range "123456789" { // in case that the index is a new one, and knows nothing of these files
		names[string(partView)+string(number)], names[string(bodyView)+string(number)] = true, true
	}
	for name := range names {
		m.account.disk.ForgetSome(store, m.viewHash(view(name)), validity, uids)
	}
}

// arrivals are messages of a synchronisation that were not listed before.
type arrivals struct {
	m    *Mailbox
	old  *Table // the listing so far; nil where there is none
	anew bool   // the messages of old are compared as well
	same remote.UIDSet
}

// note compares a message with what is kept under its UID. Where that belongs to another message, the body on disk is removed.
func (a *arrivals) note(ctx context.Context, validity uint32, msg *remote.Message) {
	m := a.m
	ref := Ref{UIDValidity: validity, UID: msg.UID}
	listed := a.old != nil && a.old.UIDValidity() == validity && a.old.Index(msg.UID) >= 0
	if listed && !a.anew && !a.old.Incomplete().Contains(msg.UID) {
		return
	}
	if listed && a.anew && !msg.Incomplete && m.sameListed(a.old, ref, msg) {
		a.same.Add(msg.UID)
		return
	}
	if m.account.store == nil || listed && msg.Incomplete {
		return
	}
	key := m.account.diskKey(m, ref)
	m.account.disk.Await(ctx, key)
	if !m.account.disk.Has(key) {
		return
	}
	body, ok := m.account.disk.Read(key)
	if ok && (msg.Incomplete && m.account.keep || !msg.Incomplete && m.sameBody(body, msg)) {
		a.same.Add(msg.UID)
		return
	}
	m.log.Warn("the server gives the identifier of a message to another one: what is kept of the first is forgotten", "uid", msg.UID)
	m.account.disk.Remove(key)
}

// sameBody tells whether a body is that of a message that is listed: the header fields of the listing and the size agree. A
// size proves nothing where the server announces wrong ones. A message without a Message-ID is in doubt, and is another one
// where it can be fetched again.
func (m *Mailbox) sameBody(body []byte, msg *remote.Message) bool {
	same, sure := message.SameFields(message.RawHeader(body), msg.Header)
	return same && (sure || m.account.keep) && (int64(len(body)) == msg.Size || m.account.sizes.Wrong.Load() > 0)
}

// sameListed tells whether a message is the one that an older table has under its UID. Without its header fields, which are in
// the store or in memory with the body, that is not known.
func (m *Mailbox) sameListed(old *Table, ref Ref, msg *remote.Message) bool {
	e, _ := old.Find(ref.UID)
	name, date := message.Name(msg, m.role)
	if e.Name != name || e.Time.Unix() != date.Unix() || e.Size != msg.Size && m.account.sizes.Wrong.Load() == 0 {
		return false
	}
	if body, ok := m.account.bodies.Get(bodyKey{mailbox: m, ref: ref}); ok {
		return m.sameBody(body, msg)
	}
	if m.account.store == nil {
		return false
	}
	header := m.account.store.Header(m.name, ref)
	_, sure := message.SameFields(header, msg.Header)
	return sure
}

// settle forgets what is kept of messages that are not in the listing any more, and tells apart those that follow under the
// same identifiers, before the table is put in place.
func (a *arrivals) settle(t *Table, c *table.Change) {
	m, old := a.m, a.old
	if old == nil {
		m.forgetViews(t.UIDValidity(), setOf(c.Added).Minus(&a.same))
		return
	}
	if old.UIDValidity() != t.UIDValidity() {
		c.Vanished, c.Flagged = entriesOf(old, func(remote.UID) bool { return true }), nil
		t.SetHolders(m.holders.passAll())
		m.forgetMemory(func(Ref) bool { return true })
		m.forgetViews(old.UIDValidity(), old.UIDs())
		m.forgetViews(t.UIDValidity(), setOf(c.Added).Minus(&a.same))
		return
	}
	if a.anew {
		c.Vanished = entriesOf(old, func(uid remote.UID) bool { return !a.same.Contains(uid) })
		for uid := range each(&a.same) {
			if e, ok := old.Find(uid); ok {
				t.SetHolder(uid, e.Holder)
			}
		}
	}
	gone, passed := &remote.UIDSet{}, &remote.UIDSet{}
	for _, e := range c.Vanished {
		if t.Index(e.UID) < 0 {
			gone.Add(e.UID)
		} else if a.anew { // else it was listed again, under another name
			passed.Add(e.UID)
		}
	}
	var fresh []remote.UID
	for _, uid := range c.Added {
		if old.Index(uid) < 0 {
			fresh = append(fresh, uid)
		}
	}
	for uid := range each(m.holders.back(fresh)) {
		passed.Add(uid)
	}
	m.holders.leave(gone)
	m.forgetViews(t.UIDValidity(), gone)
	m.forget(t.UIDValidity(), passed)
	for uid := range each(passed) {
		t.SetHolder(uid, m.holders.of(uid))
	}
}

func setOf(uids []remote.UID) *remote.UIDSet {
	set := &remote.UIDSet{}
	for _, uid := range uids {
		set.Add(uid)
	}
	return set
}

// entriesOf returns the messages of a table for whose UIDs which returns true.
func entriesOf(t *Table, which func(remote.UID) bool) (all []Entry) {
	for i := range t.Len() {
		if which(t.UID(i)) {
			all = append(all, t.At(i))
		}
	}
	return all
}

// writeBody has the body that a fetch brought written to disk, unless the UID was given to another message meanwhile.
func (m *Mailbox) writeBody(ctx context.Context, ref Ref, holder uint32, body []byte) {
	key := m.account.diskKey(m, ref)
	m.account.disk.Put(ctx, key, body)
	if m.holders.of(ref.UID) != holder {
		m.account.disk.Await(ctx, key)
		m.account.disk.Remove(key)
	}
}
