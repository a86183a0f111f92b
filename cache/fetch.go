package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
)

// Bytes returns up to n bytes of a message from offset off; fewer only at its end. The caller must not change them, and
// not look at them after a call of done, which may be left out. All who wait for a message share one fetch; ctx ends the
// wait, not the fetch. ErrNoMessage: it is gone. ErrStale: the mailbox was replaced.
func (m *Mailbox) Bytes(ctx context.Context, ref Ref, off int64, n int) (data []byte, done func(), err error) {
	m.account.reads.note()
	m.ahead(ref)
	if size := m.large(ref); size > 0 {
		data, err := m.fromPieces(ctx, ref, size, off, int64(n))
		if !errors.Is(err, remote.ErrUnsupported) {
			return data, func() {}, err
		}
	}
	body, f, err := m.get(ctx, bodyKey{mailbox: m, ref: ref}, leaseBorrow)
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
	if t := m.Known(); t != nil && t.UIDValidity() == ref.UIDValidity {
		if e, ok := t.Find(ref.UID); ok && e.Verified {
			return e.Size, nil
		}
	}
	m.ahead(ref) // who wants to know before he has read is about to
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
func (m *Mailbox) Header(ctx context.Context, ref Ref) ([]byte, error) {
	if body, ok := m.account.bodies.get(bodyKey{mailbox: m, ref: ref}); ok {
		if end := bytes.Index(body, []byte("\r\n\r\n")); end >= 0 {
			body = body[:end+2]
		}
		return body, nil
	}
	return m.getToKeep(ctx, bodyKey{mailbox: m, ref: ref, header: true})
}

// getToKeep returns a body or a header from memory, from disk, or from the server, once for all who wait for it.
func (m *Mailbox) getToKeep(ctx context.Context, key bodyKey) ([]byte, error) {
	body, _, err := m.get(ctx, key, leaseRetain)
	return body, err
}

// get returns a body or a header and, where the caller has to release it, the fetch that brought it. how is leaseBorrow for
// a caller that will release it, leaseRetain for one that won't. What was fetched ahead may have been lost before the reader
// came, which is no news to the reader: the reader's own request follows then.
func (m *Mailbox) get(ctx context.Context, key bodyKey, how leaseEvent) ([]byte, *fetch, error) {
	for again := false; ; again = true {
		body, f := m.getOrStart(key, how)
		if f == nil {
			return body, nil, nil
		}
		err := m.account.wait(ctx, f)
		if err == nil {
			return f.body, f, nil
		}
		if how == leaseBorrow {
			m.inflight.release(key, f)
		}
		if again || f.place == 0 || !away(err) || errors.Is(err, remote.ErrTimeout) {
			return nil, nil, err
		}
	}
}

// getOrStart returns a body or a header that is in memory, or else the fetch that brings it, which has begun. how is as for
// get.
func (m *Mailbox) getOrStart(key bodyKey, how leaseEvent) ([]byte, *fetch) {
	if body, ok := m.account.bodies.get(key); ok {
		m.account.reads.fromMemory.Add(1)
		return body, nil
	}
	m.inflight.mu.Lock()
	defer m.inflight.mu.Unlock()
	f := m.inflight.fetches[key]
	if f != nil {
		m.fetchAloneLocked(key, f)
	} else {
		if body, ok := m.account.bodies.get(key); ok { // it came between the two looks
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

// A message that is far behind in what is being fetched ahead of another reader is fetched on its own for who waits for it,
// if it is a small one. Several readers who walk through one mailbox get on without: so it is done once in a while only.
const (
	farBehind  = 3 << 19 // bytes: more than one command brings
	aloneEvery = 100 * time.Millisecond
)

// fetchAloneLocked has somebody who waits for a fetch wait no longer than he must.
func (m *Mailbox) fetchAloneLocked(key bodyKey, f *fetch) {
	if f.place == 0 || f.ahead > walk.SmallMessage || f.place-m.inflight.aheadDone < farBehind || time.Since(m.inflight.fetchedAlone) < aloneEvery {
		return
	}
	m.inflight.fetchedAlone = time.Now()
	m.inflight.leaseLocked(key, f, leaseRetain, nil) // by the cache in memory
	a := m.account
	a.run(func(ctx context.Context) {
		asking, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-f.done: // the other one was faster
				cancel()
			case <-asking.Done():
			}
		}()
		// That it fails is no matter: the fetch goes on.
		_ = a.remote.Bodies(asking, m.at(key.ref.UIDValidity, remote.Foreground), []remote.UID{key.ref.UID},
			func(_ remote.UID, body []byte) {
				m.verify(key.ref, int64(len(body)))
				if a.store != nil {
					a.disk.Put(ctx, a.diskKey(m, key.ref), body)
				}
				a.bodies.add(key, body)
				f.finish(body, nil)
			})
	})
}

// together is how long a miss waits for others, once one is on its way already: many readers become one command, and a
// single one waits for nobody.
const together = time.Millisecond

// batchLocked puts a fetch among those that are sent together.
func (m *Mailbox) batchLocked(key bodyKey, f *fetch) {
	if m.inflight.batched == nil {
		m.inflight.batched = map[bodyKey]*fetch{}
		time.AfterFunc(together, func() {
			m.inflight.mu.Lock()
			defer m.inflight.mu.Unlock()
			m.inflight.foreground++
			m.sendLocked(m.inflight.batched)
			m.inflight.batched = nil
		})
	}
	m.inflight.batched[key] = f
}

// sendLocked begins the fetch that a reader waits for: of one header, or of bodies.
func (m *Mailbox) sendLocked(fetches map[bodyKey]*fetch) {
	running := m.account.run(func(ctx context.Context) {
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
			m.fetchBodies(ctx, remote.Foreground, batch, validity)
		}
		m.inflight.mu.Lock()
		defer m.inflight.mu.Unlock()
		m.inflight.foreground--
	})
	if !running {
		m.inflight.failLocked(fetches, remote.ErrClosed)
	}
}

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

// fetchBodies fetches messages whose fetches have begun: from disk, and what is not there with one command from the server.
func (m *Mailbox) fetchBodies(ctx context.Context, prio remote.Priority, fetches map[remote.UID]*fetch, validity uint32) {
	a := m.account
	var missing []remote.UID
	for _, uid := range slices.Sorted(maps.Keys(fetches)) { // the order in which readers come, as a rule
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
	var answered answers
	err := a.remote.Bodies(ctx, m.at(validity, prio), missing, func(uid remote.UID, body []byte) {
		if fetches[uid] == nil || !answered.first(uid) {
			return
		}
		ref := Ref{UIDValidity: validity, UID: uid}
		m.verify(ref, int64(len(body)))
		if f := fetches[uid]; f.push && a.SizesHold() {
			m.pushToKernel(ctx, ref, f, body)
			return
		}
		if a.store != nil {
			a.disk.Put(ctx, a.diskKey(m, ref), body) // first, since readers wait until it is written
		}
		m.inflight.finish(bodyKey{mailbox: m, ref: ref}, fetches[uid], body, nil)
	})
	a.contact.note(err)
	if errors.Is(err, remote.ErrStale) || err == nil && answered.count() < len(missing) {
		m.table.expire() // the listing is behind
	}
	for _, uid := range missing {
		if answered.first(uid) {
			failed := err
			if failed == nil {
				failed = fmt.Errorf("%w: UID %d in %s", remote.ErrNoMessage, uid, m.name)
			}
			m.inflight.finish(bodyKey{mailbox: m, ref: Ref{UIDValidity: validity, UID: uid}}, fetches[uid], nil, failed)
		}
	}
}

// verify notes the size that a message really has.
func (m *Mailbox) verify(ref Ref, size int64) {
	m.sizes.mu.Lock()
	t, _ := m.table.known()
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
