package table

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// On disk a table is a Head, and segments: runs of the table that are written together. The form is part of the format of
// stores, see docs/store.md.

// Head is what is kept of a table besides its messages.
type Head struct {
	Changed  time.Time
	FlagSets [][]string
	Rows     int // messages
	Names    int // bytes of all names together
}

// Head returns what is to be kept of the table besides its segments.
func (t *Table) Head() Head { return Head{t.changed, t.flagSets, t.Len(), len(t.arena) - t.dead} }

// SegmentOf returns the number of the segment that a UID is in: 4,096 consecutive UIDs of IMAP, or a 256th of the UIDs of
// POP3, which are hashes. The numbers grow with the UIDs.
func SegmentOf(uid remote.UID) uint64 {
	if uid < 1<<32 {
		return uint64(uid >> 12)
	}
	return 1<<63 | uint64(uid>>40)
}

// first returns the lowest UID that can be in a segment.
func first(segment uint64) remote.UID {
	if segment < 1<<63 {
		return remote.UID(segment << 12)
	}
	return max(1<<32, remote.UID(segment&^(1<<63))<<40)
}

// Segments returns the numbers of the segments that hold messages, in ascending order.
func (t *Table) Segments() (numbers []uint64) {
	for _, uid := range t.uids {
		if n := SegmentOf(uid); len(numbers) == 0 || numbers[len(numbers)-1] != n {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// Segment returns the messages of a segment column by column, each number as a varint; nil if it has none.
//
//	count | UIDs, each less the one before | sizes, as in Table.sizes | times | numbers of flag sets | lengths of names, a byte
//	each | names
func (t *Table) Segment(number uint64) []byte {
	from := t.Search(first(number))
	to := from
	for to < len(t.uids) && SegmentOf(t.uids[to]) == number {
		to++
	}
	if from == to {
		return nil
	}
	v := binary.AppendUvarint(nil, uint64(to-from))
	last := remote.UID(0)
	for _, uid := range t.uids[from:to] {
		v = binary.AppendUvarint(v, uint64(uid-last))
		last = uid
	}
	for i := from; i < to; i++ {
		v = binary.AppendUvarint(v, uint64(t.packed(i)))
	}
	for _, seconds := range t.times[from:to] {
		v = binary.AppendVarint(v, seconds)
	}
	for _, flags := range t.flags[from:to] {
		v = binary.AppendUvarint(v, uint64(flags))
	}
	v = append(v, t.lengths[from:to]...)
	for i := from; i < to; i++ {
		v = append(v, t.name(i)...)
	}
	return v
}

// Loader makes a table of what was kept of it.
type Loader struct{ t *Table }

// NewLoader begins a table without messages.
func NewLoader(validity uint32, h Head) *Loader {
	t := &Table{validity: validity, changed: h.Changed, flagSets: h.FlagSets}
	if t.flagSets == nil {
		t.flagSets = [][]string{nil}
	}
	t.grow(h.Rows)
	t.arena = make([]byte, 0, h.Names+h.Names/16) // and for the next few messages
	return &Loader{t}
}

// Table returns the table. Add must not be called after it.
func (l *Loader) Table() *Table { return l.t }

// errSegment is what Add returns for bytes that are no segment.
var errSegment = errors.New("rows that make no sense")

// Add adds the messages of a segment. Segments are added in ascending order. After an error the table is of no use.
func (l *Loader) Add(segment []byte) error {
	t, v, bad := l.t, segment, false
	number := func() uint64 {
		n, size := binary.Uvarint(v)
		if size <= 0 {
			bad, size = true, 0
		}
		v = v[size:]
		return n
	}
	n := int(number())
	if n < 0 || n > len(v) {
		return errSegment
	}
	last := remote.UID(0)
	for range n {
		last += remote.UID(number())
		t.uids = append(t.uids, last)
	}
	for range n {
		t.sizes = append(t.sizes, int64(number()))
	}
	for range n {
		seconds, size := binary.Varint(v)
		if size <= 0 {
			return errSegment
		}
		v = v[size:]
		t.times = append(t.times, seconds)
	}
	for range n {
		f := number()
		if f >= uint64(len(t.flagSets)) {
			return errSegment
		}
		t.flags = append(t.flags, uint16(f))
	}
	if bad || len(v) < n {
		return errSegment
	}
	lengths, names := v[:n], v[n:]
	t.lengths = append(t.lengths, lengths...)
	start := uint32(len(t.arena))
	for _, l := range lengths {
		t.names = append(t.names, start)
		start += uint32(l)
	}
	if int(start)-len(t.arena) != len(names) {
		return errSegment
	}
	t.arena = append(t.arena, names...)
	return nil
}
