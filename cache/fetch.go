package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mailfs/mailfs/cache/lease"
	"github.com/mailfs/mailfs/cache/wait"
	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
)

// Bytes returns up to n bytes of a message from offset off; fewer only at the end of the message. The caller must not change
// the bytes, and not read them after it has called done, which may be left out. All that wait for a message share one fetch;
// ctx ends the wait, not the fetch. ErrNoMessage: the message is gone. ErrStale: the mailbox was replaced.
func (m *Mailbox) Bytes(ctx context.Context, ref Ref, off int64, n int) (data []byte, done func(), err error) {
	of := ref
	if ref, err = m.own(of); err != nil {
		return nil, nil, err
	}
	if data, done, err = m.bytesOf(ctx, ref, off, n); err == nil {
		if _, err = m.own(of); err != nil {
			done()
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return data, done, nil
}

// bytesOf is Bytes for a Ref as the cache has it.
func (m *Mailbox) bytesOf(ctx context.Context, ref Ref, off int64, n int) (data []byte, done func(), err error) {
	m.account.reads.note()
	m.ahead(ref)
	if size := m.large(ref); size > 0 {
		data, err := m.fromPieces(ctx, ref, size, off, int64(n))
		if !errors.Is(err, remote.ErrUnsupported) {
			return data, func() {}, err
		}
	}
	body, f, err := m.get(ctx, bodyKey{mailbox: m, ref: ref}, lease.Borrow)
	if err != nil {
		return nil, nil, err
	}
	done = func() {}
	if f != nil {
		done = func() { m.inflight.release(bodyKey{mailbox: m, ref: ref}, f) }
	}
	if m.account.store != nil {
		m.account.disk.Await(ctx, m.account.diskKey(m, ref))
	}
	off = min(off, int64(len(body)))
	return body[off:min(off+int64(n), int64(len(body)))], done, nil
}

// Size returns the number of bytes that readers of a message get. Where that is not certain the message is fetched, or
// the end of a large one.
func (m *Mailbox) Size(ctx context.Context, ref Ref) (int64, error) {
	ref, err := m.own(ref)
	if err != nil {
		return 0, err
	}
	if t := m.Known(); t != nil && t.UIDValidity() == ref.UIDValidity {
		if e, ok := t.Find(ref.UID); ok && e.Verified {
			return e.Size, nil
		}
	}
	m.ahead(ref) // a reader that asks for the size first is about to read
	if size := m.large(ref); size > 0 {
		size, err := m.sizeFromEnd(ctx, ref, size)
		if !errors.Is(err, remote.ErrUnsupported) {
			return size, err
		}
	}
	body, err := m.getToKeep(ctx, bodyKey{mailbox: m, ref: ref})
	return int64(len(body)), err
}

// Header returns the raw header of a message, with at least the fields remote.HeaderFields if it has them.
func (m *Mailbox) Header(ctx context.Context, of Ref) ([]byte, error) {
	ref, err := m.own(of)
	if err != nil {
		return nil, err
	}
	header, err := m.header(ctx, ref)
	return owned(m, of, header, err)
}

// header is Header for a Ref as the cache has it.
func (m *Mailbox) header(ctx context.Context, ref Ref) ([]byte, error) {
	if body, ok := m.account.bodies.Get(bodyKey{mailbox: m, ref: ref}); ok {
		if end := bytes.Index(body, []byte("\r\n\r\n")); end >= 0 {
			body = body[:end+2]
		}
		return body, nil
	}
	return m.getToKeep(ctx, bodyKey{mailbox: m, ref: ref, header: true})
}

// getToKeep is get for a caller that may hold the bytes for good.
func (m *Mailbox) getToKeep(ctx context.Context, key bodyKey) ([]byte, error) {
	body, _, err := m.get(ctx, key, lease.Retain)
	return body, err
}

// get returns a body or a header from memory, from disk or from the server, and the fetch that brought it; nil if it was in
// memory. how is lease.Borrow for a caller that will release that fetch, lease.Retain for one that won't. A fetch ahead of the
// reader may have lost its connection before the reader came, which is no news to the reader: get asks once more then.
func (m *Mailbox) get(ctx context.Context, key bodyKey, how lease.Event) ([]byte, *fetch, error) {
	for again := false; ; again = true {
		body, f := m.getOrStart(key, how)
		if f == nil {
			return body, nil, nil
		}
		err := m.account.tasks.Wait(ctx, &f.Result)
		if err == nil {
			return f.Body, f, nil
		}
		if how == lease.Borrow {
			m.inflight.release(key, f)
		}
		if again || f.place == 0 || !wait.Away(err) || errors.Is(err, remote.ErrTimeout) {
			return nil, nil, err
		}
	}
}

// getOrStart returns a body or a header that is in memory, or else the fetch that brings it, which is started if it is not
// under way. how is as for get.
func (m *Mailbox) getOrStart(key bodyKey, how lease.Event) ([]byte, *fetch) {
	if body, ok := m.account.bodies.Get(key); ok {
		m.account.reads.fromMemory.Add(1)
		return body, nil
	}
	m.inflight.mu.Lock()
	defer m.inflight.mu.Unlock()
	f := m.inflight.fetches[key]
	if f != nil {
		m.fetchAloneLocked(key, f)
	} else {
		if body, ok := m.account.bodies.Get(key); ok { // just before inflight was locked
			return body, nil
		}
		f = m.inflight.startLocked(key)
		switch {
		case key.header:
			m.sendLocked(map[bodyKey]*fetch{key: f})
		case m.inflight.foreground == 0:
			m.inflight.foreground++
			m.sendLocked(map[bodyKey]*fetch{key: f})
		default:
			m.batchLocked(key, f)
		}
	}
	m.inflight.leaseLocked(key, f, how, nil)
	return nil, f
}

// A small message that is far behind in what is being fetched ahead of another reader is fetched on its own as well when a
// reader waits for it. Readers that walk through one mailbox together need no such help: it is given once in a while only.
const (
	farBehind  = 3 << 19                // bytes still to come before the message: more than one command fetches
	aloneEvery = 100 * time.Millisecond // in each mailbox
)

// fetchAloneLocked fetches a message on its own as well where its fetch is far behind. What comes first ends the wait.
func (m *Mailbox) fetchAloneLocked(key bodyKey, f *fetch) {
	i := &m.inflight
	if f.place == 0 || f.ahead > walk.SmallMessage || f.place-i.aheadDone < farBehind || time.Since(i.fetchedAlone) < aloneEvery {
		return
	}
	i.fetchedAlone = time.Now()
	i.leaseLocked(key, f, lease.Retain, nil) // by the cache in memory
	a := m.account
	a.tasks.Run(func(ctx context.Context) {
		asking, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-f.Done(): // the first command was faster
				cancel()
			case <-asking.Done():
			}
		}()
		// An error is no matter: the first command goes on.
		_ = m.askBodies(asking, m.at(key.ref.UIDValidity, remote.Foreground), []remote.UID{key.ref.UID},
			func(_ remote.UID, body []byte) {
				m.verify(key.ref, int64(len(body)))
				if a.store != nil {
					m.kept.Write(ctx, key.ref, f.holder, body)
				}
				m.inflight.add(key, f, body)
				f.Finish(body, nil)
			})
	})
}

// batchWait is how long a fetch waits for others, once a command for a reader is under way already: many readers become one
// command, and a single reader waits for nobody.
const batchWait = time.Millisecond

// batchLocked puts a fetch among those that are sent with one command after batchWait.
func (m *Mailbox) batchLocked(key bodyKey, f *fetch) {
	if m.inflight.batched == nil {
		m.inflight.batched = map[bodyKey]*fetch{}
		time.AfterFunc(batchWait, func() {
			m.inflight.mu.Lock()
			defer m.inflight.mu.Unlock()
			m.inflight.foreground++
			m.sendLocked(m.inflight.batched)
			m.inflight.batched = nil
		})
	}
	m.inflight.batched[key] = f
}

// sendLocked sends for what readers wait for, in a task: one header, or bodies.
func (m *Mailbox) sendLocked(fetches map[bodyKey]*fetch) {
	running := m.account.tasks.Run(func(ctx context.Context) {
		batches := map[uint32]map[remote.UID]*fetch{}
		for key, f := range fetches {
			if key.header {
				m.fetchHeader(ctx, key, f)
				return
			}
			if batches[key.ref.UIDValidity] == nil {
				batches[key.ref.UIDValidity] = map[remote.UID]*fetch{}
			}
			batches[key.ref.UIDValidity][key.ref.UID] = f
		}
		for validity, batch := range batches {
			m.fetchBodies(ctx, m.at(validity, remote.Foreground), batch)
		}
		m.inflight.mu.Lock()
		defer m.inflight.mu.Unlock()
		m.inflight.foreground--
	})
	if !running {
		m.inflight.failLocked(fetches, remote.ErrClosed)
	}
}

// fetchHeader fetches a header, from the index or the server, and ends its fetch.
func (m *Mailbox) fetchHeader(ctx context.Context, key bodyKey, f *fetch) {
	var header []byte
	var err error
	if store := m.account.store; store != nil {
		header = store.Header(m.name, key.ref)
	}
	if header == nil {
		header, err = m.account.remote.Header(ctx, m.at(key.ref.UIDValidity, remote.Foreground), key.ref.UID)
	}
	m.inflight.finish(key, f, header, err)
}

// fetchBodies fetches messages and ends their fetches: from disk, and what is not there with one command from the server.
func (m *Mailbox) fetchBodies(ctx context.Context, at remote.Place, fetches map[remote.UID]*fetch) {
	a, validity := m.account, at.UIDValidity
	var missing []remote.UID
	for _, uid := range slices.Sorted(maps.Keys(fetches)) { // readers mostly come in this order
		f, key := fetches[uid], bodyKey{mailbox: m, ref: Ref{UIDValidity: validity, UID: uid}}
		if a.store != nil {
			a.disk.Await(ctx, a.diskKey(m, key.ref))
			if body, ok := a.disk.Read(a.diskKey(m, key.ref)); ok {
				a.reads.fromDisk.Add(1)
				m.verify(key.ref, int64(len(body)))
				if f.push && a.SizesHold() {
					m.pushFromDisk(key.ref, f, body)
				} else {
					m.inflight.finish(key, f, body, nil)
				}
				continue
			}
		}
		missing = append(missing, uid)
	}
	if len(missing) == 0 {
		return
	}
	var answered wait.Answered[remote.UID]
	err := m.askBodies(ctx, at, missing, func(uid remote.UID, body []byte) {
		if fetches[uid] == nil || !answered.First(uid) {
			return
		}
		ref := Ref{UIDValidity: validity, UID: uid}
		m.verify(ref, int64(len(body)))
		if f := fetches[uid]; f.push && a.SizesHold() {
			m.pushToKernel(ctx, ref, f, body)
			return
		}
		if a.store != nil {
			m.kept.Write(ctx, ref, fetches[uid].holder, body) // before readers know of it: they wait until it is written
		}
		m.inflight.finish(bodyKey{mailbox: m, ref: ref}, fetches[uid], body, nil)
	})
	a.contact.Note(err)
	if errors.Is(err, remote.ErrStale) || err == nil && answered.Count() < len(missing) {
		m.table.Expire() // the listing is behind
	}
	for _, uid := range missing {
		if answered.First(uid) {
			failed := err
			if failed == nil {
				failed = fmt.Errorf("%w: UID %d in %s", remote.ErrNoMessage, uid, m.name)
			}
			m.inflight.finish(bodyKey{mailbox: m, ref: Ref{UIDValidity: validity, UID: uid}}, fetches[uid], nil, failed)
		}
	}
}

// errEmpty says that a server sends nothing of a message that is not empty. That is an error, not an empty message.
var errEmpty = fmt.Errorf("%w: it sends nothing of a message that is not empty", remote.ErrServer)

// askBodies asks the server for messages, and calls got for each that comes. An empty one that was announced to be longer
// counts as not come, and is an error after the others.
func (m *Mailbox) askBodies(ctx context.Context, at remote.Place, uids []remote.UID, got func(remote.UID, []byte)) error {
	var empty atomic.Bool
	err := m.account.remote.Bodies(ctx, at, uids, func(uid remote.UID, body []byte) {
		if len(body) == 0 {
			if t, _ := m.table.Known(); t != nil && t.UIDValidity() == at.UIDValidity {
				if e, ok := t.Find(uid); ok && e.Size > 0 {
					empty.Store(true)
					return
				}
			}
		}
		got(uid, body)
	})
	if err == nil && empty.Load() {
		return fmt.Errorf("reading in %q: %w", at.Mailbox, errEmpty)
	}
	return err
}
