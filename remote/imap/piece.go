package imap

import (
	"context"
	"errors"
	"fmt"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailfs/mailfs/remote"
)

// errOtherPiece says that something else came than the piece that was asked for.
var errOtherPiece = fmt.Errorf("%w: the server sends another part of the body than was asked for", remote.ErrUnsupported)

// Piece implements remote.Account: BODY.PEEK[]<off.n> of RFC 9051, section 6.4.5. ErrUnsupported where the server answers
// with something else, as with the whole body.
func (a *Account) Piece(ctx context.Context, at remote.Place, uid remote.UID,
	off, n int64) ([]byte, error) {
	b := box{bodies, at}
	set := remote.NewUIDSet(uid)
	options := &goimap.FetchOptions{UID: true, BodySection: []*goimap.FetchItemBodySection{
		{Peek: true, Partial: &goimap.SectionPartial{Offset: off, Size: n}},
	}}
	for try := range 2 { // as with whole bodies, go-imap may have taken the answer for that to another command
		var piece []byte
		var other bool
		err := a.pool.use(ctx, b.fetching(set, false), func(s *session) error {
			return s.fetch(set, options, try > 0, func(data *imapclient.FetchMessageData) error {
				got, err := readPiece(data, uid, off, n)
				switch {
				case errors.Is(err, errOtherPiece):
					other, err = true, nil
				case got != nil:
					piece = got
				}
				return err
			})
		})
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err() // piece may still be written
		case err != nil:
			return nil, fmt.Errorf("UID %d in %q: %w", uid, at.Mailbox, err)
		case piece != nil:
			return piece, nil
		case other:
			return nil, fmt.Errorf("UID %d in %q: %w", uid, at.Mailbox, errOtherPiece)
		}
	}
	there, err := a.search(ctx, b, set, 1)
	if err == nil && there.Len() == 0 {
		err = remote.ErrNoMessage
	} else if err == nil {
		err = fmt.Errorf("%w: the server sends no piece of the body", remote.ErrServer)
	}
	return nil, fmt.Errorf("UID %d in %q: %w", uid, at.Mailbox, err)
}

// readPiece reads one FETCH response. The piece is nil when the response does not hold it; if the response holds another one,
// the error is errOtherPiece. Any other error is the end of the connection.
func readPiece(data *imapclient.FetchMessageData, uid remote.UID, off, n int64) (piece []byte, err error) {
	found, other := false, false
	for item := data.Next(); item != nil; item = data.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			found = remote.UID(item.UID) == uid
		case imapclient.FetchItemDataBodySection:
			s := item.Section
			if s.Specifier != goimap.PartSpecifierNone || len(s.Part) > 0 || s.Partial == nil || s.Partial.Offset != off ||
				item.Literal != nil && item.Literal.Size() > n {
				other = true
				continue
			}
			if item.Literal == nil { // an empty string, or NIL
				piece = []byte{}
			} else if piece, err = drain(item.Literal); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case !found:
		return nil, nil
	case piece == nil && other:
		return nil, errOtherPiece
	}
	return piece, nil
}
