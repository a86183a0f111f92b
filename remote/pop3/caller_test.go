package pop3

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// account returns an account of the responder.
func (r *responder) account(timeout time.Duration) *Account {
	a := New(dial.New(r.server(timeout)), Options{Idle: 50 * time.Millisecond})
	r.t.Cleanup(func() { a.Close() })
	return a
}

// listed is what a caller of Sync knows.
type listed struct {
	known    *remote.UIDSet
	messages map[remote.UID]remote.Message
	emitted  int
	present  int // how many deltas said which messages are present
	version  remote.Version
}

// sync brings the list up to date.
func (l *listed) sync(t *testing.T, a remote.Account) {
	t.Helper()
	if err := l.try(t.Context(), a); err != nil {
		t.Fatalf("Sync: %v", err)
	}
}

func (l *listed) try(ctx context.Context, a remote.Account) (err error) {
	if l.known == nil {
		l.known, l.messages = &remote.UIDSet{}, map[remote.UID]remote.Message{}
	}
	l.emitted, l.present = 0, 0
	l.version, err = a.Sync(ctx, "INBOX", l.version, remote.Version{}, l.known, func(d remote.Delta) error {
		if d.Present != nil {
			l.present++
			for u := range l.messages {
				if !d.Present.Contains(u) {
					delete(l.messages, u)
				}
			}
		}
		for _, m := range d.Messages {
			m.Header = bytes.Clone(m.Header)
			l.messages[m.UID] = m
			l.emitted++
		}
		return nil
	})
	l.known = &remote.UIDSet{}
	for u := range l.messages {
		l.known.Add(u)
	}
	return err
}

// list returns what a first Sync lists.
func list(t *testing.T, a remote.Account) *listed {
	t.Helper()
	l := &listed{}
	l.sync(t, a)
	return l
}

// uids of the messages whose headers contain all the texts, one for each.
func (l *listed) uids(t *testing.T, texts ...string) []remote.UID {
	t.Helper()
	var uids []remote.UID
	for _, text := range texts {
		found := len(uids)
		for u, m := range l.messages {
			if strings.Contains(string(m.Header), text+"\r\n") {
				uids = append(uids, u)
			}
		}
		if len(uids) != found+1 {
			t.Fatalf("%d messages have a header with %q", len(uids)-found, text)
		}
	}
	return uids
}

// bodies fetches messages.
func bodies(t *testing.T, a remote.Account, prio remote.Priority, uids ...remote.UID) (map[remote.UID]string, error) {
	t.Helper()
	var mu sync.Mutex
	got := map[remote.UID]string{}
	err := a.Bodies(t.Context(), remote.Place{Mailbox: "INBOX", UIDValidity: 1, Priority: prio}, uids, func(u remote.UID, b []byte) {
		mu.Lock()
		defer mu.Unlock()
		if _, twice := got[u]; twice {
			t.Errorf("message %x came twice", u)
		}
		got[u] = string(b)
	})
	return got, err
}

// eventually waits until something is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// all returns the UIDs of all messages.
func (l *listed) all() []remote.UID { return slices.Sorted(maps.Keys(l.messages)) }
