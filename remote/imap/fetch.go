package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/imap/wire"
)

// items are FETCH data items (RFC 9051, section 6.4.5) that a listing asks for, besides UID.
type items uint8

const (
	size    items = 1 << iota // RFC822.SIZE
	date                      // INTERNALDATE
	flags                     // FLAGS
	header                    // BODY.PEEK[HEADER.FIELDS (...)] of remote.HeaderFields
	heading                   // BODY.PEEK[HEADER]
)

// everything is what a message is listed with. ENVELOPE in place of header would cost 2.5 times the CPU, and go-imap's parser
// for it ends the connection over broken mail.
const everything = size | date | flags | header

// options returns the items as go-imap asks for them.
func (i items) options() *goimap.FetchOptions {
	o := &goimap.FetchOptions{UID: true, RFC822Size: i&size != 0, InternalDate: i&date != 0, Flags: i&flags != 0}
	if i&(header|heading) != 0 {
		section := &goimap.FetchItemBodySection{Specifier: goimap.PartSpecifierHeader, Peek: true}
		if i&header != 0 {
			section.HeaderFields = remote.HeaderFields
		}
		o.BodySection = []*goimap.FetchItemBodySection{section}
	}
	return o
}

// readMessage reads one FETCH response. The header of the message, cut at remote.MaxHeader, is appended to arena, which is
// returned. got says which items came. An error is the end of the connection.
func readMessage(data *imapclient.FetchMessageData, arena []byte) (m remote.Message, got items, _ []byte, err error) {
	for item := data.Next(); item != nil; item = data.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			m.UID = remote.UID(item.UID)
			m.Key = strconv.FormatUint(uint64(item.UID), 10)
		case imapclient.FetchItemDataRFC822Size:
			m.Size = item.Size
			got |= size
		case imapclient.FetchItemDataInternalDate:
			if !item.Time.Equal(wire.NoDate) {
				m.Date = item.Time
			}
			got |= date
		case imapclient.FetchItemDataFlags:
			m.Flags = flagNames(item.Flags)
			got |= flags
		case imapclient.FetchItemDataBodySection:
			start := len(arena)
			if item.Literal != nil {
				n := int(min(item.Literal.Size(), remote.MaxHeader))
				arena = slices.Grow(arena, n)[:start+n]
				if _, err := io.ReadFull(item.Literal, arena[start:]); err != nil {
					return m, got, arena[:start], err
				}
			}
			m.Header = arena[start:len(arena):len(arena)]
			got |= header | heading
		}
	}
	return m, got, arena, nil
}

// flagNames returns flags as they are spelled, without \Recent, which is the session's and not the message's (RFC 3501,
// section 2.3.2).
func flagNames(in []goimap.Flag) []string {
	out := make([]string, 0, len(in))
	for _, f := range in {
		if f != `\Recent` {
			out = append(out, string(f))
		}
	}
	return out
}

// refused tells whether the server answered a command with NO or BAD, and not only for now.
func refused(err error) bool {
	no, ok := errors.AsType[*goimap.Error](err)
	return ok && !forNow(no)
}

// box is a mailbox as a user of it addresses it.
type box struct {
	lane lane
	remote.Place
}

func (b box) fetching(set *remote.UIDSet, alone bool) *request {
	return &request{lane: b.lane, mailbox: b.Mailbox, validity: b.UIDValidity, alone: alone, fetches: set, prio: b.Priority}
}

// one fetches the items want of one message, with nothing else on the connection if alone is set. The items that came are
// returned: 0 when the message did not come.
func (a *Account) one(ctx context.Context, b box, uid remote.UID, want items, alone bool) (
	remote.Message, items, error) {
	var (
		m   remote.Message
		got items
	)
	set := remote.NewUIDSet(uid)
	err := a.pool.use(ctx, b.fetching(set, alone), func(s *session) error {
		return s.fetch(set, want.options(), false, func(data *imapclient.FetchMessageData) (err error) {
			m, got, _, err = readMessage(data, nil)
			return err
		})
	})
	if err != nil {
		return remote.Message{}, 0, err
	}
	return m, got & want, nil
}

// fetch runs one UID FETCH and hands every response to take. take reads a response to its end; an error of take says that the
// connection has ended. announce has a NOOP sent first, which gives the server an occasion to announce messages that are new
// to the session; so does asking for such a message. FETCH is sent without waiting for the mailbox to be open. If it can't be
// opened, or is another one than was meant, what comes is dropped.
func (s *session) fetch(set *remote.UIDSet, o *goimap.FetchOptions, announce bool,
	take func(*imapclient.FetchMessageData) error) error {
	last := uint32(set.Last())
	var noop *imapclient.Command
	opening := s.opening
	if opening == nil && (announce || last >= s.next.Load()) {
		s.next.Store(max(last+1, s.above.Load()))
		noop = s.client.Noop()
	}
	cmd := s.client.Fetch(wireSet(set), o)
	if opening != nil {
		if err := opening(); err != nil {
			_ = cmd.Close() // it is refused, since no mailbox is open
			return err
		}
	}
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		if take(data) != nil {
			// Next reads what is left of a literal, and go-imap's own goroutine goes on reading after an error.
			<-s.client.Closed()
		}
	}
	err := cmd.Close()
	if noop != nil {
		if noopErr := noop.Wait(); noopErr != nil && err == nil {
			err = noopErr
		}
	}
	return s.fault(err)
}

// search returns which messages are in the mailbox: of within, or of all if that is nil. An answer of more than most UIDs is
// ErrServer.
func (a *Account) search(ctx context.Context, b box, within *remote.UIDSet, most int) (*remote.UIDSet, error) {
	var found *remote.UIDSet
	q := &request{lane: b.lane, mailbox: b.Mailbox, validity: b.UIDValidity, single: true, prio: b.Priority}
	err := a.pool.use(ctx, q, func(s *session) error {
		there, err := s.search(within, most)
		found = there
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Header implements remote.Account.
func (a *Account) Header(ctx context.Context, at remote.Place, uid remote.UID) ([]byte, error) {
	b := box{listing, at}
	m, got, err := a.one(ctx, b, uid, header, false)
	if errors.Is(err, wire.ErrUnparsable) {
		m, got, err = a.one(ctx, b, uid, heading, true)
	}
	for try := 0; err == nil && got == 0; try++ {
		there, err := a.search(ctx, b, remote.NewUIDSet(uid), 1)
		switch {
		case err != nil:
			return nil, err
		case there.Len() == 0:
			return nil, fmt.Errorf("%w: UID %d in %q", remote.ErrNoMessage, uid, at.Mailbox)
		case try > 0:
			return nil, fmt.Errorf("%w: no header of UID %d in %q", remote.ErrServer, uid, at.Mailbox)
		}
		if m, got, err = a.one(ctx, b, uid, header, false); err != nil {
			return nil, err
		}
	}
	return m.Header, err
}
