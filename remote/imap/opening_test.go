package imap

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

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
	a := s.open(func(r *dial.Server, _ *Options) { r.Timeout = 3 * time.Second })
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
