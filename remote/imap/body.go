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
	trusted      = 8 << 20 // bytes that are allocated on the word of the server alone
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

// read fetches messages as r says.
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

// reading is one call of Bodies, or of what else fetches something of many messages.
type reading struct {
	box
	a       *Account
	options *goimap.FetchOptions
	// parse reads one FETCH response. give hands on what it held; nil if that is not what was asked for. An error is the
	// end of the connection.
	parse func(*imapclient.FetchMessageData) (uid remote.UID, give func(), err error)
	// garbled is called for a message whose answer can't be parsed; nil makes that an error.
	garbled func(remote.UID)

	mu      sync.Mutex // held while something is handed on
	stopped bool
}

// stop makes what arrives from now on be dropped.
func (r *reading) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}

func (r *reading) deliver(give func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		give()
	}
}

// read fetches messages, and those that did not come a second time: the answer to a FETCH may have been taken for
// another one, or without the body, or the session had not been told of the message.
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

// isolate fetches messages of which one, at least, comes in an answer that go-imap can't parse. Servers answer in
// order: the first that does not come is the suspect.
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
			if r.garbled != nil {
				r.a.log.Warn("what parts a message has can't be understood: it is read whole", "mailbox", r.Mailbox,
					"uid", uid, "error", err)
				r.deliver(func() { r.garbled(uid) })
			} else {
				r.a.log.Warn("a message can't be read", "mailbox", r.Mailbox, "uid", uid, "error", err)
				failed = fmt.Errorf("UID %d in %q: %w", uid, r.Mailbox, err)
			}
		}
		set = set.Minus(suspect)
	}
	return failed
}

// blame returns an error if one of the messages that did not come is there.
func (r *reading) blame(ctx context.Context, missing *remote.UIDSet, why error) error {
	if missing.Len() == 0 {
		return nil
	}
	there, err := r.a.search(ctx, r.box, missing, missing.Len())
	if err != nil || there.Len() == 0 {
		return err
	}
	if why == nil {
		why = fmt.Errorf("%w: it sends no body", remote.ErrServer)
	}
	return fmt.Errorf("UID %d in %q: %w", there.Ranges()[0].First, r.Mailbox, why)
}

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

// drain reads a literal into one buffer of its size, never nil. Beyond what is trusted the buffer grows as data
// arrives.
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
