package cache

import "context"

// Pushed is a message that was fetched ahead of a reader, is on disk, and is to be pushed into the kernel's cache.
type Pushed struct {
	Mailbox *Mailbox
	Entry   Entry
	Body    []byte // all of the message; only valid during the call of the function set with OnPushed

	fetch *fetch
}

// oneRead is how many bytes the kernel asks for with one read.
const oneRead = 128 << 10

// maxPushes is how many messages may wait to be pushed.
const maxPushes = 512

// pushes are what is to be pushed into the kernel's cache.
type pushes struct {
	queue chan Pushed
	push  func(Pushed) bool // nil where nothing is pushed
}

// OnPushed sets the function that pushes into the kernel's cache what was fetched ahead of a long walk, all but one message
// of each step. The function tells whether the kernel has taken the message, and may wait. To be called once, before
// anything else.
func (a *Account) OnPushed(push func(Pushed) bool) {
	a.pushes.push = push
	a.tasks.Run(func(ctx context.Context) {
		for {
			select {
			case <-ctx.Done():
				return
			case p := <-a.pushes.queue:
				p.Mailbox.inflight.endFetch(p.key(), p.fetch, !p.late() && push(p))
			}
		}
	})
}

// key is under what the message is in flight.
func (p Pushed) key() bodyKey {
	return bodyKey{mailbox: p.Mailbox, ref: Ref{UIDValidity: p.Entry.UIDValidity, UID: p.Entry.UID}}
}

// late tells whether a reader has asked already, and will soon have all of the message.
func (p Pushed) late() bool {
	return p.Mailbox.inflight.wanted(p.fetch) && len(p.Body) <= oneRead
}

// pushToKernel finishes a fetch whose body is to be written to disk, then pushed. Readers that ask before the push has
// ended get the body all the same, since the fetch stays in inflight until then.
func (m *Mailbox) pushToKernel(ctx context.Context, ref Ref, f *fetch, body []byte) {
	a := m.account
	m.inflight.came(f)
	write := a.disk.Promise(ctx, a.diskKey(m, ref), body, func() { m.queuePush(ref, f, body) })
	f.Finish(body, nil)
	if write != nil {
		write()
	} else {
		m.inflight.endFetch(bodyKey{mailbox: m, ref: ref}, f, false)
	}
}

// pushFromDisk is pushToKernel for a body that was on disk.
func (m *Mailbox) pushFromDisk(ref Ref, f *fetch, body []byte) {
	m.inflight.came(f)
	f.Finish(body, nil)
	m.queuePush(ref, f, body)
}

// queuePush queues a body to be pushed, of a finished fetch, that is on disk. It waits for nothing: where the queue is full,
// readers of the message will ask for it.
func (m *Mailbox) queuePush(ref Ref, f *fetch, body []byte) {
	key := bodyKey{mailbox: m, ref: ref}
	if m.inflight.void(key, f) {
		m.account.tasks.Run(func(context.Context) { m.account.disk.Remove(m.account.diskKey(m, ref)) })
	} else if t := m.Known(); t != nil && t.UIDValidity() == ref.UIDValidity {
		if e, ok := t.Find(ref.UID); ok && e.Size == int64(len(body)) {
			select {
			case m.account.pushes.queue <- Pushed{m, e, body, f}:
				return
			default:
			}
		}
	}
	m.inflight.endFetch(key, f, false)
}
