package cache_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/remotetest"
)

// reticent is an account whose server does not tell the headers of messages for a while.
type reticent struct {
	*remotetest.Account
	silent atomic.Bool
}

func (r *reticent) Sync(ctx context.Context, mailbox string, since, now remote.Version, known *remote.UIDSet,
	emit func(remote.Delta) error) (remote.Version, error) {
	return r.Account.Sync(ctx, mailbox, since, now, known, func(d remote.Delta) error {
		for i := range d.Messages {
			if r.silent.Load() {
				d.Messages[i].Header, d.Messages[i].Incomplete = nil, true
			}
		}
		return emit(d)
	})
}

// Close leaves the account open, for the next cache.
func (r *reticent) Close() error { return nil }

func TestWhatAServerDoesNotTellNowIsListedAgain(t *testing.T) {
	server := &reticent{Account: remotetest.NewAccount()}
	server.Create("INBOX")
	server.Put("INBOX", letter("one", "first"))
	store := t.TempDir()
	open := func() (*cache.Cache, func() *cache.Table) {
		c := cache.New(cache.Options{Memory: 1 << 20, Disk: 1 << 20, Timeout: 10 * time.Second, Refresh: time.Nanosecond})
		a, err := c.Account("test", server, cache.AccountOptions{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		return c, func() *cache.Table {
			list, err := a.Mailboxes(t.Context())
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			table, err := a.Mailbox(list[0]).Table(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return table
		}
	}
	c, list := open()
	before := list().At(0)
	server.silent.Store(true)
	server.Put("INBOX", letter("two", "second"))
	table := list()
	if table.Len() != 2 || table.At(0) != before {
		t.Fatalf("%d messages, the first is %v and was %v", table.Len(), table.At(0), before)
	}
	unnamed := table.At(1)
	server.silent.Store(false)
	deadline := time.Now().Add(30 * time.Second)
	for table = list(); table.At(1).Name == unnamed.Name; table = list() {
		if time.Now().After(deadline) {
			t.Fatalf("the second message is still called %s", unnamed.Name)
		}
	}
	if want := "2023-11-14_alice@example.com_two_2.eml"; table.At(1).Name != want || table.At(0) != before {
		t.Fatalf("messages are %v and %v", table.At(0), table.At(1))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAStoreKeepsNothingThatAServerDidNotTell(t *testing.T) {
	server := &reticent{Account: remotetest.NewAccount()}
	server.silent.Store(true)
	server.Create("INBOX")
	server.Put("INBOX", letter("one", "first"))
	store := t.TempDir()
	for _, want := range []string{"unknown", "alice"} {
		c := cache.New(cache.Options{Memory: 1 << 20, Disk: 1 << 20, Timeout: 10 * time.Second, Refresh: time.Hour})
		a, err := c.Account("test", server, cache.AccountOptions{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		list, err := a.Mailboxes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		table, err := a.Mailbox(list[0]).Table(t.Context())
		if err != nil || table.Len() != 1 || !strings.Contains(table.At(0).Name, want) {
			t.Fatalf("%v, %v", table, err)
		}
		if err := c.Close(); err != nil { // the server keeps its mail
			t.Fatal(err)
		}
		server.silent.Store(false)
	}
}
