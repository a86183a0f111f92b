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

// structure says which parts a message has.
type structure struct {
	Root   *remote.Part
	Header []byte // as remote.Message.Header
	// Parsed: the server could not tell the parts, so mailfs found them in the message, and reads them from there only.
	Parsed bool `json:"Whole"` // stores hold it under the old name

	message *message.Parsed // nil where the message was not at hand
}

// findStructures finds out what parts messages have and hands it on, message by message, possibly from several goroutines at
// once: from what is at hand, from what is kept, or from the server. A message that is gone is ErrNoMessage.
func (m *Mailbox) findStructures(ctx context.Context, prio remote.Priority, validity uint32, uids []remote.UID,
	got func(remote.UID, *structure, error)) {
	a := m.account
	var unknown, whole []remote.UID
	for _, uid := range uids {
		ref := Ref{UIDValidity: validity, UID: uid}
		if body, ok := m.localBody(ref); ok {
			found, err := parseStructure(body)
			got(uid, found, err)
			continue
		}
		switch found := m.keptStructure(ref); {
		case found != nil && !found.Parsed:
			got(uid, found, nil)
		case found != nil, a.bodies.has(m.viewKey(ref, unparsableView)):
			whole = append(whole, uid)
		default:
			unknown = append(unknown, uid)
		}
	}
	var answered answers
	var err error
	if len(unknown) > 0 {
		var unparsable []remote.UID // got is called for one after the other
		err = a.remote.Structures(ctx, m.at(validity, prio), unknown, func(uid remote.UID, root *remote.Part, header []byte) {
			if !answered.first(uid) {
				return
			}
			if root == nil || message.HasEmptyMultipart(root) {
				unparsable = append(unparsable, uid)
				a.bodies.add(m.viewKey(Ref{UIDValidity: validity, UID: uid}, unparsableView), nil)
				return
			}
			if err := root.Enumerate(); err != nil {
				got(uid, nil, err)
				return
			}
			message.ToUTF8(root)
			got(uid, &structure{Root: root, Header: header}, nil)
		})
		whole = append(whole, unparsable...)
	}
	for _, uid := range unknown {
		if !answered.first(uid) {
			continue
		}
		switch {
		case errors.Is(err, remote.ErrUnsupported):
			whole = append(whole, uid)
		case err != nil:
			a.contact.note(err)
			got(uid, nil, err)
		default:
			m.table.expire() // the listing is behind
			got(uid, nil, fmt.Errorf("%w: UID %d in %s", remote.ErrNoMessage, uid, m.name))
		}
	}
	if len(whole) > 0 {
		m.fetchMessages(ctx, prio, validity, whole, func(uid remote.UID, body []byte, err error) {
			var found *structure
			if err == nil {
				found, err = parseStructure(body)
			}
			got(uid, found, err)
		})
	}
}

// parseStructure takes a message apart.
func parseStructure(body []byte) (*structure, error) {
	parsed, err := message.Parse(body)
	if err != nil {
		return nil, err
	}
	return &structure{Root: parsed.Root, Header: parsed.Header(), Parsed: true, message: parsed}, nil
}

// keptStructure returns what is known of the parts of a message; nil if nothing is.
func (m *Mailbox) keptStructure(ref Ref) *structure {
	v, ok := m.account.bodies.get(m.viewKey(ref, structureView))
	if !ok {
		v = m.indexedView(ref, structureView)
	}
	found := &structure{}
	if json.Unmarshal(v, found) != nil || found.Root == nil {
		return nil
	}
	return found
}

// fetchStructures finds out what parts messages have whose fetches have begun.
func (m *Mailbox) fetchStructures(ctx context.Context, prio remote.Priority, fetches map[remote.UID]*fetch, validity uint32) {
	uids := make([]remote.UID, 0, len(fetches))
	for uid := range fetches {
		uids = append(uids, uid)
	}
	m.findStructures(ctx, prio, validity, uids, func(uid remote.UID, found *structure, err error) {
		var v []byte
		if err == nil {
			v, err = json.Marshal(found)
		} else if errors.Is(err, remote.ErrTooComplex) {
			err = fmt.Errorf("parts of UID %d in %s: %w", uid, m.name, err)
		}
		if ref := (Ref{UIDValidity: validity, UID: uid}); err == nil && !bytes.Equal(v, m.indexedView(ref, structureView)) {
			m.indexView(ref, structureView, v)
		}
		m.finish(m.viewKey(Ref{UIDValidity: validity, UID: uid}, structureView), fetches[uid], v, err)
	})
}

// localBody returns a message that is in memory or on disk.
func (m *Mailbox) localBody(ref Ref) ([]byte, bool) {
	if body, ok := m.account.bodies.get(bodyKey{mailbox: m, ref: ref}); ok {
		return body, true
	}
	if m.account.store == nil {
		return nil, false
	}
	return m.account.disk.read(m.account.diskKey(m, ref))
}

// fetchMessages brings messages as a reader of them would, and hands them on one by one. Those that are gone are left out.
func (m *Mailbox) fetchMessages(ctx context.Context, prio remote.Priority, validity uint32, uids []remote.UID,
	got func(remote.UID, []byte, error)) {
	fetches, mine := map[remote.UID]*fetch{}, map[remote.UID]*fetch{}
	m.mu.Lock()
	for _, uid := range uids {
		key := bodyKey{mailbox: m, ref: Ref{UIDValidity: validity, UID: uid}}
		if f := m.attach(key); f != nil {
			fetches[uid] = f
			continue
		}
		mine[uid] = m.start(key)
		fetches[uid] = mine[uid]
	}
	m.mu.Unlock()
	if len(mine) > 0 {
		m.fetchBodies(ctx, prio, mine, validity)
	}
	for uid, f := range fetches {
		err := m.account.wait(ctx, f)
		got(uid, f.body, err)
	}
}
