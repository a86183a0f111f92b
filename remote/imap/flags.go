package imap

import (
	"context"
	"errors"
	"sync"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/imap/wire"
)

// flagChanges returns the jobs that ask for the flags of known messages.
func (y *syncing) flagChanges(since remote.Version, known *remote.UIDSet) []job {
	ranges := known.Ranges()
	if len(ranges) == 0 || y.a.flags.has(y.Mailbox) {
		return nil
	}
	if since.ModSeq != 0 && y.now.ModSeq >= since.ModSeq {
		if y.now.ModSeq == since.ModSeq {
			return nil
		}
		set := &remote.UIDSet{}
		set.AddRange(ranges[0].First, known.Last())
		return []job{func(ctx context.Context) error { return y.fetchFlags(ctx, set, since.ModSeq) }}
	}
	var jobs []job
	for _, set := range wire.Chunks(known, nil, flagsAtOnce) {
		jobs = append(jobs, func(ctx context.Context) error { return y.fetchFlags(ctx, set, 0) })
	}
	return jobs
}

// fetchFlags asks for the flags of the messages in set that have changed since a MODSEQ, or of all of them if that is 0. Where
// the answer can't be parsed, the flags of the mailbox are not asked for again: they stay as they are known.
func (y *syncing) fetchFlags(ctx context.Context, set *remote.UIDSet, changedSince uint64) error {
	options := flags.options()
	options.ChangedSince = changedSince
	for _, alone := range []bool{false, true} {
		err := y.a.pool.use(ctx, y.fetching(set, alone), func(s *session) error {
			var batch []remote.FlagChange
			flush := func() {
				if len(batch) > 0 {
					y.send(ctx, remote.Delta{Flags: batch})
				}
				batch = nil
			}
			err := s.fetch(set, options, false, func(data *imapclient.FetchMessageData) error {
				m, got, _, err := readMessage(data, nil)
				if err != nil || got&flags == 0 {
					return err
				}
				if batch = append(batch, remote.FlagChange{UID: m.UID, Flags: m.Flags}); len(batch) == batchSize {
					flush()
				}
				return nil
			})
			flush()
			return err
		})
		switch {
		case errors.Is(err, wire.ErrUnparsable) && alone:
			y.a.flags.add(y.Mailbox)
			y.a.log.Warn("the flags in a mailbox can't be understood: they are not refreshed any more", "mailbox", y.Mailbox, "error", err)
			return nil
		case errors.Is(err, wire.ErrUnparsable):
		default:
			return err
		}
	}
	return nil
}

// unreadable is a set of mailboxes whose flags can't be understood.
type unreadable struct {
	mu  sync.Mutex // guards set
	set map[string]bool
}

func (u *unreadable) has(mailbox string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.set[mailbox]
}

func (u *unreadable) add(mailbox string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.set == nil {
		u.set = map[string]bool{}
	}
	u.set[mailbox] = true
}
