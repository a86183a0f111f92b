package imap

import (
	"context"
	"errors"
	"fmt"
	"math"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailfs/mailfs/remote"
)

// Search implements remote.Account: UID SEARCH of RFC 9051, section 6.4.4, with the result as ranges (RFC 4731) where the
// server can give that. A search that the server refuses, as for its charset, is ErrUnsupported.
func (a *Account) Search(ctx context.Context, mailbox string, q remote.Query) (uint32, *remote.UIDSet, error) {
	criteria := &goimap.SearchCriteria{
		Body: q.Body, Text: q.Text, Since: q.Since, Before: q.Before, Larger: q.Larger, Smaller: q.Smaller,
	}
	for _, field := range []struct {
		name   string
		values []string
	}{{"From", q.From}, {"To", q.To}, {"Subject", q.Subject}} {
		for _, v := range field.values {
			criteria.Header = append(criteria.Header, goimap.SearchCriteriaHeaderField{Key: field.name, Value: v})
		}
	}
	if q.Unread {
		criteria.NotFlag = append(criteria.NotFlag, goimap.FlagSeen)
	}
	if q.Flagged {
		criteria.Flag = append(criteria.Flag, goimap.FlagFlagged)
	}
	if q.Answered {
		criteria.Flag = append(criteria.Flag, goimap.FlagAnswered)
	}
	var validity uint32
	var found *remote.UIDSet
	request := &request{lane: listing, mailbox: mailbox, single: true}
	err := a.pool.use(ctx, request, func(s *session) (err error) {
		_, box := a.pool.openOn(s)
		validity = box.UIDValidity
		found, err = s.searchFor(criteria, math.MaxInt)
		if no, ok := errors.AsType[*goimap.Error](err); ok {
			err = fmt.Errorf("%w: SEARCH: %w", remote.ErrUnsupported, no)
		}
		return err
	})
	if ctx.Err() != nil {
		return 0, nil, ctx.Err() // validity and found may still be written
	}
	if err != nil {
		return 0, nil, err
	}
	return validity, found, nil
}
