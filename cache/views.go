package cache

import (
	"context"
	"strconv"

	"github.com/mailfs/mailfs/remote"
)

// view names what is made of a message and kept, beside the message itself: "" is nothing of the kind.
type view string

const (
	structureView   view = "anatomy"     // stores hold it under the old name
	unparsableView  view = "unparsable"  // empty: the server can't tell what parts the message has
	undecodableView view = "undecodable" // empty: the server can't decode the parts of the message
	textView        view = "text"
	sizeView        view = "size of " // and another one: as a decimal number
	partView        view = "part "    // and the number: its content, decoded
	bodyView        view = "body "    // and the number: its text
	headersView     view = "headers"
)

// viewKey is where a view is in memory.
func (m *Mailbox) viewKey(ref Ref, v view) bodyKey { return bodyKey{mailbox: m, ref: ref, view: v} }

// viewOnDisk is where a view is on disk: each is kept as if it were a mailbox of its own.
func (m *Mailbox) viewOnDisk(ref Ref, v view) diskKey {
	return diskKey{account: m.account.store, mailbox: mailboxHash(m.name + "\x00" + string(v)), ref: ref}
}

// readView returns a view from disk, if it is there.
func (m *Mailbox) readView(ref Ref, v view) ([]byte, bool) {
	if m.account.store == nil {
		return nil, false
	}
	return m.account.disk.read(m.viewOnDisk(ref, v))
}

// finishView ends a fetch of a view, which is kept on disk.
func (m *Mailbox) finishView(ref Ref, v view, f *fetch, content []byte, err error) {
	m.finish(m.viewKey(ref, v), f, content, err)
	if err == nil && m.account.store != nil {
		m.account.disk.write(m.viewOnDisk(ref, v), content)
	}
}

// getView returns a view from memory, or has it fetched by run, once for all who wait for it. run ends the fetch.
func (m *Mailbox) getView(ctx context.Context, ref Ref, v view, run func(context.Context, *fetch)) ([]byte, error) {
	key := m.viewKey(ref, v)
	if content, ok := m.account.bodies.get(key); ok {
		return content, nil
	}
	m.mu.Lock()
	f := m.inflight[key]
	if f == nil {
		if content, ok := m.account.bodies.get(key); ok { // it came between the two looks
			m.mu.Unlock()
			return content, nil
		}
		f = m.start(key)
		if !m.account.run(func(ctx context.Context) { run(ctx, f) }) {
			m.failLocked(map[bodyKey]*fetch{key: f}, remote.ErrClosed)
		}
	}
	m.mu.Unlock()
	if err := m.account.wait(ctx, f); err != nil {
		return nil, err
	}
	return f.body, nil
}

// knownSize returns the size of a view that was made once.
func (m *Mailbox) knownSize(ref Ref, v view) (int64, bool) {
	key := m.viewKey(ref, sizeView+v)
	text, ok := m.account.bodies.get(key)
	if !ok {
		if text = m.indexedView(ref, sizeView+v); text == nil {
			return 0, false
		}
		m.account.bodies.add(key, text)
	}
	size, err := strconv.ParseInt(string(text), 10, 64)
	return size, err == nil
}

func (m *Mailbox) keepSize(ref Ref, v view, size int64) {
	if known, ok := m.knownSize(ref, v); ok && known == size {
		return
	}
	text := strconv.AppendInt(nil, size, 10)
	m.account.bodies.add(m.viewKey(ref, sizeView+v), text)
	m.indexView(ref, sizeView+v, text)
}

// next notes a step of a walk and returns what comes next in it.
func (m *Mailbox) next(walks *readahead, ref Ref) ([]remote.UID, uint32) {
	t, _ := m.table.known()
	if t == nil || t.UIDValidity() != ref.UIDValidity {
		return nil, 0
	}
	i := t.Index(ref.UID)
	if i < 0 {
		return nil, 0
	}
	most := m.account.options.Memory / 4
	want, _ := walks.step(t, i, most, most, moreText, false)
	return want, t.UIDValidity()
}

// fetchViewsAhead fetches the views of messages that are neither in memory nor on their way. run ends the fetches.
func (m *Mailbox) fetchViewsAhead(validity uint32, uids []remote.UID, v view,
	run func(context.Context, remote.Priority, map[remote.UID]*fetch, uint32)) {
	a := m.account
	fetches := map[remote.UID]*fetch{}
	m.mu.Lock()
	for _, uid := range uids {
		ref := Ref{UIDValidity: validity, UID: uid}
		key := m.viewKey(ref, v)
		if m.inflight[key] == nil && !a.bodies.has(key) {
			fetches[uid] = m.start(key)
		}
	}
	m.mu.Unlock()
	if len(fetches) == 0 {
		return
	}
	if !a.run(func(ctx context.Context) { run(ctx, remote.Readahead, fetches, validity) }) {
		for uid, f := range fetches {
			m.finish(m.viewKey(Ref{UIDValidity: validity, UID: uid}, v), f, nil, remote.ErrClosed)
		}
	}
}
