// Package table is the listing of a mailbox as a value: a Table never changes, and a Draft makes the next one of it. It knows
// no server, no disk and no lock; Table.Segment and Loader are the form in which a store keeps a table.
package table

import (
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/remote"
)

// Ref names a message for good.
type Ref struct {
	UIDValidity uint32
	// Holder tells apart the messages that a server gives the same UID, one after the other, as far as this process has seen
	// them. It is 0 for the first.
	Holder uint32
	UID    remote.UID
}

// Entry is one message of a table.
type Entry struct {
	Ref
	Name     string    // of the file
	Size     int64     // bytes that readers get, as far as is known
	Verified bool      // Size was seen on the message itself
	Time     time.Time // mtime, whole seconds, UTC
}

// Table is a listing of a mailbox at one time, in order of UIDs. Its messages never change, so it is read without a lock;
// only a size that the server announced wrongly is put right in place.
//
// It is kept as columns and one arena of names: some 30 bytes and a name a message, and nothing for the garbage collector
// to follow.
type Table struct {
	validity uint32
	uids     []remote.UID
	sizes    []int64 // bytes<<1 | verified, so that both are read at once; see load
	times    []int64 // Unix seconds
	flags    []uint16
	names    []uint32 // start in arena
	lengths  []uint8  // of names, in bytes
	arena    []byte   // shared with the tables before and after this one, which see more or less of its end
	dead     int      // bytes in arena that belong to no name of this table
	flagSets [][]string
	changed  time.Time

	// incomplete are the messages of which the server has not told all yet; nil if there are none.
	incomplete *remote.UIDSet

	firstHolder uint32                // Ref.Holder of all messages but those in holders
	holders     map[remote.UID]uint32 // nil where there are none

	ordering sync.Once // makes byName
	byName   *Order    // nil before ByName was called
}

// Empty returns a table of no messages.
func Empty(validity uint32) *Table { return &Table{validity: validity, flagSets: [][]string{nil}} }

// UIDValidity of all messages of the table.
func (t *Table) UIDValidity() uint32 { return t.validity }

// Len is the number of messages.
func (t *Table) Len() int { return len(t.uids) }

// Changed is when this listing came to differ from the one before it: the mtime of the directory.
func (t *Table) Changed() time.Time { return t.changed }

// At returns the i-th message in order of UIDs.
func (t *Table) At(i int) Entry {
	size, verified := t.load(i)
	return Entry{
		Ref:  Ref{t.validity, t.holder(t.uids[i]), t.uids[i]},
		Name: string(t.name(i)), Size: size, Verified: verified,
		Time: time.Unix(t.times[i], 0).UTC(),
	}
}

// holder returns Ref.Holder of a message.
func (t *Table) holder(uid remote.UID) uint32 {
	if h, ok := t.holders[uid]; ok {
		return h
	}
	return t.firstHolder
}

// SetHolders sets Ref.Holder of all messages, before anybody else sees the table.
func (t *Table) SetHolders(holder uint32) { t.firstHolder, t.holders = holder, nil }

// SetHolder sets Ref.Holder of a message, before anybody else sees the table.
func (t *Table) SetHolder(uid remote.UID, holder uint32) {
	if holder == t.holder(uid) {
		return
	}
	if t.holders == nil {
		t.holders = map[remote.UID]uint32{}
	}
	t.holders[uid] = holder
}

// UID of the i-th message.
func (t *Table) UID(i int) remote.UID { return t.uids[i] }

// Size is Entry.Size of the i-th message.
func (t *Table) Size(i int) int64 {
	size, _ := t.load(i)
	return size
}

// load returns the size of the i-th message, in bytes, and whether it was seen on the message itself.
func (t *Table) load(i int) (size int64, verified bool) {
	packed := t.packed(i)
	return packed >> 1, packed&1 == 1
}

// packed returns what sizes holds for the i-th message.
func (t *Table) packed(i int) int64 { return atomic.LoadInt64(&t.sizes[i]) }

// SetSize puts the size of the i-th message right, which was seen on the message itself. It returns the size that was known
// before, and whether that had been verified.
func (t *Table) SetSize(i int, size int64) (before int64, verified bool) {
	packed := atomic.SwapInt64(&t.sizes[i], size<<1|1)
	return packed >> 1, packed&1 == 1
}

func (t *Table) name(i int) []byte { return t.arena[t.names[i]:][:t.lengths[i]] }

// Flags of the i-th message, as the server spells them. The caller must not change them.
func (t *Table) Flags(i int) []string { return t.flagSets[t.flags[i]] }

// Search returns the index of the first message whose UID is not below uid; Len() if there is none.
func (t *Table) Search(uid remote.UID) int {
	return sort.Search(len(t.uids), func(i int) bool { return t.uids[i] >= uid })
}

// Index returns the index of a message, -1 if the table does not hold it.
func (t *Table) Index(uid remote.UID) int {
	if i := t.Search(uid); i < len(t.uids) && t.uids[i] == uid {
		return i
	}
	return -1
}

// Find returns a message by its UID.
func (t *Table) Find(uid remote.UID) (Entry, bool) {
	if i := t.Index(uid); i >= 0 {
		return t.At(i), true
	}
	return Entry{}, false
}

// Lookup returns a message by the name of its file. The key at the name's end leads to it.
func (t *Table) Lookup(name string) (Entry, bool) {
	base, ok := strings.CutSuffix(name, message.Suffix)
	if !ok {
		return Entry{}, false
	}
	for _, uid := range remote.UIDOfKey(base[strings.LastIndexByte(base, '_')+1:]) {
		if i := t.Index(uid); i >= 0 && string(t.name(i)) == name {
			return t.At(i), true
		}
	}
	return Entry{}, false
}

// UIDs returns the UIDs of the table; none for a nil table.
func (t *Table) UIDs() *remote.UIDSet {
	s := &remote.UIDSet{}
	if t != nil {
		for _, u := range t.uids {
			s.Add(u)
		}
	}
	return s
}

// Lacks tells whether there is a UID in a set that is not in the table.
func (t *Table) Lacks(set *remote.UIDSet) bool {
	for _, r := range set.Ranges() {
		if t.Search(r.Last+1)-t.Search(r.First) < int(r.Last-r.First)+1 {
			return true
		}
	}
	return false
}

// Incomplete returns the messages of which the server has not told all yet, which are to be listed again.
func (t *Table) Incomplete() *remote.UIDSet {
	if t == nil || t.incomplete == nil {
		return &remote.UIDSet{}
	}
	return t.incomplete
}

// Complete returns the table without the messages that are to be listed again: what a store may keep.
func (t *Table) Complete() *Table {
	if t.Incomplete().Len() == 0 {
		return t
	}
	return t.Only(func(i int) bool { return !t.incomplete.Contains(t.uids[i]) })
}

// Only returns the table of those messages of this one for which keep returns true. keep gets the index of a message.
func (t *Table) Only(keep func(i int) bool) *Table {
	s := &Table{validity: t.validity, arena: t.arena, flagSets: t.flagSets, changed: t.changed,
		firstHolder: t.firstHolder, holders: t.holders}
	for i := range t.uids {
		if keep(i) {
			s.append(t.row(i))
		}
	}
	return s
}

// row is what a table says of one message.
type row struct {
	uid    remote.UID
	size   int64 // as in Table.sizes
	time   int64
	flags  uint16
	name   uint32
	length uint8
}

func (t *Table) row(i int) row {
	return row{t.uids[i], t.packed(i), t.times[i], t.flags[i], t.names[i], t.lengths[i]}
}

func (t *Table) append(r row) {
	t.uids, t.sizes, t.times = append(t.uids, r.uid), append(t.sizes, r.size), append(t.times, r.time)
	t.flags, t.names, t.lengths = append(t.flags, r.flags), append(t.names, r.name), append(t.lengths, r.length)
}

// grow makes room in an empty table for so many messages.
func (t *Table) grow(messages int) {
	t.uids, t.sizes, t.times = make([]remote.UID, 0, messages), make([]int64, 0, messages), make([]int64, 0, messages)
	t.flags, t.names, t.lengths = make([]uint16, 0, messages), make([]uint32, 0, messages), make([]uint8, 0, messages)
}

// compact gives the table an arena of its own that holds its names and nothing else.
func (t *Table) compact() {
	size := 0
	for _, n := range t.lengths {
		size += int(n)
	}
	arena := make([]byte, 0, size+size/16) // room for the next few messages
	for i := range t.names {
		name := t.name(i)
		t.names[i] = uint32(len(arena))
		arena = append(arena, name...)
	}
	t.arena, t.dead = arena, 0
}
