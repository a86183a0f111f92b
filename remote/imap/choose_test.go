package imap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

func TestABodyDoesNotWaitForAListing(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2)...)
	hold, held := make(chan struct{}), make(chan struct{})
	s.hook = func(c *peer, tag, command string) bool {
		if strings.Contains(command, "RFC822.SIZE") {
			close(held)
			<-hold
		}
		return false
	}
	a := s.open()
	done := make(chan error, 1)
	go func() {
		_, err := a.Sync(context.Background(), "INBOX", remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return nil })
		done <- err
	}()
	<-held
	if got, err := read(t, a, 7, 2); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	close(hold)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestCancelLeavesTheConnectionUsable(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2)...)
	hold, held := make(chan struct{}), make(chan struct{}, 10)
	s.hook = func(c *peer, tag, command string) bool {
		if strings.HasPrefix(command, "UID FETCH 1 ") {
			held <- struct{}{}
			<-hold
		}
		return false
	}
	a := s.open()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- a.Bodies(ctx, remote.Place{Mailbox: "INBOX", UIDValidity: 7}, []remote.UID{1}, func(remote.UID, []byte) {
			t.Error("a body was handed out after the end")
		})
	}()
	<-held
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	close(hold)
	if got, err := read(t, a, 7, 2); err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if n := a.Stats().Dials; n != 1 {
		t.Fatalf("%d connections", n)
	}
}

func TestCloseEndsCallsThatWait(t *testing.T) {
	s := newServer(t, fullCaps, mail(1)...)
	held, hold := make(chan struct{}), make(chan struct{})
	s.hook = func(c *peer, tag, command string) bool {
		if strings.HasPrefix(command, "EXAMINE") {
			close(held)
			<-hold
		}
		return false
	}
	a := s.open()
	done := make(chan error, 1)
	go func() { _, err := read(t, a, 7, 1); done <- err }()
	<-held
	a.Close()
	close(hold)
	wantError(t, <-done, remote.ErrClosed)
	wantError(t, a.Connect(inTime(t)), remote.ErrClosed)
}

func TestMailboxesTakeTurnsOnOneConnection(t *testing.T) {
	s := newServer(t, fullCaps, mail(upTo(20)...)...)
	s.hook = func(c *peer, tag, command string) bool {
		if strings.HasPrefix(command, `EXAMINE "other"`) {
			fmt.Fprintf(c.w, "* 1 EXISTS\r\n* OK [UIDVALIDITY 9] .\r\n* OK [UIDNEXT 2] .\r\n%s OK\r\n", tag)
			return true
		}
		return false
	}
	a := s.open()
	var all sync.WaitGroup
	for n := range 60 {
		all.Go(func() {
			mailbox, validity := "INBOX", uint32(7)
			if n%3 == 0 {
				mailbox, validity = "other", 9
			}
			got := 0
			err := a.Bodies(inTime(t), remote.Place{Mailbox: mailbox, UIDValidity: validity}, []remote.UID{remote.UID(n%20 + 1)},
				func(remote.UID, []byte) { got++ })
			if err != nil || got != 1 {
				t.Errorf("UID %d in %s: %d came, %v", n%20+1, mailbox, got, err)
			}
		})
	}
	all.Wait()
	if n := a.Stats().Dials; n != 1 {
		t.Errorf("%d connections", n)
	}
}

// There are servers that lock a mailbox while they open it, and have a second connection that opens it wait for a second.
func TestAMailboxIsOpenedOnOneConnectionAfterTheOther(t *testing.T) {
	for _, connections := range []int{2, 4} {
		s := newServer(t, fullCaps, mail(upTo(20)...)...)
		var mu sync.Mutex
		opening, opened := 0, 0
		s.hook = func(c *peer, tag, command string) bool {
			if !strings.HasPrefix(command, "EXAMINE") {
				return false
			}
			mu.Lock()
			opening, opened = opening+1, opened+1
			if opening > 1 {
				t.Errorf("%s on %d connections at the same time", command, opening)
			}
			mu.Unlock()
			time.Sleep(20 * time.Millisecond) // long enough for the readers to ask for it
			mu.Lock()
			opening--
			mu.Unlock()
			return false
		}
		a := s.open(func(_ *dial.Server, o *Options) { o.Connections = connections })
		if err := a.Connect(inTime(t)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "both connections are up", func() bool { return a.Stats().Connections == 2 })
		var all sync.WaitGroup
		for n := range 10 {
			all.Go(func() {
				got, err := read(t, a, 7, remote.UID(n+1))
				if err != nil || len(got) != 1 {
					t.Errorf("UID %d: %d came, %v", n+1, len(got), err)
				}
			})
			all.Go(func() {
				if _, err := a.Header(inTime(t), remote.Place{Mailbox: "INBOX", UIDValidity: 7}, remote.UID(n+11)); err != nil {
					t.Errorf("header of UID %d: %v", n+11, err)
				}
			})
		}
		all.Wait()
		if opened > 2 || a.Stats().Dials > 2 {
			t.Errorf("it was opened %d times, on %d connections", opened, a.Stats().Dials)
		}
	}
}

// A connection on which the server does not answer EXAMINE holds up its own users, and others for a third of the timeout.
func TestAMailboxThatIsNotOpenedInTimeIsOpenedElsewhere(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2)...)
	hold, held := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	var heldOnce atomic.Bool
	s.hook = func(c *peer, tag, command string) bool {
		if strings.HasPrefix(command, "EXAMINE") && !heldOnce.Swap(true) {
			close(held)
			<-hold
		}
		return false
	}
	a := s.open(func(r *dial.Server, _ *Options) { r.Timeout = 6 * time.Second })
	if err := a.Connect(inTime(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both connections are up", func() bool { return a.Stats().Connections == 2 })
	stuck := make(chan error, 1)
	go func() {
		_, err := read(t, a, 7, 1)
		stuck <- err
	}()
	<-held
	if got, err := read(t, a, 7, 2); err != nil || len(got) != 1 {
		t.Errorf("the other reader: %d came, %v", len(got), err)
	}
	select {
	case err := <-stuck:
		t.Errorf("the first reader was answered first: %v", err)
	default:
	}
	release()
	if err := <-stuck; err != nil {
		t.Error(err)
	}
}
