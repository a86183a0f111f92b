package pop3

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

func TestMuchWorkTakesOneSession(t *testing.T) {
	r := startServer(t, letters(200), nil)
	a := r.account(10 * time.Second)
	a.idle = time.Minute
	if err := a.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := list(t, a)
	var wg sync.WaitGroup
	for u := range l.messages {
		wg.Go(func() {
			if got, err := bodies(t, a, remote.Foreground, u); err != nil || len(got) != 1 {
				t.Errorf("%d bodies, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if n := len(r.said("AUTH")); n != 1 {
		t.Errorf("signed in %d times", n)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(r.said("QUIT")); n != 1 {
		t.Errorf("%d times QUIT", n)
	}
}

func TestASessionEndsWhenThereIsNoWork(t *testing.T) {
	r := startServer(t, letters(3), nil)
	a := r.account(10 * time.Second)
	list(t, a)
	eventually(t, "session ends", func() bool { return a.Stats().Connections == 0 })
	if n := len(r.said("QUIT")); n != 1 {
		t.Errorf("%d times QUIT", n)
	}
}

func TestReadersGoOnAfterALostConnection(t *testing.T) {
	for name, capabilities := range map[string][]string{"pipelined": everything, "one at a time": nil} {
		t.Run(name, func(t *testing.T) {
			var cut sync.Once
			r := startServer(t, letters(100), func(r *responder) {
				r.capabilities = capabilities
				r.misbehave = func(_ int, line string) (m *misdeed) {
					if whole(line, 40) {
						cut.Do(func() { m = &misdeed{raw: "+OK\r\nSubject: letter 4", close: true} })
					}
					return m
				}
			})
			a := r.account(10 * time.Second)
			l := list(t, a)
			var all []remote.UID
			for u := range l.messages {
				all = append(all, u)
			}
			got, err := bodies(t, remote.Retry(a), remote.Readahead, all...)
			if err != nil || len(got) != 100 {
				t.Fatalf("%d bodies, %v", len(got), err)
			}
			for u, b := range got {
				if !strings.Contains(b, strings.TrimRight(string(l.messages[u].Header), "\r\n")) {
					t.Errorf("%q is not the message of %q", b, l.messages[u].Header)
				}
			}
			if a.knowledge.serial {
				t.Error("one lost connection is taken for a server that can't pipeline")
			}
		})
	}
}

func TestALostConnectionIsAnErrorAfterTheOthersHaveCome(t *testing.T) {
	r := startServer(t, letters(3), func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if whole(line, 2) {
				return &misdeed{raw: "+OK\r\nhalf", close: true}
			}
			return nil
		}
	})
	a := r.account(10 * time.Second)
	l := list(t, a)
	uids := l.uids(t, "letter 1", "letter 2", "letter 3")
	got, err := bodies(t, a, remote.Foreground, uids...)
	if !errors.Is(err, remote.ErrLost) || len(got) != 2 {
		t.Errorf("%d bodies, %v", len(got), err)
	}
	if got, err = bodies(t, remote.Retry(a), remote.Foreground, uids...); len(got) != 2 || err == nil {
		t.Errorf("a message that ends every connection: %d others, %v", len(got), err)
	}
}

func TestServersThatCannotPipelineAreAskedOneByOne(t *testing.T) {
	for name, m := range map[string]misdeed{
		"closes":           {close: true},
		"answers nonsense": {raw: "500 slow down\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := startServer(t, letters(100), func(r *responder) { r.intolerant = m })
			a := remote.Retry(r.account(10 * time.Second))
			l := list(t, a)
			if len(l.messages) != 100 {
				t.Fatalf("%d messages", len(l.messages))
			}
			got, err := bodies(t, a, remote.Readahead, l.uids(t, "letter 1", "letter 50", "letter 100")...)
			if err != nil || len(got) != 3 {
				t.Errorf("%d bodies, %v", len(got), err)
			}
		})
	}
	t.Run("throws away", func(t *testing.T) {
		r := startServer(t, letters(10), func(r *responder) { r.intolerant = misdeed{raw: "+OK 10 1000\r\n", drop: true} })
		a := r.account(2 * time.Second)
		if err := new(listed).try(t.Context(), a); !errors.Is(err, remote.ErrTimeout) {
			t.Fatalf("first: %v", err)
		}
		if l := list(t, a); len(l.messages) != 10 {
			t.Errorf("then: %d messages", len(l.messages))
		}
	})
}

func TestEveryWaitForASilentServerEnds(t *testing.T) {
	const timeout = 300 * time.Millisecond
	for name, where := range map[string]string{
		"greeting": "", "sign-in": "AUTH PLAIN", "listing": "UIDL", "message": "TOP 2 99999999",
	} {
		t.Run(name, func(t *testing.T) {
			r := startServer(t, letters(3), func(r *responder) {
				r.misbehave = func(_ int, line string) *misdeed {
					if line == where {
						return &misdeed{raw: "", stall: true}
					}
					return nil
				}
			})
			a := r.account(timeout)
			begin := time.Now()
			l := &listed{}
			err := l.try(t.Context(), a)
			if where == "TOP 2 99999999" {
				if err != nil {
					t.Fatal(err)
				}
				begin = time.Now()
				_, err = bodies(t, a, remote.Foreground, l.uids(t, "letter 2", "letter 3")...)
			}
			if !errors.Is(err, remote.ErrTimeout) {
				t.Errorf("%v", err)
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("after %v", took)
			}
		})
	}
}

// Requests that keep coming do not make a dead server live.
func TestNewRequestsDoNotKeepADeadServerAlive(t *testing.T) {
	const timeout = 300 * time.Millisecond
	r := startServer(t, letters(200), func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if whole(line, 0) {
				return &misdeed{stall: true}
			}
			return nil
		}
	})
	a := r.account(timeout)
	l := list(t, a)
	begin := time.Now()
	ended := make(chan error, len(l.messages))
	var first error
	for u := range l.messages {
		go func() {
			ended <- a.Bodies(t.Context(), remote.Place{Mailbox: "INBOX", UIDValidity: 1, Priority: remote.Readahead}, []remote.UID{u}, func(remote.UID, []byte) {})
		}()
		select {
		case first = <-ended:
		case <-time.After(timeout / 10):
			continue
		}
		break
	}
	if !errors.Is(first, remote.ErrTimeout) {
		t.Errorf("after %v, while requests kept coming: %v", time.Since(begin), first)
	}
}

func TestAServerThatGoesAwayIsALostConnection(t *testing.T) {
	r := startServer(t, letters(2), func(r *responder) {
		r.misbehave = func(session int, line string) *misdeed {
			if session == 1 && whole(line, 1) {
				return &misdeed{raw: "-ERR [SYS/TEMP] Server shutting down.\r\n", close: true}
			}
			return nil
		}
	})
	a := r.account(10 * time.Second)
	a.idle = time.Minute
	l := list(t, a)
	got, err := bodies(t, remote.Retry(a), remote.Foreground, l.uids(t, "letter 1")...)
	if err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWhatComesUnaskedIsNoAnswer(t *testing.T) {
	letter := letters(1)[0]
	r := startServer(t, letters(2), func(r *responder) {
		r.misbehave = func(session int, line string) *misdeed {
			if session == 1 && whole(line, 1) {
				return &misdeed{raw: "+OK\r\n" + letter + ".\r\n-ERR idle for too long\r\n", close: true}
			}
			return nil
		}
	})
	a := r.account(10 * time.Second)
	a.idle = time.Minute
	l := list(t, a)
	uids := l.uids(t, "letter 1", "letter 2")
	if got, err := bodies(t, a, remote.Foreground, uids[0]); err != nil || got[uids[0]] != letter {
		t.Fatalf("%v, %v", got, err)
	}
	_, err := bodies(t, a, remote.Foreground, uids[1])
	if !errors.Is(err, remote.ErrLost) || !strings.Contains(err.Error(), "idle for too long") {
		t.Errorf("%v", err)
	}
	if got, err := bodies(t, a, remote.Foreground, uids[1]); err != nil || len(got) != 1 {
		t.Errorf("in the next session: %v, %v", got, err)
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	r := startServer(t, letters(3), func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if whole(line, 2) {
				return &misdeed{stall: true}
			}
			return nil
		}
	})
	a := r.account(time.Minute)
	l := list(t, a)
	waiting := make(chan error)
	uids := l.uids(t, "letter 2")
	go func() {
		waiting <- a.Bodies(context.Background(), remote.Place{Mailbox: "INBOX", UIDValidity: 1}, uids, func(remote.UID, []byte) {})
	}()
	eventually(t, "message 2 is asked for", func() bool { return len(r.asked()) > 0 })
	begin := time.Now()
	a.Close()
	if err := <-waiting; !errors.Is(err, remote.ErrClosed) {
		t.Errorf("%v", err)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("Close took %v", took)
	}
	if err := a.Connect(t.Context()); !errors.Is(err, remote.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
