package cache

import (
	"sync"
	"sync/atomic"

	"github.com/mailfs/mailfs/remote"
)

// evidence counts how often what the server announces turned out to be right, and how often wrong.
type evidence struct{ right, wrong atomic.Int64 }

// holds tells whether what the server announces was right often enough to be relied on, and never wrong.
func (e *evidence) holds(enough int64) bool { return e.wrong.Load() == 0 && e.right.Load() >= enough }

// enoughSizes is how many announced sizes must have been right before the others are relied on.
const enoughSizes = 16

// SizesHold tells whether the sizes that the server announces have been compared with enough bodies to be relied on, and
// never were wrong.
func (a *Account) SizesHold() bool { return a.sizes.holds(enoughSizes) }

// wrongSizes are the sizes of messages that the server announced wrongly, in the present UIDVALIDITY.
type wrongSizes struct {
	mu    sync.Mutex // guards wrong, and that a new table takes over what is in it
	wrong map[remote.UID]int64
}

// correct sets the sizes that were announced wrongly in a new table, and puts the table in place. anew says that the table
// has another UIDVALIDITY, so that what is known of sizes is void.
func (w *wrongSizes) correct(t *Table, anew bool, place func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if anew {
		w.wrong = nil
	}
	for uid, size := range w.wrong {
		if i := t.Index(uid); i >= 0 {
			t.SetSize(i, size)
		} else {
			delete(w.wrong, uid)
		}
	}
	place()
}

// verify notes the size that a message really has, and tells of it where the server announced another one.
func (m *Mailbox) verify(ref Ref, size int64) {
	m.sizes.mu.Lock()
	t, _ := m.table.Known()
	i := -1
	if t != nil && t.UIDValidity() == ref.UIDValidity {
		i = t.Index(ref.UID)
	}
	if i < 0 {
		m.sizes.mu.Unlock()
		return
	}
	announced, verified := t.SetSize(i, size)
	if announced != size {
		if m.sizes.wrong == nil {
			m.sizes.wrong = map[remote.UID]int64{}
		}
		m.sizes.wrong[ref.UID] = size
	}
	m.sizes.mu.Unlock()
	switch a := m.account; {
	case announced != size:
		if a.sizes.wrong.Add(1) == 1 {
			a.log.Warn("the server announces wrong sizes: each message is checked when it is opened",
				"mailbox", m.name, "uid", ref.UID, "announced", announced, "real", size)
		}
		a.changed(Change{Mailbox: m, Table: t, Resized: []Entry{t.At(i)}})
		m.saveSize(t, ref.UID)
	case !verified:
		a.sizes.right.Add(1)
	}
}
