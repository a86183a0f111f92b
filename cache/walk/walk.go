// Package walk is the policy of reading ahead: it notices readers that walk through a mailbox, message by message, and says
// which messages to fetch before they are asked for. It does no I/O and starts no goroutine.
//
// cp -r and grep -r read one message after the other, and without help each would cost a round trip. A reader that reads a
// second message next to the first is taken to walk the mailbox, and what comes next is fetched in batches. A walk that
// stops costs what was ahead of it and no more: each step is taken by a reader's own reading.
//
// On a long walk what comes is pushed to the kernel before it is asked for, so that reading it asks nobody. Only a probe is
// left to be asked for, one message of each step, so that the walk is seen to go on.
package walk

import (
	"slices"
	"sync"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

const (
	// BatchBytes and BatchMessages bound what is fetched with one command. Three such batches of 1 MB on their way fill
	// 100 Mbit/s over 100 ms, and larger ones gain nothing.
	BatchBytes    = 1 << 20
	BatchMessages = 128
	// SmallMessage is how large, in bytes, a message may be that the kernel asks for at once.
	SmallMessage = 64 << 10

	// aheadBytes is how far ahead of a reader is fetched at first, in bytes; farBytes and farMessages on a long walk. That much
	// is on its way over 100 Mbit/s and 100 ms when it is compressed well, and a server nearby isn't kept waiting.
	aheadBytes  = 4 << 20
	farBytes    = 16 << 20
	farMessages = 8 * BatchMessages
	// longWalk is how many messages read make a walk a long one.
	longWalk = 16
	// stepsFromStart is for how many steps a walk counts that begins with the first message of a consecutive mailbox.
	stepsFromStart = 4
	// maxSkip is how many messages a walk may leave out at a time.
	maxSkip = 16
	// maxWalks is how many walks through one mailbox are told apart.
	maxWalks = 8
)

// messagesAhead is how many messages ahead of it are fetched for a walk of so many steps.
func messagesAhead(steps int) int {
	switch {
	case steps < 2:
		return 0
	case steps < 3:
		return 4
	case steps < 4:
		return 16
	case steps < longWalk:
		return 64
	default:
		return farMessages
	}
}

// walk is one reader's way through a mailbox.
type walk struct {
	validity uint32     // UIDVALIDITY of the messages
	last     remote.UID // the message read last
	ahead    remote.UID // the message that Step returned last; 0 before it returned any
	byName   bool       // messages are read in order of names; else in order of UIDs
	steps    int        // messages read, but see stepsFromStart
	bytes    int64      // sizes of the messages behind the reader, also of those left out
}

// Walks are the walks through one mailbox. The zero value has none.
type Walks struct {
	mu    sync.Mutex // guards walks and what is in them
	walks []*walk    // the one that made the last step first
}

// order is an order in which a table is read: of UIDs, in which listings come, or of names, in which shells sort.
type order struct {
	table *table.Table
	names *table.Order // nil: of UIDs
}

func (o order) rank(i int) int {
	if o.names == nil {
		return i
	}
	return o.names.Rank(i)
}

func (o order) index(rank int) int {
	if o.names == nil {
		return rank
	}
	return o.names.Index(rank)
}

// Limits bound what Step returns.
type Limits struct {
	Ahead       int64 // bytes that may be ahead of the walk
	Room        int64 // bytes that may be fetched now
	Part        int64 // what is fetched of a message is 1/Part of its size
	Consecutive bool  // the reader reads mailbox by mailbox: reading the first message begins a walk
}

// Step notes that the message at index i of a table is read. It returns what to fetch next, in the order in which it will be
// read, and whether the walk is a long one. Where reading the first message begins a walk, that message is returned first.
func (s *Walks) Step(t *table.Table, i int, l Limits) (want []remote.UID, long bool) {
	uid := t.UID(i)
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, w := range s.walks {
		if w.validity != t.UIDValidity() {
			continue
		}
		if w.last == uid { // further in the same message
			return nil, false
		}
		last := t.Index(w.last)
		if last < 0 {
			continue
		}
		o, ok := w.follow(t, last, i)
		if !ok {
			continue
		}
		s.walks = slices.Insert(slices.Delete(s.walks, n, n+1), 0, w)
		for rank := o.rank(last); rank < o.rank(i); rank++ {
			w.bytes += t.Size(o.index(rank))
		}
		w.last = uid
		w.steps++
		return w.next(o, i, l), w.long()
	}
	if len(s.walks) == maxWalks {
		s.walks = s.walks[:maxWalks-1]
	}
	w := &walk{validity: t.UIDValidity(), last: uid, steps: 1}
	s.walks = slices.Insert(s.walks, 0, w)
	if !l.Consecutive {
		return nil, false
	}
	o := order{table: t}
	if i > 0 {
		o.names, w.byName = t.ByName(), true
	}
	if o.rank(i) > 0 { // it is the first message in neither order
		w.byName = false
		return nil, false
	}
	w.steps = stepsFromStart
	return append([]remote.UID{uid}, w.next(o, i, l)...), false
}

// Finished tells whether the reader that read last has come to the end of a table.
func (s *Walks) Finished(t *table.Table) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.walks) == 0 || t == nil || s.walks[0].validity != t.UIDValidity() {
		return false
	}
	w := s.walks[0]
	o, last := order{table: t}, t.Index(w.last)
	if w.byName {
		o.names = t.ByName()
	}
	// On a long walk the reader may have read what is ahead without asking.
	return last >= 0 && (o.rank(last) == t.Len()-1 || w.long() && w.ahead == t.UID(o.index(t.Len()-1)))
}

// Walking tells whether the reader that read last is on a walk.
func (s *Walks) Walking() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.walks) > 0 && s.walks[0].steps > 1
}

func (w *walk) long() bool { return w.steps >= longWalk }

// maxAhead is how many bytes ahead of the walk may be fetched: as many as it has come past, but at least aheadBytes and at
// most farBytes.
func (w *walk) maxAhead() int64 { return min(max(w.bytes, aheadBytes), farBytes) }

// follow tells whether a walk that was at index last may be the one that is at index i now, and in which order it goes.
func (w *walk) follow(t *table.Table, last, i int) (order, bool) {
	o := order{table: t}
	near := func() bool {
		at := o.rank(i)
		far := o.rank(last) + maxSkip
		if ahead := t.Index(w.ahead); w.long() && ahead >= 0 {
			far = max(far, o.rank(ahead)+maxSkip) // the reader may have read what is ahead without asking
		}
		return at > o.rank(last) && at <= far
	}
	switch {
	case w.steps > 1 && w.byName:
		o.names = t.ByName()
		return o, near()
	case near():
		return o, true
	case w.steps > 1:
		return o, false
	default: // the second step tells which order it is
		o.names = t.ByName()
		w.byName = near()
		return o, w.byName
	}
}

// next returns what is to be fetched for a walk that is at index i, and counts it as asked for. Once something is ahead, it
// returns nothing until a quarter of what may be ahead is read.
func (w *walk) next(o order, i int, l Limits) (want []remote.UID) {
	messages := messagesAhead(w.steps)
	limit, room := l.Part*min(w.maxAhead(), l.Ahead), l.Part*l.Room
	from := o.rank(i) + 1
	if ahead := o.table.Index(w.ahead); w.ahead != 0 && ahead >= 0 && o.rank(ahead) >= from {
		from = o.rank(ahead) + 1
	}
	to := min(o.rank(i)+1+messages, o.table.Len())
	var bytes int64
	for rank := o.rank(i) + 1; rank < from; rank++ { // what is ahead already
		bytes += o.table.Size(o.index(rank))
	}
	if already := from - o.rank(i) - 1; already > 0 && (already > messages*3/4 || bytes > limit*3/4) {
		return nil
	}
	for rank := from; rank < to; rank++ {
		size := o.table.Size(o.index(rank))
		bytes, room = bytes+size, room-size
		if bytes > limit || room < 0 {
			break
		}
		w.ahead = o.table.UID(o.index(rank))
		want = append(want, w.ahead)
	}
	return want
}
