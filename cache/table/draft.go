package table

import (
	"slices"
	"strings"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// Draft is the next table of a mailbox in the making.
type Draft struct {
	base  *Table // never nil
	arena []byte
	added []row
	index map[remote.UID]int // of added
	flags map[remote.UID]uint16
	gone  *remote.UIDSet
	sets  flagSets

	replaced   *remote.UIDSet // messages of base that were incomplete and have been listed again
	incomplete *remote.UIDSet // messages of added that are to be listed again
}

// Change is what a draft makes of the table that it is based on.
type Change struct {
	Table    *Table       // the new one
	Added    []remote.UID // are in the new table and were not in the old one
	Vanished []Entry      // were in the old table and are not in the new one
	Flagged  []Entry      // whose flags changed
}

// NewDraft begins the table that follows base; a nil base is an empty table of the given UIDVALIDITY, 0 if that is not known
// yet.
func NewDraft(base *Table, validity uint32) *Draft {
	if base == nil {
		base = &Table{validity: validity}
	}
	d := &Draft{base: base, arena: base.arena, sets: flagSets{sets: base.flagSets}, gone: &remote.UIDSet{},
		replaced: &remote.UIDSet{}, incomplete: &remote.UIDSet{}}
	d.index, d.flags = map[remote.UID]int{}, map[remote.UID]uint16{}
	d.sets.index = make(map[string]uint16, len(d.sets.sets)) // a map of its own: readers of base use only the slice
	for i, set := range d.sets.sets {
		d.sets.index[strings.Join(set, " ")] = uint16(i)
	}
	return d
}

// UIDValidity of all messages of the draft; 0 if it is not known yet.
func (d *Draft) UIDValidity() uint32 { return d.base.validity }

// SetUIDValidity says what the UIDVALIDITY is to a draft that does not know it yet, and does nothing to any other.
func (d *Draft) SetUIDValidity(validity uint32) {
	if d.base.validity == 0 {
		d.base.validity = validity
	}
}

// Known returns the UIDs that the draft holds.
func (d *Draft) Known() *remote.UIDSet {
	s := d.base.UIDs().Minus(d.gone)
	for _, r := range d.added {
		s.Add(r.uid)
	}
	return s
}

// Adds tells whether the draft holds messages that the table before does not.
func (d *Draft) Adds() bool { return len(d.added) > 0 }

// Add adds a message. One that is there already keeps its name, size and date, which never change while UIDVALIDITY
// holds, and takes the flags; one that was incomplete and is not any more takes the place of what there is. named returns the name of a message's file, and its mtime.
func (d *Draft) Add(m *remote.Message, named func(*remote.Message) (string, time.Time)) {
	flags := d.sets.number(m.Flags)
	i, added := d.index[m.UID]
	if added && (m.Incomplete || !d.incomplete.Contains(m.UID)) {
		d.added[i].flags = flags
		return
	}
	if !added && d.base.Index(m.UID) >= 0 && !d.gone.Contains(m.UID) {
		if m.Incomplete || !d.base.Incomplete().Contains(m.UID) {
			d.flags[m.UID] = flags
			return
		}
		d.replaced.Add(m.UID)
	}
	name, date := named(m)
	if added {
		d.added[i] = row{m.UID, m.Size << 1, date.Unix(), flags, uint32(len(d.arena)), uint8(len(name))}
		d.arena = append(d.arena, name...)
		d.incomplete = d.incomplete.Minus(remote.NewUIDSet(m.UID))
		return
	}
	if m.Incomplete {
		d.incomplete.Add(m.UID)
	}
	d.index[m.UID] = len(d.added)
	d.added = append(d.added, row{m.UID, m.Size << 1, date.Unix(), flags, uint32(len(d.arena)), uint8(len(name))})
	d.arena = append(d.arena, name...)
}

// Flag sets the flags of a message that the draft holds.
func (d *Draft) Flag(f remote.FlagChange) {
	n := d.sets.number(f.Flags)
	if i, ok := d.index[f.UID]; ok {
		d.added[i].flags = n
	} else if d.base.Index(f.UID) >= 0 {
		d.flags[f.UID] = n
	}
}

// Absent returns the UIDs of the table before that are not in a set.
func (d *Draft) Absent(present *remote.UIDSet) *remote.UIDSet { return d.base.UIDs().Minus(present) }

// Keep drops every message that is not in a set.
func (d *Draft) Keep(present *remote.UIDSet) {
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
	d.gone = d.Absent(present)
}

// Finish returns the table, and what it changes. It is the table before itself when nothing changed; else now becomes its
// Changed, unless only flags changed, which are not part of the directory's contents.
func (d *Draft) Finish(now time.Time) (*Table, Change) {
	b := d.base
	var change Change
	for uid, f := range d.flags {
		if i := b.Index(uid); i >= 0 && b.flags[i] != f && !d.gone.Contains(uid) {
			change.Flagged = append(change.Flagged, b.At(i))
		}
	}
	for _, r := range d.replaced.Ranges() {
		d.gone.AddRange(r.First, r.Last)
	}
	gone := d.gone.Len()
	if len(d.added) == 0 && gone == 0 && len(change.Flagged) == 0 && !b.changed.IsZero() {
		return b, Change{Table: b}
	}
	slices.SortFunc(d.added, func(x, y row) int {
		if x.uid < y.uid {
			return -1
		}
		return 1
	})
	t := &Table{validity: b.validity, arena: d.arena, dead: b.dead, flagSets: d.sets.sets, changed: now}
	t.grow(len(b.uids) - gone + len(d.added))
	if len(d.added) == 0 && gone == 0 && !b.changed.IsZero() {
		t.changed = b.changed
	}
	added := d.added
	for i, uid := range b.uids {
		for len(added) > 0 && added[0].uid < uid {
			t.append(added[0])
			added = added[1:]
		}
		if gone > 0 && d.gone.Contains(uid) {
			change.Vanished = append(change.Vanished, b.At(i))
			t.dead += int(b.lengths[i])
			continue
		}
		r := b.row(i)
		if f, ok := d.flags[uid]; ok {
			r.flags = f
		}
		t.append(r)
	}
	for _, r := range added {
		t.append(r)
	}
	if t.dead > len(t.arena)/2 || cap(t.arena) > len(t.arena)+len(t.arena)/4 {
		t.compact()
	}
	for _, r := range d.added {
		change.Added = append(change.Added, r.uid)
	}
	t.incomplete = b.Incomplete().Minus(d.gone)
	for _, r := range d.incomplete.Ranges() {
		for uid := r.First; uid <= r.Last; uid++ {
			if _, ok := d.index[uid]; ok {
				t.incomplete.Add(uid)
			}
		}
	}
	t.firstHolder = b.firstHolder
	for uid, holder := range b.holders {
		if !d.gone.Contains(uid) {
			t.SetHolder(uid, holder)
		}
	}
	change.Table = t
	return t, change
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
