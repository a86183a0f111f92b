package cache

import (
	"context"

	"github.com/mailfs/mailfs/remote"
)

// Arrival is a message that was fetched ahead of a reader, and is on disk.
type Arrival struct {
	Mailbox *Mailbox
	Entry   Entry
	Body    []byte // whole; only valid during the call it is handed to

	fetch *fetch
}

// oneRead is how many bytes the kernel asks for at a time.
const oneRead = 128 << 10

// arrivalsKept is how many arrivals wait to be handed on.
const arrivalsKept = 512

// OnArrival sets the function that is handed what was fetched ahead of a long walk, all but one message of each step.
// It tells whether it has taken the message to where readers find it without asking. It may wait. To be called once, before
// anything else.
func (a *Account) OnArrival(f func(Arrival) bool) {
	a.onArrival = f
	a.run(func(ctx context.Context) {
		for {
			select {
			case <-ctx.Done():
				return
			case r := <-a.arrivals:
				r.Mailbox.settle(r.Entry.Ref, r.fetch, !r.late() && f(r))
			}
		}
	})
}

// late tells whether a reader has asked already, and will soon have all of it.
func (r Arrival) late() bool {
	r.Mailbox.mu.Lock()
	defer r.Mailbox.mu.Unlock()
	return (r.fetch.kept || r.fetch.readers > 0) && len(r.Body) <= oneRead
}

// handOn ends a fetch whose body readers shall not have to ask for. Those who ask before it is handed on get it all the
// same, since the fetch stays where they can attach to it until then.
func (m *Mailbox) handOn(ctx context.Context, ref Ref, f *fetch, body []byte) {
	a := m.account
	m.mu.Lock()
	m.arrived += f.ahead
	m.mu.Unlock()
	j := job{key: a.diskKey(m, ref), body: body, then: func() { m.offer(ref, f, body) }}
	promised := a.disk.promise(ctx, j)
	f.finish(body, nil)
	if promised {
		a.disk.queue <- j
	} else {
		m.settle(ref, f, false)
	}
}

// handOnKept is handOn for a body that was on disk.
func (m *Mailbox) handOnKept(ref Ref, f *fetch, body []byte) {
	m.mu.Lock()
	m.arrived += f.ahead
	m.mu.Unlock()
	f.finish(body, nil)
	m.offer(ref, f, body)
}

// offer has a body handed on that has come and is on disk.
func (m *Mailbox) offer(ref Ref, f *fetch, body []byte) {
	if t := m.Known(); t != nil && t.validity == ref.UIDValidity {
		if e, ok := t.Find(ref.UID); ok && e.Size == int64(len(body)) {
			select {
			case m.account.arrivals <- Arrival{m, e, body, f}:
				return
			default: // whoever reads it will ask
			}
		}
	}
	m.settle(ref, f, false)
}

// settle ends a fetch that was to be handed on. If it was taken to where readers find it, and is on disk, its memory is
// used again when nobody looks at it; else it goes to memory.
func (m *Mailbox) settle(ref Ref, f *fetch, taken bool) {
	key := bodyKey{mailbox: m, ref: ref}
	m.account.bodies.ahead.Add(-f.ahead)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.inflight, key)
	switch {
	case !taken || f.kept:
		m.account.bodies.add(key, f.body)
	case f.readers > 0:
		f.spent = true
	default:
		remote.Recycle(f.body)
	}
}
