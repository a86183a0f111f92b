package cache

import (
	"slices"
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
	UID         remote.UID
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
	sizes    []int64 // bytes<<1 | verified; atomic
	times    []int64 // Unix seconds
	flags    []uint16
	names    []uint32 // start in arena
	lengths  []uint8
	arena    []byte // shared with the tables before and after this one, which see more or less of its end
	dead     int    // bytes in arena that belong to no name of this table
	flagSets [][]string
	changed  time.Time

	ordering sync.Once // of byName
	sorted   *nameOrder
}

// flagSets numbers the combinations of flags in use, of which there are few. The first is the empty one.
type flagSets struct {
	sets  [][]string
	index map[string]uint16
}

// number returns the number of a combination, which is added when it is new. When 65,536 combinations are in use, what is
// beyond counts as no flags.
func (f *flagSets) number(flags []string) uint16 {
	if len(f.sets) == 0 {
		f.sets, f.index = [][]string{nil}, map[string]uint16{"": 0}
	}
	if len(flags) > 1 && !slices.IsSorted(flags) {
		flags = slices.Sorted(slices.Values(flags))
	}
	key := strings.Join(flags, " ")
	n, ok := f.index[key]
	if !ok && len(f.sets) < 1<<16 {
		n = uint16(len(f.sets))
		f.sets = append(f.sets, slices.Clone(flags))
		f.index[strings.Clone(key)] = n
	}
	return n
}

// UIDValidity of all messages of the table.
func (t *Table) UIDValidity() uint32 { return t.validity }

// Len is the number of messages.
func (t *Table) Len() int { return len(t.uids) }

// Changed is when this listing came to differ from the one before it: the mtime of the directory.
func (t *Table) Changed() time.Time { return t.changed }

// At returns the i-th message in order of UIDs.
func (t *Table) At(i int) Entry {
	size := t.size(i)
	return Entry{
		Ref:  Ref{t.validity, t.uids[i]},
		Name: string(t.name(i)), Size: size >> 1, Verified: size&1 == 1,
		Time: time.Unix(t.times[i], 0).UTC(),
	}
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

// uidSet returns the UIDs of the table.
func (t *Table) uidSet() *remote.UIDSet {
	s := &remote.UIDSet{}
	if t != nil {
		for _, u := range t.uids {
			s.Add(u)
		}
	}
	return s
}

// resize puts the size of a message right, and tells what the size was and whether that had been verified.
func (t *Table) resize(i int, size int64) (before int64, verified bool) {
	was := atomic.SwapInt64(&t.sizes[i], size<<1|1)
	return was >> 1, was&1 == 1
}

// draft is the next table of a mailbox in the making.
type draft struct {
	base  *Table // never nil
	arena []byte
	added []row
	index map[remote.UID]int // of added
	flags map[remote.UID]uint16
	gone  *remote.UIDSet
	sets  flagSets
}

type row struct {
	uid    remote.UID
	size   int64
	time   int64
	flags  uint16
	name   uint32
	length uint8
}

// newDraft begins the table that follows base; a nil base is an empty table of the given UIDVALIDITY.
func newDraft(base *Table, validity uint32) *draft {
	if base == nil {
		base = &Table{validity: validity}
	}
	d := &draft{base: base, arena: base.arena, sets: flagSets{sets: base.flagSets}, gone: &remote.UIDSet{}}
	d.index, d.flags = map[remote.UID]int{}, map[remote.UID]uint16{}
	d.sets.index = make(map[string]uint16, len(d.sets.sets)) // a map of its own: readers of base use only the slice
	for i, set := range d.sets.sets {
		d.sets.index[strings.Join(set, " ")] = uint16(i)
	}
	return d
}

// known returns the UIDs that the draft holds.
func (d *draft) known() *remote.UIDSet {
	s := d.base.uidSet().Minus(d.gone)
	for _, r := range d.added {
		s.Add(r.uid)
	}
	return s
}

// add adds a message. One that is there already keeps its name, size and date, which never change while UIDVALIDITY
// holds, and takes the flags.
func (d *draft) add(m *remote.Message, named func(*remote.Message) (string, time.Time)) {
	flags := d.sets.number(m.Flags)
	if i, ok := d.index[m.UID]; ok {
		d.added[i].flags = flags
		return
	}
	if d.base.Index(m.UID) >= 0 && !d.gone.Contains(m.UID) {
		d.flags[m.UID] = flags
		return
	}
	name, date := named(m)
	d.index[m.UID] = len(d.added)
	d.added = append(d.added, row{m.UID, m.Size << 1, date.Unix(), flags, uint32(len(d.arena)), uint8(len(name))})
	d.arena = append(d.arena, name...)
}

// flag sets the flags of a message that the draft holds.
func (d *draft) flag(f remote.FlagChange) {
	n := d.sets.number(f.Flags)
	if i, ok := d.index[f.UID]; ok {
		d.added[i].flags = n
	} else if d.base.Index(f.UID) >= 0 {
		d.flags[f.UID] = n
	}
}

// keep drops every message that is not present.
func (d *draft) keep(present *remote.UIDSet) {
	kept := d.added[:0]
	for _, r := range d.added {
		if present.Contains(r.uid) {
			kept = append(kept, r)
		}
	}
	if len(kept) < len(d.added) {
		d.added = kept
		clear(d.index)
		for i, r := range kept {
			d.index[r.uid] = i
		}
	}
	d.gone = d.base.uidSet().Minus(present)
}

// finish returns the table, and what it changes. It is base itself when nothing changed.
func (d *draft) finish(now time.Time) (*Table, Change) {
	b := d.base
	var change Change
	for uid, f := range d.flags {
		if i := b.Index(uid); i >= 0 && b.flags[i] != f && !d.gone.Contains(uid) {
			change.Flagged = append(change.Flagged, b.At(i))
		}
	}
	gone := d.gone.Len()
	if len(d.added) == 0 && gone == 0 && len(change.Flagged) == 0 && !b.changed.IsZero() {
		return b, change
	}
	slices.SortFunc(d.added, func(x, y row) int {
		if x.uid < y.uid {
			return -1
		}
		return 1
	})
	n := len(b.uids) - gone + len(d.added)
	t := &Table{
		validity: b.validity, arena: d.arena, dead: b.dead, flagSets: d.sets.sets, changed: now,
		uids: make([]remote.UID, 0, n), sizes: make([]int64, 0, n), times: make([]int64, 0, n),
		flags: make([]uint16, 0, n), names: make([]uint32, 0, n), lengths: make([]uint8, 0, n),
	}
	if len(d.added) == 0 && gone == 0 && !b.changed.IsZero() {
		t.changed = b.changed // flags are not part of the directory's contents
	}
	added := d.added
	take := func(r row) {
		t.uids, t.sizes, t.times = append(t.uids, r.uid), append(t.sizes, r.size), append(t.times, r.time)
		t.flags, t.names, t.lengths = append(t.flags, r.flags), append(t.names, r.name), append(t.lengths, r.length)
	}
	for i, uid := range b.uids {
		for len(added) > 0 && added[0].uid < uid {
			take(added[0])
			added = added[1:]
		}
		if gone > 0 && d.gone.Contains(uid) {
			change.Vanished = append(change.Vanished, b.At(i))
			t.dead += int(b.lengths[i])
			continue
		}
		r := row{uid, b.size(i), b.times[i], b.flags[i], b.names[i], b.lengths[i]}
		if f, ok := d.flags[uid]; ok {
			r.flags = f
		}
		take(r)
	}
	for _, r := range added {
		take(r)
	}
	if t.dead > len(t.arena)/2 || cap(t.arena) > len(t.arena)+len(t.arena)/4 {
		t.compact()
	}
	for _, r := range d.added {
		change.added = append(change.added, r.uid)
	}
	change.Table = t
	return t, change
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

// size is the raw value of sizes for a message.
func (t *Table) size(i int) int64 { return atomic.LoadInt64(&t.sizes[i]) }
