package cache

import (
	"context"
	"time"

	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
)

// Prefetch says which messages are fetched to disk although nobody reads them.
type Prefetch = walk.Prefetch

// Which messages are prefetched.
const (
	PrefetchNone   = walk.PrefetchNone
	PrefetchRecent = walk.PrefetchRecent
	PrefetchAll    = walk.PrefetchAll
)

const (
	// prefetchQuiet is for how long no reader must have asked for anything before the next batch is fetched.
	prefetchQuiet = time.Second
	// prefetchEvery is the least time between two looks for new messages.
	prefetchEvery = time.Minute
)

// Start begins to prefetch. To be called once, when all else is set up.
func (c *Cache) Start() {
	for _, a := range c.accounts {
		if a.prefetch != PrefetchNone && a.store != nil {
			a.tasks.Run(a.prefetchAlways)
		}
	}
}

// prefetchAlways prefetches until the account is closed.
func (a *Account) prefetchAlways(ctx context.Context) {
	for {
		if err := a.prefetchOnce(ctx); err != nil && ctx.Err() == nil {
			a.log.Debug("prefetch failed and is tried again later", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(prefetchEvery, a.options.Refresh)):
		}
	}
}

// prefetchOnce fetches what is not on disk yet, mailbox by mailbox, in each the newest message first.
func (a *Account) prefetchOnce(ctx context.Context) error {
	list, err := a.Mailboxes(ctx)
	if err != nil {
		return err
	}
	for _, mb := range list {
		if !mb.Selectable {
			continue
		}
		if err := a.Mailbox(mb).prefetchMissing(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prefetchMissing fetches the messages of a mailbox that are not on disk.
func (m *Mailbox) prefetchMissing(ctx context.Context) error {
	a := m.account
	t, err := m.Table(ctx)
	if err != nil {
		return err
	}
	onDisk := func(ref Ref) bool { return a.disk.Has(a.diskKey(m, ref)) }
	room := func(bytes int64) bool {
		fits := a.disk.Room(a.store, bytes)
		if !fits {
			a.prefetchFull.Do(func() {
				a.log.Warn("prefetch ends: the cache is full", "mailbox", m.name, "budget", a.options.Disk)
			})
		}
		return fits
	}
	for batch := range a.prefetch.Batches(t, time.Now(), onDisk, room) {
		if err := m.prefetchBatch(ctx, t.UIDValidity(), batch); err != nil {
			return err
		}
	}
	return nil
}

// prefetchBatch fetches messages to disk and nowhere else, once readers have been quiet.
func (m *Mailbox) prefetchBatch(ctx context.Context, validity uint32, uids []remote.UID) error {
	a := m.account
	for wait := a.quietIn(); wait > 0; wait = a.quietIn() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
	holders := make(map[remote.UID]uint32, len(uids))
	for _, uid := range uids {
		holders[uid] = m.kept.Holders.Of(uid)
	}
	return m.askBodies(ctx, m.at(validity, remote.Background), uids, func(uid remote.UID, body []byte) {
		ref := Ref{UIDValidity: validity, UID: uid}
		m.verify(ref, int64(len(body)))
		m.kept.Write(ctx, ref, holders[uid], body)
	})
}

// quietIn returns how long the prefetch still has to wait if no reader asks for anything meanwhile.
func (a *Account) quietIn() time.Duration {
	return prefetchQuiet - time.Since(time.Unix(0, a.reads.last.Load()))
}
