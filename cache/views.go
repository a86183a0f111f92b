package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/remote"
)

// view names what is made of a message and kept, beside the message itself: "" is nothing of the kind.
type view string

const (
	anatomyView view = "anatomy"
	garbledView view = "garbled" // empty: the server can't tell what parts the message has
	encodedView view = "encoded" // empty: the server can't decode the parts of the message
	textView    view = "text"
	sizeView    view = "size of " // and another one: as a decimal number
	partView    view = "part "    // and the number: its content, decoded
	bodyView    view = "body "    // and the number: its text
	headersView view = "headers"
)

// anatomy is what parts a message has.
type anatomy struct {
	Root   *remote.Part
	Header []byte // as remote.Message.Header
	Whole  bool   // it was found by taking the message apart, and what is in it is to be had so only

	message *message.Parsed // nil where the message is not at hand
}

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

// made returns a view from memory or disk, or has it made by bring, once for all who wait for it.
func (m *Mailbox) made(ctx context.Context, ref Ref, v view, bring func(context.Context, *fetch)) ([]byte, error) {
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
		if !m.account.run(func(ctx context.Context) { bring(ctx, f) }) {
			m.failLocked(map[bodyKey]*fetch{key: f}, remote.ErrClosed)
		}
	}
	m.mu.Unlock()
	if err := m.account.wait(ctx, f); err != nil {
		return nil, err
	}
	return f.body, nil
}

// atHand returns a message that is in memory or on disk.
func (m *Mailbox) atHand(ref Ref) ([]byte, bool) {
	if body, ok := m.account.bodies.get(bodyKey{mailbox: m, ref: ref}); ok {
		return body, true
	}
	if m.account.store == nil {
		return nil, false
	}
	return m.account.disk.read(m.account.diskKey(m, ref))
}

// bringWhole brings messages as a reader of them would, and hands them on one by one. Those that are gone are left out.
func (m *Mailbox) bringWhole(ctx context.Context, prio remote.Priority, validity uint32, uids []remote.UID,
	got func(remote.UID, []byte, error)) {
	fetches, mine := map[remote.UID]*fetch{}, map[remote.UID]*fetch{}
	m.mu.Lock()
	for _, uid := range uids {
		key := bodyKey{mailbox: m, ref: Ref{validity, uid}}
		if f := m.attach(key); f != nil {
			fetches[uid] = f
			continue
		}
		mine[uid] = m.start(key)
		fetches[uid] = mine[uid]
	}
	m.mu.Unlock()
	if len(mine) > 0 {
		m.bring(ctx, prio, mine, validity)
	}
	for uid, f := range fetches {
		err := m.account.wait(ctx, f)
		got(uid, f.body, err)
	}
}

// dissectAll finds out what parts messages have and hands it on, message by message, possibly from several goroutines at
// once: from what is at hand, from what is kept, or from the server. A message that is gone is ErrNoMessage.
func (m *Mailbox) dissectAll(ctx context.Context, prio remote.Priority, validity uint32, uids []remote.UID,
	got func(remote.UID, *anatomy, error)) {
	a := m.account
	var unknown, whole []remote.UID
	for _, uid := range uids {
		ref := Ref{validity, uid}
		if body, ok := m.atHand(ref); ok {
			found, err := anatomyOf(body)
			got(uid, found, err)
			continue
		}
		switch found := m.keptAnatomy(ref); {
		case found != nil && !found.Whole:
			got(uid, found, nil)
		case found != nil, a.bodies.has(m.viewKey(ref, garbledView)):
			whole = append(whole, uid)
		default:
			unknown = append(unknown, uid)
		}
	}
	var answered answers
	var err error
	if len(unknown) > 0 {
		var garbled []remote.UID // got is called for one after the other
		err = a.remote.Structures(ctx, m.at(validity, prio), unknown, func(uid remote.UID, root *remote.Part, header []byte) {
			if !answered.first(uid) {
				return
			}
			if root == nil || message.HasEmptyMultipart(root) {
				garbled = append(garbled, uid)
				a.bodies.add(m.viewKey(Ref{validity, uid}, garbledView), nil)
				return
			}
			if err := root.Enumerate(); err != nil {
				got(uid, nil, err)
				return
			}
			message.ToUTF8(root)
			got(uid, &anatomy{Root: root, Header: header}, nil)
		})
		whole = append(whole, garbled...)
	}
	for _, uid := range unknown {
		if !answered.first(uid) {
			continue
		}
		switch {
		case errors.Is(err, remote.ErrUnsupported):
			whole = append(whole, uid)
		case err != nil:
			a.noted(err)
			got(uid, nil, err)
		default:
			m.table.expire() // the listing is behind
			got(uid, nil, fmt.Errorf("%w: UID %d in %s", remote.ErrNoMessage, uid, m.name))
		}
	}
	if len(whole) > 0 {
		m.bringWhole(ctx, prio, validity, whole, func(uid remote.UID, body []byte, err error) {
			var found *anatomy
			if err == nil {
				found, err = anatomyOf(body)
			}
			got(uid, found, err)
		})
	}
}

// anatomyOf takes a message apart.
func anatomyOf(body []byte) (*anatomy, error) {
	parsed, err := message.Parse(body)
	if err != nil {
		return nil, err
	}
	return &anatomy{Root: parsed.Root, Header: parsed.Header(), Whole: true, message: parsed}, nil
}

// keptAnatomy returns what is known of the parts of a message; nil if nothing is.
func (m *Mailbox) keptAnatomy(ref Ref) *anatomy {
	v, ok := m.account.bodies.get(m.viewKey(ref, anatomyView))
	if !ok {
		v = m.indexedView(ref, anatomyView)
	}
	found := &anatomy{}
	if json.Unmarshal(v, found) != nil || found.Root == nil {
		return nil
	}
	return found
}

// bringAnatomies finds out what parts messages have whose fetches have begun.
func (m *Mailbox) bringAnatomies(ctx context.Context, prio remote.Priority, fetches map[remote.UID]*fetch, validity uint32) {
	uids := make([]remote.UID, 0, len(fetches))
	for uid := range fetches {
		uids = append(uids, uid)
	}
	m.dissectAll(ctx, prio, validity, uids, func(uid remote.UID, found *anatomy, err error) {
		var v []byte
		if err == nil {
			v, err = json.Marshal(found)
		} else if errors.Is(err, remote.ErrTooComplex) {
			err = fmt.Errorf("parts of UID %d in %s: %w", uid, m.name, err)
		}
		if ref := (Ref{validity, uid}); err == nil && !bytes.Equal(v, m.indexedView(ref, anatomyView)) {
			m.indexView(ref, anatomyView, v)
		}
		m.finish(m.viewKey(Ref{validity, uid}, anatomyView), fetches[uid], v, err)
	})
}
