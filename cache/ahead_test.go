package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/remotetest"
)

// inMemory makes a cache over an account in memory.
func inMemory(t *testing.T, ao cache.AccountOptions) (*remotetest.Account, *cache.Cache, *cache.Account) {
	t.Helper()
	server := remotetest.NewAccount()
	c := cache.New(cache.Options{Memory: 8 << 20, Disk: 64 << 20, Refresh: time.Hour, Timeout: time.Minute})
	t.Cleanup(func() { c.Close() })
	a, err := c.Account("test", server, ao)
	if err != nil {
		t.Fatal(err)
	}
	return server, c, a
}

// fill puts messages into a mailbox and returns their bodies.
func fill(server *remotetest.Account, mailbox string, n int) (bodies [][]byte) {
	for i := range n {
		header := fmt.Appendf(nil, "From: a@example.org\r\nSubject: message %d of %s\r\n\r\n", i, mailbox)
		bodies = append(bodies, append(header, bytes.Repeat(fmt.Appendf(nil, "line %d\r\n", i), 200)...))
	}
	server.Put(mailbox, bodies...)
	return bodies
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("in vain waited for this: " + what)
		}
	}
}

// What the kernel has taken is the message, and is asked for no more; what is left gets to its readers.
func TestALongWalkIsPushedToTheKernel(t *testing.T) {
	server, _, a := inMemory(t, cache.AccountOptions{Store: t.TempDir()})
	mail := fill(server, "INBOX", 600)
	type pushed struct {
		uid  remote.UID
		body []byte
	}
	taken := make(chan pushed, len(mail))
	a.OnPushed(func(p cache.Pushed) bool {
		taken <- pushed{p.Entry.UID, bytes.Clone(p.Body)}
		return true
	})
	m := inbox(t, a)
	tb := table(t, m)
	inKernel := map[remote.UID]bool{}
	for i := range tb.Len() {
		for len(taken) > 0 {
			p := <-taken
			if want := mail[tb.Index(p.uid)]; !bytes.Equal(p.body, want) {
				t.Fatalf("UID %d: the kernel has %.40q, want %.40q", p.uid, p.body, want)
			}
			inKernel[p.uid] = true
		}
		if e := tb.At(i); !inKernel[e.UID] {
			got, done, err := m.Bytes(t.Context(), e.Ref, 0, int(e.Size))
			if err != nil || !bytes.Equal(got, mail[i]) {
				t.Fatalf("%s: %.40q, %v", e.Name, got, err)
			}
			done()
		}
	}
	if len(inKernel) == 0 {
		t.Error("nothing was pushed to the kernel")
	}
	if n := a.Stats().Bodies; n > int64(len(mail)) {
		t.Errorf("%d messages cost %d fetches", len(mail), n)
	}
}

// A connection that is lost while it fetches ahead is no news to the reader: the reader's own request follows.
func TestAReaderAsksAgainWhereReadaheadLostItsConnection(t *testing.T) {
	server, _, a := inMemory(t, cache.AccountOptions{})
	mail := fill(server, "INBOX", 100)
	server.Intercept(func(_ context.Context, c remotetest.Call) error {
		if c.Method == "Bodies" && c.At.Priority == remote.Readahead {
			return fmt.Errorf("%w: the cable was cut", remote.ErrLost)
		}
		return nil
	})
	m := inbox(t, a)
	tb := table(t, m)
	for i := range tb.Len() {
		if got := read(t, m, tb.At(i)); !bytes.Equal(got, mail[i]) {
			t.Fatalf("%d: wrong bytes", i)
		}
	}
}

// Mailboxes that come next are listed with one question to the server about all of them, and only once.
func TestTheNextMailboxesAreListedBeforeTheyAreAskedFor(t *testing.T) {
	server, _, a := inMemory(t, cache.AccountOptions{})
	var next []*cache.Mailbox
	for i := range 10 {
		name := fmt.Sprintf("box%d", i)
		server.Create(name)
		fill(server, name, 3)
		next = append(next, a.Mailbox(remote.Mailbox{Name: name}))
	}
	a.ListAhead(next)
	eventually(t, "ten mailboxes are listed", func() bool { return len(server.Calls("Sync")) == 10 })
	for _, m := range next {
		if n := table(t, m).Len(); n != 3 {
			t.Errorf("%s has %d messages", m.Name(), n)
		}
	}
	if n := len(server.Calls("Versions")); n != 1 {
		t.Errorf("the server was asked %d times how the mailboxes are", n)
	}
	a.ListAhead(next)
	for _, m := range next {
		table(t, m)
	}
	if n := len(server.Calls("Sync")); n != 10 {
		t.Errorf("ten mailboxes were listed %d times", n)
	}
}

// A mailbox that can't be listed ahead is left alone until it is asked for, and holds up none of the others.
func TestAMailboxThatCanNotBeListedAheadIsListedWhenItIsAskedFor(t *testing.T) {
	server, c, a := inMemory(t, cache.AccountOptions{})
	var next []*cache.Mailbox
	for i := range 3 {
		name := fmt.Sprintf("box%d", i)
		server.Create(name)
		fill(server, name, 3)
		next = append(next, a.Mailbox(remote.Mailbox{Name: name}))
	}
	server.Intercept(func(_ context.Context, c remotetest.Call) error {
		if c.Method == "Sync" && c.At.Mailbox == "box0" {
			return remote.ErrForbidden
		}
		return nil
	})
	listed := func() int { return len(server.Calls("Sync")) }
	a.ListAhead(next)
	eventually(t, "three mailboxes are tried", func() bool { return listed() == 3 })
	eventually(t, "two are listed", func() bool { return c.Status().Accounts[0].Listed == 2 })
	for range 3 {
		a.ListAhead(next)
	}
	if n := listed(); n != 3 {
		t.Errorf("a mailbox that can't be listed was tried again: %d calls", n)
	}
	if _, err := next[0].Table(t.Context()); !errors.Is(err, remote.ErrForbidden) {
		t.Errorf("the mailbox that can't be listed: %v", err)
	}
	server.Intercept(nil)
	if n := table(t, next[0]).Len(); n != 3 {
		t.Errorf("it can be listed again, and has %d messages", n)
	}
}

// A server that knows no pieces is asked for one once; then each message is fetched whole.
func TestAServerWithoutPiecesIsAskedForOneOnce(t *testing.T) {
	server, _, a := inMemory(t, cache.AccountOptions{})
	server.WholeOnly = true
	body := append([]byte("Subject: large\r\n\r\n"), bytes.Repeat([]byte("large \r\n"), 1<<18)...)
	server.Put("INBOX", body, body)
	m := inbox(t, a)
	tb := table(t, m)
	for i := range 2 {
		if got := read(t, m, tb.At(i)); !bytes.Equal(got, body) {
			t.Errorf("%d: %d bytes", i, len(got))
		}
	}
	if n := len(server.Calls("Piece")); n != 1 {
		t.Errorf("%d pieces were asked for", n)
	}
}
