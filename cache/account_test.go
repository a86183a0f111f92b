package cache_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	url.InTheClear, url.Timeout = true, 5*time.Second
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

func TestListingFollowsTheServer(t *testing.T) {
	s := newServer(t)
	mail := s.put("INBOX", 20, 100)
	_, a := s.open(cache.Options{}, cache.AccountOptions{})
	var changes []cache.Change
	a.OnChange(func(c cache.Change) { changes = append(changes, c) })
	m := inbox(t, a)
	if n := table(t, m).Len(); n != 20 {
		t.Fatalf("%d messages", n)
	}
	gone := table(t, m).At(2)
	mail = append(mail, s.put("INBOX", 3, 100)...)
	s.expunge("INBOX", 3)
	mail = append(mail[:2], mail[3:]...)
	now := table(t, m)
	if now.Len() != len(mail) {
		t.Fatalf("%d messages, want %d", now.Len(), len(mail))
	}
	for i := range now.Len() {
		if got := read(t, m, now.At(i)); !bytes.Equal(got, mail[i]) || now.At(i).Size != int64(len(got)) {
			t.Errorf("%s: %q", now.At(i).Name, got)
		}
	}
	if len(changes) == 0 || len(changes[0].Vanished) != 1 || changes[0].Vanished[0] != gone {
		t.Errorf("changes: %+v", changes)
	}
	if _, _, err := m.Bytes(t.Context(), gone.Ref, 0, 1); !errors.Is(err, remote.ErrNoMessage) {
		t.Errorf("a message that is gone: %v", err)
	}
}

func TestManyReadersOfOneMessageCostOneFetch(t *testing.T) {
	s := newServer(t)
	mail := s.put("INBOX", 1, 100_000)
	_, a := s.open(cache.Options{Refresh: time.Hour}, cache.AccountOptions{})
	m := inbox(t, a)
	e := table(t, m).At(0)
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() {
			if got := read(t, m, e); !bytes.Equal(got, mail[0]) {
				t.Errorf("%d bytes", len(got))
			}
		})
	}
	readers.Wait()
	if n := a.Stats().Bodies; n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestMemoryStaysWithinItsBudget(t *testing.T) {
	s := newServer(t)
	s.put("INBOX", 40, 50_000)
	c, a := s.open(cache.Options{Refresh: time.Hour, Memory: 500_000}, cache.AccountOptions{})
	m := inbox(t, a)
	for i := range 40 {
		read(t, m, table(t, m).At(i))
		if u := c.Status().Memory; u.Bytes > u.Budget {
			t.Fatalf("%+v", u)
		}
	}
}

func TestAWalkIsReadAhead(t *testing.T) {
	s := newServer(t)
	mail := s.put("INBOX", 200, 2000)
	_, a := s.open(cache.Options{Refresh: time.Hour}, cache.AccountOptions{})
	m := inbox(t, a)
	tb := table(t, m)
	read(t, m, tb.At(7))
	if n := a.Stats().Bodies; n != 1 {
		t.Errorf("one message cost %d", n)
	}
	for i := 20; i < 30; i++ {
		read(t, m, tb.At(i))
	}
	for deadline := time.Now().Add(5 * time.Second); a.Stats().Bodies <= 12; {
		if time.Now().After(deadline) {
			t.Fatalf("%d fetches after ten steps of a walk: nothing is read ahead", a.Stats().Bodies)
		}
		time.Sleep(time.Millisecond)
	}
	if n := a.Stats().Bodies; n > 1+10+64+16 {
		t.Errorf("ten steps of a walk cost %d messages", n)
	}
	for i := range tb.Len() {
		if got := read(t, m, tb.At(i)); !bytes.Equal(got, mail[i]) {
			t.Fatalf("%d: wrong bytes", i)
		}
	}
	if n := a.Stats().Bodies; n != 200 {
		t.Errorf("200 messages cost %d fetches", n)
	}
}

func TestALargeMessageIsReadInPieces(t *testing.T) {
	s := newServer(t)
	s.put("INBOX", 1, 100)
	mail := s.put("INBOX", 1, 9_000_000)[0]
	dir := t.TempDir()
	c, a := s.open(cache.Options{Refresh: time.Hour, Memory: 64 << 20}, cache.AccountOptions{Store: dir})
	m := inbox(t, a)
	e := table(t, m).At(1)
	before := a.Stats().BytesIn
	if size, err := m.Size(t.Context(), e.Ref); err != nil || size != int64(len(mail)) {
		t.Errorf("size %d, %v", size, err)
	}
	head, _, err := m.Bytes(t.Context(), e.Ref, 0, 4096)
	if err != nil || !bytes.Equal(head, mail[:4096]) {
		t.Errorf("%d bytes, %v", len(head), err)
	}
	across, _, err := m.Bytes(t.Context(), e.Ref, 5_000_000-100, 300_000)
	if err != nil || !bytes.Equal(across, mail[5_000_000-100:][:300_000]) {
		t.Errorf("%d bytes, %v", len(across), err)
	}
	if n := a.Stats().BytesIn - before; n > 2_000_000 {
		t.Errorf("two small reads moved %d bytes", n)
	}
	for off := 0; off < len(mail); off += 100_000 {
		part, _, err := m.Bytes(t.Context(), e.Ref, int64(off), 100_000)
		if err != nil || !bytes.Equal(part, mail[off:min(off+100_000, len(mail))]) {
			t.Fatalf("at %d: %d bytes, %v", off, len(part), err)
		}
	}
	if n := a.Stats().BytesIn - before; n > int64(len(mail))*11/10 {
		t.Errorf("%d bytes were moved for %d", n, len(mail))
	}
	for deadline := time.Now().Add(5 * time.Second); c.Status().Disk.Messages < 1; {
		if time.Now().After(deadline) {
			t.Fatal("the pieces do not become a message on disk")
		}
		time.Sleep(time.Millisecond)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.stop()
	_, a = s.open(cache.Options{}, cache.AccountOptions{Store: dir})
	m = inbox(t, a)
	if got := read(t, m, table(t, m).At(1)); !bytes.Equal(got, mail) {
		t.Error("wrong bytes from the disk")
	}
}

func TestMailIsThereWithoutTheServer(t *testing.T) {
	s := newServer(t)
	mail := s.put("INBOX", 10, 1000)
	dir := filepath.Join(t.TempDir(), "store")
	c, a := s.open(cache.Options{}, cache.AccountOptions{Store: dir})
	if a.Stored() {
		t.Error("a new store knows the account")
	}
	m := inbox(t, a)
	before := table(t, m)
	for i := range 5 {
		read(t, m, before.At(i*2))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.stop()

	c, a = s.open(cache.Options{}, cache.AccountOptions{Store: dir})
	if !a.Stored() {
		t.Fatal("the store does not know the account")
	}
	m = inbox(t, a)
	tb := table(t, m)
	if tb.Len() != 10 {
		t.Fatalf("%d messages", tb.Len())
	}
	for i := range 10 {
		if tb.At(i).Name != before.At(i).Name || tb.At(i).Size != before.At(i).Size {
			t.Errorf("%d: %+v", i, tb.At(i))
		}
		header, err := m.Header(t.Context(), tb.At(i).Ref)
		if err != nil || !strings.Contains(string(header), "Message-ID: <") {
			t.Errorf("header of %d: %q, %v", i, header, err)
		}
		if i%2 == 0 {
			if got := read(t, m, tb.At(i)); !bytes.Equal(got, mail[i]) {
				t.Errorf("%d: wrong bytes", i)
			}
		}
	}
	if _, _, err := m.Bytes(t.Context(), tb.At(1).Ref, 0, 1); !errors.Is(err, remote.ErrUnreachable) {
		// Reading ahead may have brought it.
		if got, _, ok := m.Bytes(t.Context(), tb.At(1).Ref, 0, 1<<20); ok != nil || !bytes.Equal(got, mail[1]) {
			t.Errorf("an unread message: %v", err)
		}
	}

	// The server comes back with more.
	s.start(s.address)
	mail = append(mail, s.put("INBOX", 2, 100)...)
	deadline := time.Now().Add(30 * time.Second)
	for table(t, m).Len() != 12 {
		if time.Now().After(deadline) {
			t.Fatal("new mail does not show")
		}
		time.Sleep(10 * time.Millisecond)
	}
	for i := range 12 {
		if got := read(t, m, table(t, m).At(i)); !bytes.Equal(got, mail[i]) {
			t.Errorf("%d: wrong bytes", i)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// What a reader was given is there after a kill -9 just then.
func TestWhatWasReadIsOnDisk(t *testing.T) {
	for name, pushed := range map[string]bool{"read": false, "pushed": true} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.put("INBOX", 500, 1000)
			dir := t.TempDir()
			_, a := s.open(cache.Options{}, cache.AccountOptions{Store: dir})
			if pushed {
				a.OnPushed(func(cache.Pushed) bool { return false })
			}
			m := inbox(t, a)
			tb := table(t, m)
			hash := sha256.Sum256([]byte("INBOX"))
			bodies := fmt.Sprintf("%s/bodies/%x/%d/", dir, hash[:8], tb.UIDValidity())
			for i := range tb.Len() {
				if !pushed {
					i = i * 211 % tb.Len() // nothing is read ahead
				}
				e := tb.At(i)
				read(t, m, e)
				if _, err := os.Stat(bodies + fmt.Sprint(e.Ref.UID)); err != nil {
					t.Errorf("read, but not on disk: %v", err)
				}
			}
		})
	}
}

func TestAMailboxMadeAnewServesNothingOld(t *testing.T) {
	s := newServer(t)
	if err := s.client.Create("box", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	s.put("box", 3, 100)
	dir := t.TempDir()
	find := func(a *cache.Account) *cache.Mailbox {
		list, err := a.Mailboxes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			if m.Name == "box" {
				return a.Mailbox(m)
			}
		}
		t.Fatal("no mailbox")
		return nil
	}
	c, a := s.open(cache.Options{}, cache.AccountOptions{Store: dir})
	m := find(a)
	old := table(t, m)
	for i := range 3 {
		read(t, m, old.At(i))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.remove("box")
	if err := s.client.Create("box", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	mail := s.put("box", 3, 100)
	_, a = s.open(cache.Options{}, cache.AccountOptions{Store: dir})
	m = find(a)
	now := table(t, m)
	if now.UIDValidity() == old.UIDValidity() {
		t.Fatal("the server did not change UIDVALIDITY")
	}
	for i := range 3 {
		if got := read(t, m, now.At(i)); !bytes.Equal(got, mail[i]) {
			t.Errorf("%d: %q", i, got)
		}
	}
}

// A UIDVALIDITY that was seen before comes back and stands for other messages.
func TestUIDValidityComesBack(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		s := newServer(t)
		_, a := s.open(cache.Options{}, cache.AccountOptions{Store: dir})
		m := a.Mailbox(remote.Mailbox{Name: "box"})
		var seen []uint32
		for _, anew := range []func(){func() {}, func() { s.remove("box") }, func() { s.stop(); s.empty(); s.start(s.address) }} {
			anew()
			if err := s.client.Create("box", nil).Wait(); err != nil {
				t.Fatal(err)
			}
			mail := s.put("box", 3, 100)
			tb := table(t, m)
			seen = append(seen, tb.UIDValidity())
			for i := range mail {
				if got := read(t, m, tb.At(i)); !bytes.Equal(got, mail[i]) {
					t.Errorf("UIDVALIDITY %d, %d: %q", seen, i, got)
				}
			}
		}
		if seen[0] == seen[1] || seen[0] != seen[2] {
			t.Errorf("the server's UIDVALIDITY was %d", seen)
		}
	}
}

// A mailbox is restored from a backup, and gives UIDs to new messages that others had.
func TestUIDNEXTGoesBack(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		s := newServer(t)
		mail := s.put("INBOX", 5, 100)
		_, a := s.open(cache.Options{}, cache.AccountOptions{Store: dir})
		m := inbox(t, a)
		compare := func() {
			t.Helper()
			tb := table(t, m)
			if tb.Len() != len(mail) {
				t.Fatalf("%d messages of %d", tb.Len(), len(mail))
			}
			for i := range mail {
				if got := read(t, m, tb.At(i)); !bytes.Equal(got, mail[i]) {
					t.Errorf("%s: %q", tb.At(i).Name, got)
				}
			}
		}
		compare()
		s.stop()
		s.empty()
		s.start(s.address)
		mail = mail[:2]
		for _, old := range mail {
			s.append("INBOX", old)
		}
		compare()
		mail = append(mail, s.put("INBOX", 4, 100)...)
		compare()
	}
}

func TestPrefetchBringsEverything(t *testing.T) {
	s := newServer(t)
	mail := s.put("INBOX", 300, 5000)
	dir := t.TempDir()
	c, a := s.open(cache.Options{}, cache.AccountOptions{Store: dir, Prefetch: cache.PrefetchAll})
	c.Start()
	for deadline := time.Now().Add(20 * time.Second); c.Status().Disk.Messages < 300; {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", c.Status())
		}
		time.Sleep(5 * time.Millisecond)
	}
	if n := a.Stats().Bodies; n != 300 {
		t.Errorf("%d fetches", n)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.stop()
	_, a = s.open(cache.Options{}, cache.AccountOptions{Store: dir})
	m := inbox(t, a)
	for i := range 300 {
		if got := read(t, m, table(t, m).At(i)); !bytes.Equal(got, mail[i]) {
			t.Fatalf("%d: wrong bytes", i)
		}
	}
}
