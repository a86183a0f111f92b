package cache

import (
	"sort"
	"time"

	"github.com/mailfs/mailfs/cache/status"
)

// What a cache tells of itself, see package status.
type (
	Status        = status.Status
	AccountStatus = status.Account
	SyncStatus    = status.Sync
)

// Status tells what the cache is doing. It waits for nothing.
func (c *Cache) Status() Status {
	s := Status{Time: time.Now(), Memory: status.Usage{Budget: c.options.Memory}}
	s.Memory.Messages, s.Memory.Bytes = c.bodies.Usage()
	s.Disk.Messages, s.Disk.Bytes = c.disk.Usage()
	s.Disk.Budget = c.options.Disk
	for _, a := range c.accounts {
		s.Accounts = append(s.Accounts, a.status())
	}
	return s
}

// status tells what the account is doing.
func (a *Account) status() AccountStatus {
	stats := a.remote.Stats()
	s := AccountStatus{
		Name: a.name, Connections: stats.Connections, Dials: stats.Dials, BytesIn: stats.BytesIn, BytesOut: stats.BytesOut,
		Fetched: stats.Bodies, FromMemory: a.reads.fromMemory.Load(), FromDisk: a.reads.fromDisk.Load(),
	}
	if a.store != nil {
		s.Store = a.store.Dir()
	}
	if err := a.contact.LastError(); err != nil {
		s.Failure, s.Error = err, err.Error()
	}
	list, _ := a.mailboxes.Known()
	s.Mailboxes = len(list)
	for _, m := range a.mailboxesUsed() {
		if t, ok := m.table.Known(); ok {
			s.Listed++
			s.Messages += t.Len()
		}
		if p := m.syncs.progress.Load(); p != nil {
			s.Syncing = append(s.Syncing, status.Sync{Mailbox: m.name, Since: p.since, Done: int(p.done.Load()), Total: int(p.total.Load())})
		}
	}
	sort.Slice(s.Syncing, func(i, j int) bool { return s.Syncing[i].Mailbox < s.Syncing[j].Mailbox })
	return s
}
