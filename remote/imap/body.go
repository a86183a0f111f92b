package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/buffer"
	"github.com/mailfs/mailfs/remote/imap/wire"
)

const (
	bodiesAtOnce = 1000    // messages of one FETCH
	trusted      = 8 << 20 // bytes that are allocated because the server announces them
)

// Bodies implements remote.Account. The messages come in one FETCH.
func (a *Account) Bodies(ctx context.Context, at remote.Place, uids []remote.UID,
	got func(remote.UID, []byte)) error {
	return a.read(ctx, uids, &reading{
		box:     box{bodies, at},
		options: &goimap.FetchOptions{UID: true, BodySection: []*goimap.FetchItemBodySection{{Peek: true}}},
		parse: func(data *imapclient.FetchMessageData) (remote.UID, func(), error) {
			uid, body, err := readBody(data)
			if body == nil {
				return uid, nil, err
			}
			return uid, func() {
				a.fetched.Add(1)
				got(uid, body)
			}, err
		},
	})
}

// read fetches messages as r says. An error over single messages is returned after the others have come.
func (a *Account) read(ctx context.Context, uids []remote.UID, r *reading) error {
	r.a = a
	defer r.stop()
	var failed error
	all := &remote.UIDSet{} // a range must not go on across messages that nobody asked for
	all.AddRange(1, 1<<32-1)
	for _, set := range wire.Chunks(remote.NewUIDSet(uids...), all, bodiesAtOnce) {
		err := r.read(ctx, set)
		if err != nil && !errors.Is(err, remote.ErrServer) {
			return err
		}
		if failed == nil {
			failed = err
		}
	}
	return failed
}

// reading is one call of Bodies, Structures or Sections: it fetches something of many messages.
type reading struct {
	box
	a       *Account
	options *goimap.FetchOptions
	// parse reads one FETCH response. give, which is called if the message was asked for, hands its content to the caller; it
	// is nil if the response does not hold what was asked for. An error is the end of the connection.
	parse func(*imapclient.FetchMessageData) (uid remote.UID, give func(), err error)
	// unparsable is called for a message whose answer can't be parsed; nil makes that an error.
	unparsable func(remote.UID)

	mu      sync.Mutex // held while give or unparsable is called; guards stopped
	stopped bool       // the caller is gone
}

// stop has everything dropped that arrives from now on.
func (r *reading) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}

// deliver calls give, unless the caller is gone.
func (r *reading) deliver(give func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		give()
	}
}

// read fetches messages, and once more those that did not come: go-imap may have taken the answer for that to another
// command, it may have come without the body, or the message was not announced to the session yet.
func (r *reading) read(ctx context.Context, set *remote.UIDSet) error {
	var err error
	for try := range 2 {
		var came *remote.UIDSet
		came, err = r.fetch(ctx, set, try > 0, false)
		if err != nil && !refused(err) && !errors.Is(err, wire.ErrUnparsable) {
			return err
		}
		set = set.Minus(came)
		if set.Len() == 0 {
			return nil
		}
		if errors.Is(err, wire.ErrUnparsable) {
			return r.isolate(ctx, set)
		}
	}
	return r.blame(ctx, set, err)
}

// isolate fetches messages of which at least one comes in an answer that go-imap can't parse. Servers answer in order: the
// first message that does not come is the suspect.
func (r *reading) isolate(ctx context.Context, set *remote.UIDSet) error {
	var failed error
	for set.Len() > 0 {
		came, err := r.fetch(ctx, set, false, true)
		if err != nil && !refused(err) && !errors.Is(err, wire.ErrUnparsable) {
			return err
		}
		set = set.Minus(came)
		if !errors.Is(err, wire.ErrUnparsable) {
			return errors.Join(failed, r.blame(ctx, set, err))
		}
		if set.Len() == 0 {
			break
		}
		suspect := remote.NewUIDSet(set.Ranges()[0].First)
		if set.Len() > 1 {
			came, err = r.fetch(ctx, suspect, false, true)
			if err != nil && !refused(err) && !errors.Is(err, wire.ErrUnparsable) {
				return err
			}
		}
		if came.Len() == 0 && err != nil {
			uid := suspect.Ranges()[0].First
			if r.unparsable != nil {
				r.a.log.Warn("the structure of a message can't be understood: the message is read whole", "mailbox", r.Mailbox,
					"uid", uid, "error", err)
				r.deliver(func() { r.unparsable(uid) })
			} else {
				r.a.log.Warn("a message can't be read", "mailbox", r.Mailbox, "uid", uid, "error", err)
				failed = fmt.Errorf("UID %d in %q: %w", uid, r.Mailbox, err)
			}
		}
		set = set.Minus(suspect)
	}
	return failed
}

// blame returns an error if one of the messages that did not come is in the mailbox: why, if that is not nil.
func (r *reading) blame(ctx context.Context, missing *remote.UIDSet, why error) error {
	if missing.Len() == 0 {
		return nil
	}
	there, err := r.a.search(ctx, r.box, missing, missing.Len())
	if err != nil || there.Len() == 0 {
		return err
	}
	if why == nil {
		why = fmt.Errorf("%w: the server sends no body", remote.ErrServer)
	}
	return fmt.Errorf("UID %d in %q: %w", there.Ranges()[0].First, r.Mailbox, why)
}

// fetch runs one FETCH, with nothing else on the connection if alone is set, and returns which messages came. announce is as
// with session.fetch.
func (r *reading) fetch(ctx context.Context, set *remote.UIDSet, announce, alone bool) (*remote.UIDSet, error) {
	came := &remote.UIDSet{}
	err := r.a.pool.use(ctx, r.fetching(set, alone), func(s *session) error {
		return s.fetch(set, r.options, announce, func(data *imapclient.FetchMessageData) error {
			uid, give, err := r.parse(data)
			if give != nil && err == nil && set.Contains(uid) && !came.Contains(uid) {
				came.Add(uid)
				r.deliver(give)
			}
			return err
		})
	})
	if ctx.Err() != nil {
		return nil, ctx.Err() // came may still be written
	}
	return came, err
}

// readBody reads one FETCH response; body is nil when it holds none. An error is the end of the connection.
func readBody(data *imapclient.FetchMessageData) (uid remote.UID, body []byte, err error) {
	for item := data.Next(); item != nil; item = data.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			uid = remote.UID(item.UID)
		case imapclient.FetchItemDataBodySection:
			s := item.Section
			if item.Literal != nil && s.Specifier == goimap.PartSpecifierNone && len(s.Part) == 0 && s.Partial == nil {
				if body, err = drain(item.Literal); err != nil {
					return uid, nil, err
				}
			}
		}
	}
	return uid, body, nil
}

// drain reads a literal into one buffer of its size, never nil. A buffer of more than trusted bytes grows as data arrives.
func drain(l goimap.LiteralReader) ([]byte, error) {
	size := l.Size()
	body := buffer.Get(int(min(size, trusted)))[:0]
	for int64(len(body)) < size {
		if len(body) == cap(body) {
			body = append(buffer.Get(int(min(size, 2*int64(cap(body)))))[:0], body...)
		}
		n, err := io.ReadFull(l, body[len(body):min(int64(cap(body)), size)])
		if err != nil {
			return nil, err
		}
		body = body[:len(body)+n]
	}
	return body, nil
}
