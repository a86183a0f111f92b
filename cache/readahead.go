package cache

import (
	"context"
	"slices"
	"sync"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// Reading ahead: cp -r and grep -r read one message after the other, and without help each would cost a round trip. Who
// reads a second message next to the first is taken to walk the mailbox, and what comes next is fetched in batches. A walk
// that stops costs what was ahead of it and no more: every step is taken by a reader's own reading.
//
// On a long walk what comes is pushed to the kernel before it is asked for (see Pushed), so that reading it asks nobody. Only a
// trace is left to be asked for, one message of each step, so that the walk is seen to go on.
const (
	// batchBytes and batchMessages cut what is fetched with one command. Three such batches of 1 MB in flight fill 100 Mbit/s
	// over 100 ms, and larger ones bring nothing.
	batchBytes    = 1 << 20
	batchMessages = 128
	// aheadBytes is how far ahead of a reader is fetched at first, in bytes; farBytes and farMessages on a long walk. That much
	// is on its way over 100 Mbit/s and 100 ms when it is compressed well, and a server nearby isn't kept waiting.
	aheadBytes  = 4 << 20
	farBytes    = 16 << 20
	farMessages = 8 * batchMessages
	// smallTrace is how large, in bytes, a message may be that the kernel asks for at once.
	smallTrace = 64 << 10
	// longWalk is how many messages read make a walk a long one.
	longWalk = 16
	// toured is how many mailboxes read to their ends make a tour: the next one is read ahead in from its first message on,
	// as far as after tourSteps.
	toured    = 2
	tourSteps = 4
	// reach is how many messages a walker may leave out at a time.
	reach = 16
	// walkers is how many readers of one mailbox are told apart.
	walkers = 8
)

// growth is how many messages ahead of it a walk of so many steps gets.
func growth(steps int) int {
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
	validity uint32
	last     remote.UID // read last
	ahead    remote.UID // asked for last; 0 if nothing is
	byName   bool       // in order of names; else in order of UIDs
	steps    int
	bytes    int64 // it has come past
}

// readahead notices walks through one mailbox.
type readahead struct {
	mu    sync.Mutex // guards what follows
	walks []*walk    // the one that made the last step first
}

// order is an order in which a table is read: of UIDs, in which listings come, or of names, in which shells sort.
type order struct {
	table *Table
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

// step notes that a message is read and returns what to fetch next, in the order in which it will be read, and whether
// the walk is a long one. What is ahead of it then takes no more than most bytes, and what is new room, where a message
// takes part of its size. On a tour who begins to read goes on: what is returned begins with this message then.
func (r *readahead) step(t *Table, i int, most, room, part int64, tour bool) (want []remote.UID, long bool) {
	uid := t.UID(i)
	r.mu.Lock()
	defer r.mu.Unlock()
	for n, w := range r.walks {
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
		r.walks = slices.Insert(slices.Delete(r.walks, n, n+1), 0, w)
		for rank := o.rank(last); rank < o.rank(i); rank++ {
			w.bytes += t.Size(o.index(rank))
		}
		w.last = uid
		w.steps++
		return w.next(o, i, part*min(w.reach(), most), part*room), w.long()
	}
	if len(r.walks) == walkers {
		r.walks = r.walks[:walkers-1]
	}
	w := &walk{validity: t.UIDValidity(), last: uid, steps: 1}
	r.walks = slices.Insert(r.walks, 0, w)
	if !tour {
		return nil, false
	}
	o := order{table: t}
	if i > 0 {
		o.names, w.byName = t.ByName(), true
	}
	if o.rank(i) > 0 { // not where one begins
		w.byName = false
		return nil, false
	}
	w.steps = tourSteps
	return append([]remote.UID{uid}, w.next(o, i, part*min(w.reach(), most), part*room)...), false
}

// through tells whether the reader that read last has come to the end of a table.
func (r *readahead) through(t *Table) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.walks) == 0 || t == nil || r.walks[0].validity != t.UIDValidity() {
		return false
	}
	w := r.walks[0]
	o, last := order{table: t}, t.Index(w.last)
	if w.byName {
		o.names = t.ByName()
	}
	// On a long walk it may have read without asking.
	return last >= 0 && (o.rank(last) == t.Len()-1 || w.long() && w.ahead == t.UID(o.index(t.Len()-1)))
}

// tour notices who reads one mailbox after the other.
type tour struct {
	mu   sync.Mutex // guards what follows
	at   *Mailbox   // where somebody reads
	done int        // how many mailboxes were read to the end before this one, without a break
}

// on tells whether who reads in a mailbox is on a tour.
func (t *tour) on(m *Mailbox) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.at
	if t.at = m; before == nil || before == m {
		return t.done >= toured
	}
	if known, _ := before.table.known(); before.readahead.through(known) {
		t.done++
	} else {
		t.done = 0
	}
	return t.done >= toured
}

func (w *walk) long() bool { return w.steps >= longWalk }

// reach is how many bytes ahead of the walk may be fetched: no more than it has come, from aheadBytes on.
func (w *walk) reach() int64 { return min(max(w.bytes, aheadBytes), farBytes) }

// walking tells whether the reader that read last is on a walk.
func (r *readahead) walking() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.walks) > 0 && r.walks[0].steps > 1
}

// follow tells whether a walk that was at index last may be the one that is at index i now, and in which order it goes.
func (w *walk) follow(t *Table, last, i int) (order, bool) {
	o := order{table: t}
	near := func() bool {
		at := o.rank(i)
		far := o.rank(last) + reach
		if ahead := t.Index(w.ahead); w.long() && ahead >= 0 {
			far = max(far, o.rank(ahead)+reach) // it may have read without asking
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
	default: // its second step tells
		o.names = t.ByName()
		w.byName = near()
		return o, w.byName
	}
}

// next returns what a walk that is at index i wants to be fetched, and counts it as asked for. It comes in whole batches
// once the walk is long.
func (w *walk) next(o order, i int, limit, room int64) (want []remote.UID) {
	messages := growth(w.steps)
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
		return nil // until there is room for a batch
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

// ahead notes that a message is read, and fetches ahead of a walk.
func (m *Mailbox) ahead(ref Ref) {
	t, _ := m.table.known()
	if t == nil || t.UIDValidity() != ref.UIDValidity {
		return
	}
	i := t.Index(ref.UID)
	if i < 0 {
		return
	}
	most := m.account.options.Memory / 4
	want, long := m.readahead.step(t, i, most, most-m.account.bodies.ahead.Load(), 1, m.account.tour.on(m))
	trace := remote.UID(0)
	if long {
		trace = traceOf(t, want)
	}
	for len(want) > 0 {
		n, bytes := 0, int64(0)
		for ; n < len(want) && n < batchMessages; n++ {
			size := t.Size(t.Index(want[n]))
			if bytes += size; bytes > batchBytes && n > 0 {
				break
			}
		}
		m.fetchAhead(t, want[:n], trace)
		want = want[n:]
	}
}

// traceOf returns which of the messages of a step is left to be asked for: the first that is small.
func traceOf(t *Table, uids []remote.UID) remote.UID {
	for _, uid := range uids {
		if t.Size(t.Index(uid)) <= smallTrace {
			return uid
		}
	}
	if len(uids) == 0 {
		return 0
	}
	return uids[0]
}

// fetchAhead begins to fetch what is not here already. If trace is not 0, all but that is pushed to the kernel when it has come.
func (m *Mailbox) fetchAhead(t *Table, uids []remote.UID, trace remote.UID) {
	a, validity := m.account, t.UIDValidity()
	fetches := map[remote.UID]*fetch{}
	pushed := func(uid remote.UID) bool {
		return trace != 0 && uid != trace && a.store != nil && a.pushes.push != nil
	}
	onDisk := map[remote.UID]bool{} // found out before m.mu is locked: the filesystem may have to be asked
	for _, uid := range uids {
		if a.store != nil && !pushed(uid) {
			onDisk[uid] = a.disk.has(a.diskKey(m, Ref{UIDValidity: validity, UID: uid}))
		}
	}
	m.mu.Lock()
	for _, uid := range uids {
		key, push := bodyKey{mailbox: m, ref: Ref{UIDValidity: validity, UID: uid}}, pushed(uid)
		if m.inflight[key] != nil || a.bodies.has(key) || onDisk[uid] {
			continue
		}
		fetches[uid] = m.start(key)
		fetches[uid].ahead = t.Size(t.Index(uid))
		a.bodies.ahead.Add(fetches[uid].ahead)
		m.aheadAsked += fetches[uid].ahead
		fetches[uid].place = m.aheadAsked
		fetches[uid].push = push
	}
	m.mu.Unlock()
	if len(fetches) == 0 {
		return
	}
	if !a.run(func(ctx context.Context) { m.fetchBodies(ctx, remote.Readahead, fetches, validity) }) {
		for uid, f := range fetches {
			m.finish(bodyKey{mailbox: m, ref: Ref{UIDValidity: validity, UID: uid}}, f, nil, remote.ErrClosed)
		}
	}
}
