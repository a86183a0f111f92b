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

func (r *retrying) Versions(ctx context.Context, mailboxes []string) (versions []Version, err error) {
	err = once(ctx, func() error {
		versions, err = r.Account.Versions(ctx, mailboxes)
		return err
	})
	return versions, err
}

func (r *retrying) Sync(ctx context.Context, mailbox string, since, now Version, known *UIDSet,
	emit func(Delta) error) (v Version, err error) {
	have := known.Minus(nil)
	err = once(ctx, func() error {
		v, err = r.Account.Sync(ctx, mailbox, since, now, have.Minus(nil), func(d Delta) error {
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

func (r *retrying) Bodies(ctx context.Context, at Place, uids []UID,
	got func(UID, []byte)) error {
	return r.missing(ctx, uids, func(missing []UID, arrived func(UID)) error {
		return r.Account.Bodies(ctx, at, missing, func(u UID, body []byte) {
			arrived(u)
			got(u, body)
		})
	})
}

// missing calls fetch for messages, and a second time for those of them that had not arrived when the connection was
// lost.
func (r *retrying) missing(ctx context.Context, uids []UID, fetch func(missing []UID, arrived func(UID)) error) error {
	var mu sync.Mutex // guards here
	here := make(map[UID]bool, len(uids))
	return once(ctx, func() error {
		mu.Lock()
		missing := make([]UID, 0, len(uids))
		for _, u := range uids {
			if !here[u] {
				missing = append(missing, u)
			}
		}
		mu.Unlock()
		if len(missing) == 0 {
			return nil
		}
		return fetch(missing, func(u UID) {
			mu.Lock()
			defer mu.Unlock()
			here[u] = true
		})
	})
}

func (r *retrying) Piece(ctx context.Context, at Place, uid UID, off, n int64) (piece []byte, err error) {
	err = once(ctx, func() error {
		piece, err = r.Account.Piece(ctx, at, uid, off, n)
		return err
	})
	return piece, err
}

func (r *retrying) Header(ctx context.Context, at Place, uid UID) (header []byte, err error) {
	err = once(ctx, func() error {
		header, err = r.Account.Header(ctx, at, uid)
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

func (r *retrying) Structures(ctx context.Context, at Place, uids []UID,
	got func(UID, *Part, []byte)) error {
	return r.missing(ctx, uids, func(missing []UID, arrived func(UID)) error {
		return r.Account.Structures(ctx, at, missing, func(u UID, p *Part, header []byte) {
			arrived(u)
			got(u, p, header)
		})
	})
}

func (r *retrying) Sections(ctx context.Context, at Place, uids []UID,
	sections []Section, got func(UID, [][]byte)) error {
	return r.missing(ctx, uids, func(missing []UID, arrived func(UID)) error {
		return r.Account.Sections(ctx, at, missing, sections, func(u UID, content [][]byte) {
			arrived(u)
			got(u, content)
		})
	})
}

func (r *retrying) Decoded(ctx context.Context, at Place, uid UID, number string) (
	content []byte, err error) {
	err = once(ctx, func() error {
		content, err = r.Account.Decoded(ctx, at, uid, number)
		return err
	})
	return content, err
}

func (r *retrying) DecodedSizes(ctx context.Context, at Place, uid UID, numbers []string) (
	sizes []int64, err error) {
	err = once(ctx, func() error {
		sizes, err = r.Account.DecodedSizes(ctx, at, uid, numbers)
		return err
	})
	return sizes, err
}

func (r *retrying) Search(ctx context.Context, mailbox string, q Query) (validity uint32, found *UIDSet, err error) {
	err = once(ctx, func() error {
		validity, found, err = r.Account.Search(ctx, mailbox, q)
		return err
	})
	return validity, found, err
}
