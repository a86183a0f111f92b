package cache

import (
	"context"
	"fmt"
	"strconv"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
)

// view names what mailfs makes of a message and keeps: a product, or a fact about the message. "" is the message itself.
// Memory and disk have each view under this name.
type view string

const (
	structureView   view = "anatomy"     // a structure as JSON; stores have it under this older name
	unparsableView  view = "unparsable"  // empty, in memory only: the server can't tell the parts of the message
	undecodableView view = "undecodable" // empty, in memory only: the server can't decode the parts of the message
	textView        view = "text"        // what Text returns
	headersView     view = "headers"     // the file of the header
	partView        view = "part "       // and the number of a part: its file, the part decoded
	bodyView        view = "body "       // and the number of a part: its file, the part's text
	sizeView        view = "size of "    // and another view: its length in bytes, as a decimal number
)

// viewKey is the key of a view in memory.
func (m *Mailbox) viewKey(ref Ref, v view) bodyKey { return bodyKey{mailbox: m, ref: ref, view: v} }

// viewOnDisk is the key of a view on disk, where each view has a mailbox of its own.
func (m *Mailbox) viewOnDisk(ref Ref, v view) disk.Key {
	return m.account.store.Key(m.viewHash(v), ref)
}

func (m *Mailbox) viewHash(v view) disk.Hash { return disk.HashOf(m.name + "\x00" + string(v)) }

// readView returns a view from disk, if it is there.
func (m *Mailbox) readView(ref Ref, v view) ([]byte, bool) {
	if m.account.store == nil {
		return nil, false
	}
	return m.account.disk.Read(m.viewOnDisk(ref, v))
}

// finishView ends the fetch of a view for all who wait, and writes the view to disk.
func (m *Mailbox) finishView(ref Ref, v view, f *fetch, content []byte, err error) {
	key := m.viewKey(ref, v)
	m.inflight.finish(key, f, content, err)
	if err == nil && m.account.store != nil && !m.left(ref) && !m.inflight.void(key, f) {
		m.account.disk.Write(m.viewOnDisk(ref, v), content)
		if m.left(ref) || m.inflight.void(key, f) {
			m.account.disk.Remove(m.viewOnDisk(ref, v))
		}
	}
}

// getView returns a view from memory or from the fetch of it that is in flight. Where there is none, it starts one and calls
// run in a goroutine, which must finish the fetch.
func (m *Mailbox) getView(ctx context.Context, ref Ref, v view, run func(context.Context, *fetch)) ([]byte, error) {
	key := m.viewKey(ref, v)
	if content, ok := m.account.bodies.Get(key); ok {
		return content, nil
	}
	m.inflight.mu.Lock()
	f := m.inflight.fetches[key]
	if f == nil {
		if content, ok := m.account.bodies.Get(key); ok { // a fetch has ended since the first look
			m.inflight.mu.Unlock()
			return content, nil
		}
		f = m.inflight.startLocked(key)
		if !m.account.tasks.Run(func(ctx context.Context) { run(ctx, f) }) {
			m.inflight.failLocked(map[bodyKey]*fetch{key: f}, remote.ErrClosed)
		}
	}
	m.inflight.mu.Unlock()
	if err := m.account.tasks.Wait(ctx, &f.Result); err != nil {
		return nil, err
	}
	return f.Body, nil
}

// knownSize returns the length of a view, and whether it is known: it is, once the view was made or the server told it.
func (m *Mailbox) knownSize(ref Ref, v view) (int64, bool) {
	key := m.viewKey(ref, sizeView+v)
	text, ok := m.account.bodies.Get(key)
	if !ok {
		if text = m.indexedView(ref, sizeView+v); text == nil {
			return 0, false
		}
		m.account.bodies.Add(key, text)
	}
	size, err := strconv.ParseInt(string(text), 10, 64)
	return size, err == nil
}

// keepSize keeps the length of a view in memory and on disk. holder is Holders.Of the message when it was asked for.
func (m *Mailbox) keepSize(ref Ref, v view, size int64, holder uint32) {
	if m.kept.Holders.Of(ref.UID) != holder {
		return
	}
	if known, ok := m.knownSize(ref, v); ok && known == size {
		return
	}
	text := strconv.AppendInt(nil, size, 10)
	m.account.bodies.Add(m.viewKey(ref, sizeView+v), text)
	m.indexView(ref, sizeView+v, text)
}

// messageBytesPerByte is how many bytes of messages count as one byte of memory when views are fetched ahead of a reader:
// texts and structures are much smaller than their messages.
const messageBytesPerByte = 64

// nextOfWalk counts the reading of a view, and returns the messages whose views the same reader is expected to read next.
func (m *Mailbox) nextOfWalk(walks *walk.Walks, ref Ref) []remote.UID {
	t, _ := m.table.Known()
	if t == nil || t.UIDValidity() != ref.UIDValidity {
		return nil
	}
	i := t.Index(ref.UID)
	if i < 0 {
		return nil
	}
	most := m.account.options.Memory / 4
	uids, _ := walks.Step(t, i, walk.Limits{Ahead: most, Room: most, Part: messageBytesPerByte})
	return uids
}

// fetchViewsAhead fetches the views that are neither in memory nor in flight. It calls run in a goroutine, which must finish
// the fetches.
func (m *Mailbox) fetchViewsAhead(validity uint32, uids []remote.UID, v view,
	run func(context.Context, remote.Place, map[remote.UID]*fetch)) {
	a := m.account
	fetches := map[remote.UID]*fetch{}
	m.inflight.mu.Lock()
	for _, uid := range uids {
		key := m.viewKey(Ref{UIDValidity: validity, UID: uid}, v)
		if m.inflight.fetches[key] == nil && !a.bodies.Has(key) {
			fetches[uid] = m.inflight.startLocked(key)
		}
	}
	m.inflight.mu.Unlock()
	if len(fetches) == 0 {
		return
	}
	if !a.tasks.Run(func(ctx context.Context) { run(ctx, m.at(validity, remote.Readahead), fetches) }) {
		for uid, f := range fetches {
			m.inflight.finish(m.viewKey(Ref{UIDValidity: validity, UID: uid}, v), f, nil, remote.ErrClosed)
		}
	}
}

// gone returns the error for a message of the listing that the server does not have. The listing is old, so it expires.
func (m *Mailbox) gone(uid remote.UID) error {
	m.table.Expire()
	return fmt.Errorf("%w: UID %d in %s", remote.ErrNoMessage, uid, m.name)
}
