package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/cache/wait"
	"github.com/mailfs/mailfs/remote"
)

// findStructures finds the structures of messages: in the message, if it is in memory or on disk, in the store, or on the
// server. It calls got for each message, possibly from several goroutines at once; for one that is gone with
// remote.ErrNoMessage.
func (m *Mailbox) findStructures(ctx context.Context, at remote.Place, uids []remote.UID,
	got func(remote.UID, *message.Structure, error)) {
	a := m.account
	var unknown []remote.UID // the server is asked for the structure
	var entire []remote.UID  // the message is fetched and parsed
	for _, uid := range uids {
		ref := Ref{UIDValidity: at.UIDValidity, UID: uid}
		if body, ok := m.localBody(ref); ok {
			found, err := message.ParseStructure(body)
			got(uid, found, err)
			continue
		}
		switch found := m.localStructure(ref); {
		case found != nil && !found.Parsed:
			got(uid, found, nil)
		case found != nil, a.bodies.Has(m.viewKey(ref, unparsableView)):
			entire = append(entire, uid)
		default:
			unknown = append(unknown, uid)
		}
	}
	if len(unknown) > 0 {
		entire = append(entire, m.askStructures(ctx, at, unknown, got)...)
	}
	if len(entire) > 0 {
		m.fetchMessages(ctx, at, entire, func(uid remote.UID, body []byte, err error) {
			var found *message.Structure
			if err == nil {
				found, err = message.ParseStructure(body)
			}
			got(uid, found, err)
		})
	}
}

// askStructures asks the server for the structures of messages, as findStructures, and returns the messages whose structure
// the server can't tell. got is not called for these.
func (m *Mailbox) askStructures(ctx context.Context, at remote.Place, uids []remote.UID,
	got func(remote.UID, *message.Structure, error)) (unparsable []remote.UID) {
	a := m.account
	var answered wait.Answered[remote.UID]
	err := a.remote.Structures(ctx, at, uids, func(uid remote.UID, root *remote.Part, header []byte) { // one call at a time
		if !answered.First(uid) {
			return
		}
		if root == nil || message.Doubtful(root, header) {
			unparsable = append(unparsable, uid)
			a.bodies.Add(m.viewKey(Ref{UIDValidity: at.UIDValidity, UID: uid}, unparsableView), nil)
			return
		}
		if err := root.Enumerate(); err != nil {
			got(uid, nil, err)
			return
		}
		message.ToUTF8(root)
		got(uid, &message.Structure{Root: root, Header: header}, nil)
	})
	for _, uid := range uids {
		if !answered.First(uid) {
			continue
		}
		switch {
		case errors.Is(err, remote.ErrUnsupported):
			unparsable = append(unparsable, uid)
		case err != nil:
			a.contact.Note(err)
			got(uid, nil, err)
		default:
			got(uid, nil, m.gone(uid))
		}
	}
	return unparsable
}

// localStructure returns the structure of a message from memory or the store; nil if it is in neither, or can't be right.
func (m *Mailbox) localStructure(ref Ref) *message.Structure {
	v, ok := m.account.bodies.Get(m.viewKey(ref, structureView))
	if !ok {
		v = m.indexedView(ref, structureView)
	}
	found := &message.Structure{}
	if json.Unmarshal(v, found) != nil || found.Root == nil {
		return nil
	}
	if !found.Parsed && message.Doubtful(found.Root, found.Header) { // an earlier version of mailfs has kept it
		return nil
	}
	return found
}

// reparse finds the structures of messages in the messages themselves, where the server's were wrong, and keeps them in place of
// those. It calls got for each message, one after the other.
func (m *Mailbox) reparse(ctx context.Context, at remote.Place, uids []remote.UID, got func(remote.UID, *message.Structure, error)) {
	m.fetchMessages(ctx, at, uids, func(uid remote.UID, body []byte, err error) {
		ref := Ref{UIDValidity: at.UIDValidity, UID: uid}
		var found *message.Structure
		if err == nil {
			found, err = message.ParseStructure(body)
		}
		if err == nil {
			m.log.Info("the server's structure of a message is not that of the message", "uid", uid)
			if v, err := json.Marshal(found); err == nil {
				m.account.bodies.Add(m.viewKey(ref, structureView), v)
				m.indexView(ref, structureView, v)
			}
		}
		got(uid, found, err)
	})
}

// fetchStructures finds the structures of messages, as JSON, and ends their fetches.
func (m *Mailbox) fetchStructures(ctx context.Context, at remote.Place, fetches map[remote.UID]*fetch) {
	uids := make([]remote.UID, 0, len(fetches))
	for uid := range fetches {
		uids = append(uids, uid)
	}
	m.findStructures(ctx, at, uids, func(uid remote.UID, found *message.Structure, err error) {
		var v []byte
		if err == nil {
			v, err = json.Marshal(found)
		} else if errors.Is(err, remote.ErrTooComplex) {
			err = fmt.Errorf("parts of UID %d in %s: %w", uid, m.name, err)
		}
		ref := Ref{UIDValidity: at.UIDValidity, UID: uid}
		if err == nil && !m.inflight.void(m.viewKey(ref, structureView), fetches[uid]) &&
			!bytes.Equal(v, m.indexedView(ref, structureView)) {
			m.indexView(ref, structureView, v)
		}
		m.inflight.finish(m.viewKey(ref, structureView), fetches[uid], v, err)
	})
}

// localBody returns a message that is in memory or on disk.
func (m *Mailbox) localBody(ref Ref) ([]byte, bool) {
	if body, ok := m.account.bodies.Get(bodyKey{mailbox: m, ref: ref}); ok {
		return body, true
	}
	if m.account.store == nil {
		return nil, false
	}
	return m.account.disk.Read(m.account.diskKey(m, ref))
}

// fetchMessages fetches messages as for a reader of them and calls got for each, one after the other.
func (m *Mailbox) fetchMessages(ctx context.Context, at remote.Place, uids []remote.UID, got func(remote.UID, []byte, error)) {
	fetches, started := map[remote.UID]*fetch{}, map[remote.UID]*fetch{}
	m.inflight.mu.Lock()
	for _, uid := range uids {
		key := bodyKey{mailbox: m, ref: Ref{UIDValidity: at.UIDValidity, UID: uid}}
		if f := m.inflight.attachLocked(key); f != nil {
			fetches[uid] = f
			continue
		}
		started[uid] = m.inflight.startLocked(key)
		fetches[uid] = started[uid]
	}
	m.inflight.mu.Unlock()
	if len(started) > 0 {
		m.fetchBodies(ctx, at, started)
	}
	for uid, f := range fetches {
		if err := m.account.tasks.Wait(ctx, &f.Result); err != nil {
			got(uid, nil, err)
			continue
		}
		got(uid, f.Body, nil)
	}
}
