package cache_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"go.uber.org/goleak"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
	"github.com/mailfs/mailfs/remote/imap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is an IMAP server that can go away and come back with its mail.
type server struct {
	t       *testing.T
	address string
	memory  *imapmemserver.Server
	running *imapserver.Server
	client  *imapclient.Client

	appended int64
}

func newServer(t *testing.T) *server {
	s := &server{t: t}
	s.empty()
	s.start("127.0.0.1:0")
	t.Cleanup(s.stop)
	return s
}

// empty makes the server one that has no mail yet, and gives the same UIDVALIDITY to its mailboxes as it did before.
func (s *server) empty() {
	s.memory = imapmemserver.New()
	user := imapmemserver.NewUser("alice", "secret")
	s.memory.AddUser(user)
	if err := user.Create("INBOX", nil); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) start(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = l.Addr().String()
	s.running = imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return s.memory.NewSession(), nil, nil
		},
		Caps:         goimap.CapSet{goimap.CapIMAP4rev1: {}, goimap.CapIMAP4rev2: {}},
		InsecureAuth: true,
		Logger:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	})
	running := s.running
	go running.Serve(l)
	if s.client, err = imapclient.DialInsecure(s.address, nil); err != nil {
		s.t.Fatal(err)
	}
	if err := s.client.Login("alice", "secret").Wait(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) stop() {
	if s.running != nil {
		s.client.Close()
		s.running.Close()
		s.running = nil
	}
}

func (s *server) remove(mailbox string) {
	s.t.Helper()
	if err := s.client.Delete(mailbox).Wait(); err != nil {
		s.t.Fatal(err)
	}
}

// put stores messages and returns what they are.
func (s *server) put(mailbox string, n, size int) [][]byte {
	s.t.Helper()
	var all [][]byte
	for range n {
		id := serial.Add(1)
		m := fmt.Appendf(nil, "From: a%d@example.org\r\nTo: b@example.org\r\nSubject: message %d\r\nMessage-ID: <%d@x>\r\n\r\n", id, id, id)
		m = append(m, bytes.Repeat(fmt.Appendf(nil, "line %d\r\n", id), 1+size/8)...)
		s.append(mailbox, m)
		all = append(all, m)
	}
	return all
}

// append stores a message. It arrives some time after the one before.
func (s *server) append(mailbox string, m []byte) {
	s.t.Helper()
	s.appended++
	c := s.client.Append(mailbox, int64(len(m)), &goimap.AppendOptions{Time: time.Unix(1.7e9+s.appended*60, 0)})
	if _, err := c.Write(m); err != nil {
		s.t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		s.t.Fatal(err)
	}
	if _, err := c.Wait(); err != nil {
		s.t.Fatal(err)
	}
}

var serial atomic.Int64

// expunge removes messages by their sequence numbers.
func (s *server) expunge(mailbox string, numbers ...uint32) {
	s.t.Helper()
	if _, err := s.client.Select(mailbox, nil).Wait(); err != nil {
		s.t.Fatal(err)
	}
	store := &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Flags: []goimap.Flag{goimap.FlagDeleted}}
	if err := s.client.Store(goimap.SeqSetNum(numbers...), store, nil).Close(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.client.Expunge().Close(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.client.Unselect().Wait(); err != nil {
		s.t.Fatal(err)
	}
}

// open makes a cache over the server's account.
func (s *server) open(o cache.Options, ao cache.AccountOptions) (*cache.Cache, *cache.Account) {
	s.t.Helper()
	url, err := dial.ParseURL("imap://alice@" + s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	url.InTheClear, url.Timeout = true, 5*time.Minute
	url.Password = func(context.Context) (string, error) { return "secret", nil }
	o.Timeout = url.Timeout
	if o.Memory == 0 {
		o.Memory = 8 << 20
	}
	if o.Disk == 0 {
		o.Disk = 64 << 20
	}
	o.Log = slog.New(slog.DiscardHandler)
	c := cache.New(o)
	s.t.Cleanup(func() { c.Close() })
	a, err := c.Account("test", remote.Retry(imap.New(dial.New(url), imap.Options{Log: o.Log})), ao)
	if err != nil {
		s.t.Fatal(err)
	}
	return c, a
}

func inbox(t *testing.T, a *cache.Account) *cache.Mailbox {
	t.Helper()
	list, err := a.Mailboxes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if m.Name == "INBOX" {
			return a.Mailbox(m)
		}
	}
	t.Fatal("no INBOX")
	return nil
}

func table(t *testing.T, m *cache.Mailbox) *cache.Table {
	t.Helper()
	table, err := m.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func read(t *testing.T, m *cache.Mailbox, e cache.Entry) []byte {
	t.Helper()
	b, _, err := m.Bytes(t.Context(), e.Ref, 0, int(e.Size)+1)
	if err != nil {
		t.Fatalf("%s: %v", e.Name, err)
	}
	return b
}
