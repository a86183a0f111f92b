package cache

import (
	"sort"
	"time"
)

// Status is what a cache is doing, for people and programs to read.
type Status struct {
	Time     time.Time       `json:"time"`
	Memory   Usage           `json:"memory"` // bodies in memory, of all accounts
	Disk     Usage           `json:"disk"`   // bodies on disk that count against the budget, of all accounts
	Accounts []AccountStatus `json:"accounts"`
}

// Usage of a budget of bytes.
type Usage struct {
	Messages int   `json:"messages"`
	Bytes    int64 `json:"bytes"`
	Budget   int64 `json:"budget"`
}

// AccountStatus is what an account is doing.
type AccountStatus struct {
	Name        string       `json:"name"`
	Server      string       `json:"server,omitempty"`
	Error       string       `json:"error,omitempty"` // why the server was not reached the last time
	Failure     error        `json:"-"`               // the same, for callers that have words of their own for it
	Store       string       `json:"store,omitempty"` // directory; empty where nothing is kept on disk
	Connections int          `json:"connections"`
	Dials       int64        `json:"dials"`
	BytesIn     int64        `json:"bytes_in"`
	BytesOut    int64        `json:"bytes_out"`
	Fetched     int64        `json:"messages_fetched"`
	FromMemory  int64        `json:"messages_from_memory"`
	FromDisk    int64        `json:"messages_from_disk"`
	Mailboxes   int          `json:"mailboxes"`
	Listed      int          `json:"mailboxes_listed"`
	Messages    int          `json:"messages_listed"`
	Syncing     []SyncStatus `json:"syncing,omitempty"`
}

// SyncStatus is how far a synchronisation is.
type SyncStatus struct {
	Mailbox string    `json:"mailbox"`
	Since   time.Time `json:"since"`
	Done    int       `json:"messages_done"`  // messages that were listed so far
	Total   int       `json:"messages_total"` // messages in the mailbox; 0 while that is not known
}

// Status tells what the cache is doing. It waits for nothing.
func (c *Cache) Status() Status {
	s := Status{Time: time.Now(), Memory: Usage{Budget: c.options.Memory}}
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
			s.Syncing = append(s.Syncing, SyncStatus{m.name, p.since, int(p.done.Load()), int(p.total.Load())})
		}
	}
	sort.Slice(s.Syncing, func(i, j int) bool { return s.Syncing[i].Mailbox < s.Syncing[j].Mailbox })
	return s
}
