package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Retry returns an account that does once more what failed for a lost connection: a read that was under way when the
// connection dropped goes on, on the new one, with the messages that have not arrived yet. Connect is not tried again.
func Retry(a Account) Account { return &retrying{inner: a} }

// retrying states every method of Account, so that a new one can't go without its retry unnoticed.
type retrying struct{ inner Account }

func (r *retrying) Connect(ctx context.Context) error { return r.inner.Connect(ctx) }

func (r *retrying) Stats() Stats { return r.inner.Stats() }

func (r *retrying) Close() error { return r.inner.Close() }

// once calls do, and a second time if the connection was lost during the first call. A server that loses the connection
// twice counts as unreachable.
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
		list, err = r.inner.Mailboxes(ctx)
		return err
	})
	return list, err
}

func (r *retrying) Versions(ctx context.Context, mailboxes []string) (versions []Version, err error) {
	err = once(ctx, func() error {
		versions, err = r.inner.Versions(ctx, mailboxes)
		return err
	})
	return versions, err
}

func (r *retrying) Sync(ctx context.Context, mailbox string, since, now Version, known *UIDSet,
	emit func(Delta) error) (v Version, err error) {
	have := known.Minus(nil)
	err = once(ctx, func() error {
		v, err = r.inner.Sync(ctx, mailbox, since, now, have.Minus(nil), func(d Delta) error {
			if d.Reset {
				have, since = &UIDSet{}, Version{}
			}
			since.UIDValidity = d.UIDValidity // should the second call find another one, what the first emitted is void
			for _, m := range d.Messages {
				have.Add(m.UID)
			}
			return emit(d)
		})
		return err
	})
	return v, err
}

func (r *retrying) Bodies(ctx context.Context, at Place, uids []UID, got func(UID, []byte)) error {
	return retryMissing(ctx, uids, func(missing []UID, arrived func(UID)) error {
		return r.inner.Bodies(ctx, at, missing, func(u UID, body []byte) {
			arrived(u)
			got(u, body)
		})
	})
}

// retryMissing calls fetch for messages, and a second time for those of them that had not arrived when the connection was
// lost. fetch calls arrived for each message that came.
func retryMissing(ctx context.Context, uids []UID, fetch func(missing []UID, arrived func(UID)) error) error {
	var mu sync.Mutex // guards got
	got := make(map[UID]bool, len(uids))
	return once(ctx, func() error {
		mu.Lock()
		missing := make([]UID, 0, len(uids))
		for _, u := range uids {
			if !got[u] {
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
			got[u] = true
		})
	})
}

func (r *retrying) Piece(ctx context.Context, at Place, uid UID, off, n int64) (piece []byte, err error) {
	err = once(ctx, func() error {
		piece, err = r.inner.Piece(ctx, at, uid, off, n)
		return err
	})
	return piece, err
}

func (r *retrying) Header(ctx context.Context, at Place, uid UID) (header []byte, err error) {
	err = once(ctx, func() error {
		header, err = r.inner.Header(ctx, at, uid)
		return err
	})
	return header, err
}

func (r *retrying) Quota(ctx context.Context) (used, limit int64, err error) {
	err = once(ctx, func() error {
		used, limit, err = r.inner.Quota(ctx)
		return err
	})
	return used, limit, err
}

func (r *retrying) Structures(ctx context.Context, at Place, uids []UID, got func(UID, *Part, []byte)) error {
	return retryMissing(ctx, uids, func(missing []UID, arrived func(UID)) error {
		return r.inner.Structures(ctx, at, missing, func(u UID, p *Part, header []byte) {
			arrived(u)
			got(u, p, header)
		})
	})
}

func (r *retrying) Sections(ctx context.Context, at Place, uids []UID, sections []Section,
	got func(UID, [][]byte)) error {
	return retryMissing(ctx, uids, func(missing []UID, arrived func(UID)) error {
		return r.inner.Sections(ctx, at, missing, sections, func(u UID, content [][]byte) {
			arrived(u)
			got(u, content)
		})
	})
}

func (r *retrying) Decoded(ctx context.Context, at Place, uid UID, number string) (content []byte, err error) {
	err = once(ctx, func() error {
		content, err = r.inner.Decoded(ctx, at, uid, number)
		return err
	})
	return content, err
}

func (r *retrying) DecodedSizes(ctx context.Context, at Place, uid UID, numbers []string) (sizes []int64, err error) {
	err = once(ctx, func() error {
		sizes, err = r.inner.DecodedSizes(ctx, at, uid, numbers)
		return err
	})
	return sizes, err
}

func (r *retrying) Search(ctx context.Context, mailbox string, q Query) (validity uint32, found *UIDSet, err error) {
	err = once(ctx, func() error {
		validity, found, err = r.inner.Search(ctx, mailbox, q)
		return err
	})
	return validity, found, err
}
