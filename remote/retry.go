package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Retry returns the account with what failed for a lost connection done once more: a read that was under way when the
// connection dropped goes on, on the new one, with what it has not got yet.
func Retry(a Account) Account { return &retrying{a} }

type retrying struct{ Account }

// once calls do, and a second time if the connection was lost in the first. A connection that is lost twice counts as
// unreachable.
func once(ctx context.Context, do func() error) error {
	err := do()
	if errors.Is(err, ErrLost) && ctx.Err() == nil {
		if err = do(); errors.Is(err, ErrLost) {
			err = fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
	}
	return err
}

func (r *retrying) Mailboxes(ctx context.Context) (list []Mailbox, err error) {
	err = once(ctx, func() error {
		list, err = r.Account.Mailboxes(ctx)
		return err
	})
	return list, err
}

func (r *retrying) Sync(ctx context.Context, mailbox string, since Version, known *UIDSet,
	emit func(Delta) error) (v Version, err error) {
	have := known.Minus(nil)
	err = once(ctx, func() error {
		v, err = r.Account.Sync(ctx, mailbox, since, have.Minus(nil), func(d Delta) error {
			if d.Reset {
				have, since = &UIDSet{}, Version{}
			}
			since.UIDValidity = d.UIDValidity // should it be another one the second time, this one is void
			for _, m := range d.Messages {
				have.Add(m.UID)
			}
			return emit(d)
		})
		return err
	})
	return v, err
}

func (r *retrying) Bodies(ctx context.Context, prio Priority, mailbox string, validity uint32, uids []UID,
	got func(UID, []byte)) error {
	var mu sync.Mutex // guards arrived
	arrived := make(map[UID]bool, len(uids))
	return once(ctx, func() error {
		mu.Lock()
		missing := make([]UID, 0, len(uids))
		for _, u := range uids {
			if !arrived[u] {
				missing = append(missing, u)
			}
		}
		mu.Unlock()
		if len(missing) == 0 {
			return nil
		}
		return r.Account.Bodies(ctx, prio, mailbox, validity, missing, func(u UID, body []byte) {
			mu.Lock()
			arrived[u] = true
			mu.Unlock()
			got(u, body)
		})
	})
}

func (r *retrying) Piece(ctx context.Context, prio Priority, mailbox string, validity uint32, uid UID, off, n int64) (piece []byte, err error) {
	err = once(ctx, func() error {
		piece, err = r.Account.Piece(ctx, prio, mailbox, validity, uid, off, n)
		return err
	})
	return piece, err
}

func (r *retrying) Header(ctx context.Context, mailbox string, validity uint32, uid UID) (header []byte, err error) {
	err = once(ctx, func() error {
		header, err = r.Account.Header(ctx, mailbox, validity, uid)
		return err
	})
	return header, err
}

func (r *retrying) Quota(ctx context.Context) (used, limit int64, err error) {
	err = once(ctx, func() error {
		used, limit, err = r.Account.Quota(ctx)
		return err
	})
	return used, limit, err
}
