package imap

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("it does not happen that %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// address returns how to reach a listener in the clear.
func address(t *testing.T, l net.Listener) dial.Server {
	t.Helper()
	tcp := l.Addr().(*net.TCPAddr)
	return dial.Server{Protocol: "imap", Host: tcp.IP.String(), Port: tcp.Port, User: testUser, InTheClear: true,
		Timeout:  5 * time.Minute, // far above what the tests wait for anything
		Password: func(context.Context) (string, error) { return testPassword, nil }}
}

// open returns an account on the server; more may change how it is reached.
func (s *server) open(more ...func(*dial.Server, *Options)) *Account {
	s.t.Helper()
	s.accepting.Do(s.accept)
	where, o := address(s.t, s.listener), Options{Log: slog.New(slog.NewTextHandler(testLog{s.t}, nil))}
	for _, f := range more {
		f(&where, &o)
	}
	a := New(dial.New(where), o)
	s.t.Cleanup(func() { a.Close() })
	return a
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func inTime(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// view is what a caller of Sync keeps.
type view struct {
	version  remote.Version
	validity uint32
	messages map[remote.UID]remote.Message
	resets   int
}

func (v *view) known() *remote.UIDSet {
	var uids []remote.UID
	for u := range v.messages {
		uids = append(uids, u)
	}
	return remote.NewUIDSet(uids...)
}

func (v *view) take(d remote.Delta) error {
	if v.messages == nil || d.Reset {
		v.messages = map[remote.UID]remote.Message{}
	}
	if d.Reset {
		v.resets++
	}
	v.validity = d.UIDValidity
	for _, m := range d.Messages {
		m.Header = slices.Clone(m.Header)
		v.messages[m.UID] = m
	}
	for _, f := range d.Flags {
		if m, ok := v.messages[f.UID]; ok {
			m.Flags = f.Flags
			v.messages[f.UID] = m
		}
	}
	if d.Present != nil {
		for u := range v.messages {
			if !d.Present.Contains(u) {
				delete(v.messages, u)
			}
		}
	}
	return nil
}

func (v *view) sync(t *testing.T, a remote.Account) {
	t.Helper()
	version, err := a.Sync(inTime(t), "INBOX", v.version, remote.Version{}, v.known(), v.take)
	if err != nil {
		t.Fatalf("Sync: %v", err)
	}
	v.version = version
}

// sees compares what was listed with what the server has.
func (v *view) sees(t *testing.T, s *server) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(v.messages) != len(s.letters) {
		t.Fatalf("%d messages listed, want %d", len(v.messages), len(s.letters))
	}
	for _, l := range s.letters {
		m, ok := v.messages[remote.UID(l.uid)]
		if !ok {
			t.Fatalf("UID %d is not listed", l.uid)
		}
		if m.Key != strconv.Itoa(int(l.uid)) || m.Size != int64(len(l.body)) || string(m.Header) != l.header() ||
			strings.Join(m.Flags, " ") != l.flags {
			t.Fatalf("UID %d is listed as %+v, header %q", l.uid, m, m.Header)
		}
	}
}

// read fetches bodies.
func read(t *testing.T, a remote.Account, validity uint32, uids ...remote.UID) (map[remote.UID]string, error) {
	t.Helper()
	var mu sync.Mutex
	got := map[remote.UID]string{}
	err := a.Bodies(inTime(t), remote.Place{Mailbox: "INBOX", UIDValidity: validity}, uids, func(u remote.UID, b []byte) {
		mu.Lock()
		defer mu.Unlock()
		got[u] = string(b)
	})
	return got, err
}

func wantError(t *testing.T, err, want error, words ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Fatalf("error %q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), testPassword) {
		t.Fatalf("error %q holds the password", err)
	}
}
