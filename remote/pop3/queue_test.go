package pop3

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

func TestACancelledReaderLetsOthersGoOn(t *testing.T) {
	release := make(chan struct{})
	r := startServer(t, letters(3), func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if whole(line, 2) {
				return &misdeed{until: release}
			}
			return nil
		}
	})
	a := r.account(time.Minute)
	l := list(t, a)
	uids := l.uids(t, "letter 2", "letter 3")
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error)
	go func() {
		waiting <- a.Bodies(ctx, remote.Place{Mailbox: "INBOX", UIDValidity: 1}, uids[:1], func(remote.UID, []byte) {
			t.Error("a message came for who has gone")
		})
	}()
	eventually(t, "message 2 is asked for", func() bool { return len(r.asked()) > 0 })
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(release)
	got, err := bodies(t, a, remote.Foreground, uids[1])
	if err != nil || len(got) != 1 {
		t.Errorf("the next reader: %v, %v", got, err)
	}
	if n := len(r.said("AUTH")); n > 2 {
		t.Errorf("signed in %d times", n)
	}
}

func TestRequestsGoOutWhileAnAnswerIsAwaited(t *testing.T) {
	certificate := httptest.NewTLSServer(nil)
	certificate.Close() // only its certificate is wanted
	letter := letters(2)
	for name, change := range map[string]func(*responder){
		"in the clear": func(*responder) {},
		"over TLS":     func(r *responder) { r.certificate = certificate },
	} {
		t.Run(name, func(t *testing.T) {
			r := startServer(t, letter, func(r *responder) {
				change(r)
				r.misbehave = func(_ int, line string) *misdeed {
					switch {
					case whole(line, 1):
						return &misdeed{raw: "+OK\r\n" + letter[0][:10]}
					case whole(line, 2):
						return &misdeed{raw: letter[0][10:] + ".\r\n+OK\r\n" + letter[1] + ".\r\n"}
					}
					return nil
				}
			})
			a := r.account(10 * time.Second)
			l := list(t, a)
			uids := l.uids(t, "letter 1", "letter 2")
			first := make(chan error)
			go func() {
				got, err := bodies(t, a, remote.Readahead, uids[0])
				if err == nil && got[uids[0]] != letter[0] {
					err = fmt.Errorf("got %q", got[uids[0]])
				}
				first <- err
			}()
			eventually(t, "the session waits for message 1", func() bool {
				a.mu.Lock()
				c := a.serving
				a.mu.Unlock()
				if c == nil || len(r.asked()) == 0 {
					return false
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.waiting
			})
			got, err := bodies(t, a, remote.Foreground, uids[1])
			if err != nil || got[uids[1]] != letter[1] {
				t.Errorf("the second: %q, %v", got[uids[1]], err)
			}
			if err := <-first; err != nil {
				t.Errorf("the first: %v", err)
			}
		})
	}
}

func TestTheNextIsAskedForBeforeALargeOneHasCome(t *testing.T) {
	large := "Subject: large\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 4<<20/18)
	small := letters(1)[0]
	half := len(large) - maxOutstanding/2
	r := startServer(t, []string{large, small}, func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			switch {
			case whole(line, 1):
				return &misdeed{raw: "+OK\r\n" + large[:half]}
			case whole(line, 2):
				return &misdeed{raw: large[half:] + ".\r\n+OK\r\n" + small + ".\r\n"}
			}
			return nil
		}
	})
	a := r.account(10 * time.Second)
	l := list(t, a)
	uids := l.uids(t, "large", "letter 1")
	got, err := bodies(t, a, remote.Readahead, uids...)
	if err != nil || got[uids[0]] != large || got[uids[1]] != small {
		t.Errorf("%d bodies, %v", len(got), err)
	}
}

func TestReadersComeFirst(t *testing.T) {
	release := make(chan struct{})
	r := startServer(t, letters(60), func(r *responder) {
		r.capabilities = []string{"UIDL", "TOP"} // one at a time
		r.misbehave = func(_ int, line string) *misdeed {
			if whole(line, 1) {
				return &misdeed{until: release}
			}
			return nil
		}
	})
	a := r.account(time.Minute)
	l := list(t, a)
	var wg sync.WaitGroup
	ask := func(prio remote.Priority, texts ...string) {
		uids := l.uids(t, texts...)
		wg.Go(func() { _, _ = bodies(t, a, prio, uids...) })
		eventually(t, "requests are queued", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return len(a.queue[prio]) >= len(uids) || len(r.asked()) == 1 && len(uids) == 1
		})
	}
	ask(remote.Background, "letter 1")
	eventually(t, "message 1 is asked for", func() bool { return len(r.asked()) == 1 })
	ask(remote.Background, "letter 10", "letter 11")
	ask(remote.Readahead, "letter 20", "letter 21")
	ask(remote.Foreground, "letter 30", "letter 31")
	close(release)
	wg.Wait()
	var got []string
	for _, line := range r.asked() {
		got = append(got, strings.Fields(line)[1])
	}
	if want := []string{"1", "30", "31", "20", "21", "10", "11"}; !slices.Equal(got, want) {
		t.Errorf("asked in the order %v", got)
	}
}
