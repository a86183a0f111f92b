package remotetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/mailfs/mailfs/remote"
)

// batch is how many messages a delta holds at most.
const batch = 500

// Sync implements remote.Account.
func (a *Account) Sync(ctx context.Context, name string, since, now remote.Version, known *remote.UIDSet,
	emit func(remote.Delta) error) (version remote.Version, err error) {
	call := Call{Method: "Sync", At: remote.Place{Mailbox: name}}
	err = a.answer(ctx, call, func(ctx context.Context) error {
		var deltas []remote.Delta
		if version, deltas, err = a.changes(name, since, now, known); err != nil {
			return err
		}
		for _, d := range deltas {
			d.UIDValidity = version.UIDValidity
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := emit(d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return remote.Version{}, err
	}
	return version, nil
}

// changes returns what Sync emits.
func (a *Account) changes(name string, since, now remote.Version, known *remote.UIDSet) (
	version remote.Version, deltas []remote.Delta, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.findLocked(name)
	if m == nil {
		return version, nil, remote.ErrNoMailbox
	}
	version = m.version()
	if now.UIDValidity != 0 && now.UIDValidity != version.UIDValidity {
		return version, nil, remote.ErrStale
	}
	if since.UIDValidity != 0 && since.UIDValidity != version.UIDValidity {
		deltas = append(deltas, remote.Delta{Reset: true})
		since, known = remote.Version{}, nil
	}
	present := &remote.UIDSet{}
	var flags []remote.FlagChange
	var fresh []remote.Message
	for _, e := range m.messages {
		present.Add(e.uid)
		switch {
		case !known.Contains(e.uid):
			fresh = append(fresh, remote.Message{
				UID: e.uid, Key: strconv.FormatUint(uint64(e.uid), 10), Size: int64(len(e.body)), Date: e.date,
				Flags: slices.Clone(e.flags), Header: e.header(remote.MaxHeader),
			})
		case e.modSeq > since.ModSeq:
			flags = append(flags, remote.FlagChange{UID: e.uid, Flags: slices.Clone(e.flags)})
		}
	}
	if known.Minus(present).Len() > 0 {
		deltas = append(deltas, remote.Delta{Present: present})
	}
	if flags != nil {
		deltas = append(deltas, remote.Delta{Flags: flags})
	}
	for some := range slices.Chunk(fresh, batch) {
		deltas = append(deltas, remote.Delta{Messages: some, Total: version.Messages})
	}
	return version, deltas, nil
}

// header returns a copy of the message's whole header, cut at most bytes.
func (e *message) header(most int) []byte {
	header := e.body
	if end := bytes.Index(e.body, []byte("\r\n\r\n")); end >= 0 {
		header = e.body[:end+4]
	}
	return bytes.Clone(header[:min(len(header), most)])
}

// each calls f for those of the messages uids that are there. f is called with mu held; the function that it returns is
// called without, to hand the result to the caller.
func (a *Account) each(ctx context.Context, at remote.Place, uids []remote.UID, f func(*message) (give func())) error {
	for _, uid := range uids {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.mu.Lock()
		m := a.findLocked(at.Mailbox)
		switch {
		case m == nil:
			a.mu.Unlock()
			return remote.ErrNoMailbox
		case m.validity != at.UIDValidity:
			a.mu.Unlock()
			return remote.ErrStale
		}
		var give func()
		if e := m.find(uid); e != nil {
			give = f(e)
		}
		a.mu.Unlock()
		if give != nil {
			give()
		}
	}
	return nil
}

// one calls f for a message. ErrNoMessage: it is not there.
func (a *Account) one(ctx context.Context, at remote.Place, uid remote.UID, f func(*message) error) (err error) {
	err = fmt.Errorf("%w: UID %d in %q", remote.ErrNoMessage, uid, at.Mailbox)
	other := a.each(ctx, at, []remote.UID{uid}, func(e *message) func() {
		err = f(e)
		return nil
	})
	if other != nil {
		return other
	}
	return err
}

// Bodies implements remote.Account.
func (a *Account) Bodies(ctx context.Context, at remote.Place, uids []remote.UID, got func(remote.UID, []byte)) error {
	return a.answer(ctx, Call{Method: "Bodies", At: at, UIDs: uids}, func(ctx context.Context) error {
		return a.each(ctx, at, uids, func(e *message) func() {
			a.stats.Bodies++
			a.stats.BytesIn += int64(len(e.body))
			body := append([]byte{}, e.body...)
			return func() { got(e.uid, body) }
		})
	})
}

// Piece implements remote.Account.
func (a *Account) Piece(ctx context.Context, at remote.Place, uid remote.UID, off, n int64) (piece []byte, err error) {
	call := Call{Method: "Piece", At: at, UIDs: []remote.UID{uid}, Offset: off, Bytes: n}
	err = a.answer(ctx, call, func(ctx context.Context) error {
		if a.WholeOnly {
			return remote.ErrUnsupported
		}
		return a.one(ctx, at, uid, func(e *message) error {
			size := int64(len(e.body))
			piece = bytes.Clone(e.body[min(off, size):min(off+n, size)])
			a.stats.BytesIn += int64(len(piece))
			return nil
		})
	})
	return piece, err
}

// Header implements remote.Account.
func (a *Account) Header(ctx context.Context, at remote.Place, uid remote.UID) (header []byte, err error) {
	err = a.answer(ctx, Call{Method: "Header", At: at, UIDs: []remote.UID{uid}}, func(ctx context.Context) error {
		return a.one(ctx, at, uid, func(e *message) error {
			header = e.header(remote.MaxHeader)
			return nil
		})
	})
	return header, err
}
