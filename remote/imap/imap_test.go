package imap

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

func TestSignIn(t *testing.T) {
	for _, caps := range []string{"IMAP4rev1", "IMAP4rev1 AUTH=PLAIN", plainCaps, "IMAP4rev1 IMAP4rev2",
		"IMAP4rev1 LOGINDISABLED AUTH=PLAIN"} {
		t.Run(caps, func(t *testing.T) {
			s := newServer(t, caps)
			if err := s.open().Connect(inTime(t)); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("PREAUTH", func(t *testing.T) {
		s := newServer(t, plainCaps)
		s.greeting = "* PREAUTH welcome"
		if err := s.open().Connect(inTime(t)); err != nil {
			t.Fatal(err)
		}
		if got := append(s.said("LOGIN"), s.said("AUTHENTICATE")...); len(got) > 0 {
			t.Fatalf("it signed in nevertheless: %q", got)
		}
	})
}

func TestRefusedSignIn(t *testing.T) {
	answer := func(text string) func(*peer, string, string) bool {
		return func(c *peer, tag, command string) bool {
			if !strings.HasPrefix(command, "AUTH") && !strings.HasPrefix(command, "LOGIN") {
				return false
			}
			fmt.Fprintf(c.w, "%s NO %s\r\n", tag, text)
			return true
		}
	}
	for _, c := range []struct {
		name, caps, greeting string
		hook                 func(*peer, string, string) bool
		want                 error
		words                string
	}{
		{"wrong password", plainCaps, "", answer("[AUTHENTICATIONFAILED] no: " + testPassword), remote.ErrLogin, "no: ***"},
		{"without a code", "IMAP4rev1", "", answer("go away"), remote.ErrLogin, "go away"},
		{"LOGINDISABLED", "IMAP4rev1 LOGINDISABLED", "", nil, remote.ErrLogin, "LOGINDISABLED"},
		{"unavailable", plainCaps, "", answer("[UNAVAILABLE] later"), remote.ErrUnreachable, "later"},
		{"in use", plainCaps, "", answer("[INUSE] later"), remote.ErrUnreachable, "later"},
		{"limit", plainCaps, "", answer("[LIMIT] later"), remote.ErrUnreachable, "later"},
		{"too many", plainCaps, "", answer("[ALERT] Too many simultaneous connections."), remote.ErrUnreachable, "Too many"},
		{"BYE", plainCaps, "* BYE overloaded", nil, remote.ErrUnreachable, "overloaded"},
		{"not IMAP", plainCaps, "HTTP/1.1 400 Bad Request", nil, remote.ErrServer, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, c.caps)
			if c.greeting != "" {
				s.greeting = c.greeting
			}
			s.hook = c.hook
			wantError(t, s.open().Connect(inTime(t)), c.want, c.words)
		})
	}
	t.Run("no password", func(t *testing.T) {
		s := newServer(t, plainCaps)
		a := s.open(func(r *dial.Server, _ *Options) {
			r.Password = func(context.Context) (string, error) { return "", errors.New("the keyring is locked") }
		})
		wantError(t, a.Connect(inTime(t)), remote.ErrLogin, "keyring is locked")
	})
}

func TestMailboxes(t *testing.T) {
	s := newServer(t, fullCaps)
	s.list = strings.ReplaceAll(strings.Join([]string{
		`* LIST () "/" Inbox`,
		`* LIST () "/" "inbox/below"`,
		`* LIST (\Noselect \HasChildren) "/" Archive`,
		`* LIST (\HasNoChildren \Sent) "/" "Archive/2025"`,
		`* LIST (\Drafts) "/" "Entw&APw-rfe"`,
		`* LIST () "/" "R&D"`,
		"* LIST () \"/\" {4}\nB\xfcro",
		"* LIST () \"/\" \"\xe5\x8f\xb0\xe5\x8c\x97\"",
		`* LIST () "/" "a//b"`,
		`* LIST () "/" "trail/"`,
		`* LIST () "/" "trail"`,
		`* LIST () NIL "x/y"`,
		`* LIST () "." "Mail.lists.go"`,
		`* LSUB () "/" "subscribed"`,
		"* XLIST () \"/\" {3}\nabc",
		"",
	}, "\n"), "\n", "\r\n")
	opened := make(chan string, 1)
	s.hook = func(c *peer, tag, command string) bool {
		if strings.HasPrefix(command, "EXAMINE") && !strings.HasPrefix(command, "EXAMINE INBOX") {
			opened <- strings.TrimSuffix(strings.TrimPrefix(command, "EXAMINE "), " (CONDSTORE)")
			fmt.Fprintf(c.w, "* 0 EXISTS\r\n* OK [UIDVALIDITY 1] .\r\n%s OK\r\n", tag)
			return true
		}
		return false
	}
	a := s.open()
	list, err := a.Mailboxes(inTime(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range list {
		got = append(got, fmt.Sprintf("%s=%q %v %d", m.Name, m.Path, m.Selectable, m.Role))
	}
	want := []string{
		`Archive=["Archive"] false 0`,
		`Archive/2025=["Archive" "2025"] true 1`,
		`Büro=["Büro"] true 0`,
		`Entwürfe=["Entwürfe"] true 2`,
		`INBOX=["INBOX"] true 0`,
		`inbox/below=["INBOX" "below"] true 0`,
		`Mail.lists.go=["Mail" "lists" "go"] true 0`,
		`R&D=["R&D"] true 0`,
		`a//b=["a" "/" "b"] true 0`,
		`trail=["trail" "/"] true 0`,
		`x/y=["x/y"] true 0`,
		`台北=["台北"] true 0`,
	}
	for _, w := range want {
		if !slices.Contains(got, w) && !strings.HasPrefix(w, "trail") {
			t.Errorf("%s is missing", w)
		}
	}
	if len(got) != 13 {
		t.Errorf("%d mailboxes", len(got))
	}
	paths := map[string]bool{}
	for _, m := range list {
		paths[strings.Join(m.Path, "\x00")] = true
	}
	if len(paths) != 13 || !paths["trail"] || !paths["trail\x00/"] {
		t.Errorf("paths are not unique: %q", got)
	}
	if t.Failed() {
		t.Logf("got %s", strings.Join(got, "\n"))
	}
	for name, spelled := range map[string]string{"R&D": `"R&D"`, "Büro": "\"B\xfcro\"",
		"台北":       "\"\xe5\x8f\xb0\xe5\x8c\x97\"",
		"Entwürfe": `"Entw&APw-rfe"`} {
		if _, err := a.Sync(inTime(t), name, remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if got := <-opened; got != spelled {
			t.Errorf("%s is opened as %q", name, got)
		}
	}
}

func TestNoSuchMailbox(t *testing.T) {
	s := newServer(t, plainCaps)
	a := s.open()
	_, err := a.Sync(inTime(t), "gone", remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return nil })
	wantError(t, err, remote.ErrNoMailbox, "no such mailbox")
	s.change(func() { s.list = "* LIST () \"/\" gone\r\n" })
	_, err = a.Sync(inTime(t), "gone", remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return nil })
	wantError(t, err, remote.ErrServer, "no such mailbox")
}

func TestQuota(t *testing.T) {
	used, limit, err := newServer(t, fullCaps).open().Quota(inTime(t))
	if err != nil || used != 10<<10 || limit != 512<<10 {
		t.Fatalf("%d of %d, %v", used, limit, err)
	}
	_, _, err = newServer(t, plainCaps).open().Quota(inTime(t))
	wantError(t, err, remote.ErrUnsupported)
}

func TestBodies(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2, 3, 5)...)
	big := make([]byte, 5<<20)
	rand.Read(big)
	s.letters[2].body = string(big)
	s.letters[3].body = ""
	a := s.open()
	got, err := read(t, a, 7, 1, 2, 3, 4, 5)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 {
		t.Fatalf("%d messages", len(got))
	}
	for _, l := range s.letters {
		if b, ok := got[remote.UID(l.uid)]; !ok || b != l.body {
			t.Errorf("UID %d is %d bytes, want %d", l.uid, len(b), len(l.body))
		}
	}
	for _, c := range s.said("") {
		if strings.HasPrefix(c, "SELECT") || strings.Contains(c, "BODY[") {
			t.Errorf("it said %q", c)
		}
	}
}

func TestHeader(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2)...)
	a := s.open()
	h, err := a.Header(inTime(t), remote.Place{Mailbox: "INBOX", UIDValidity: 7}, 2)
	if err != nil || string(h) != s.letters[1].header() {
		t.Fatalf("%q, %v", h, err)
	}
	_, err = a.Header(inTime(t), remote.Place{Mailbox: "INBOX", UIDValidity: 7}, 3)
	wantError(t, err, remote.ErrNoMessage)
	_, err = a.Header(inTime(t), remote.Place{Mailbox: "INBOX", UIDValidity: 6}, 2)
	wantError(t, err, remote.ErrStale)
}

func TestBodyThatComesAtTheSecondAsking(t *testing.T) {
	for name, wrong := range map[string]string{
		"NIL":     "* 2 FETCH (UID 2 BODY[] NIL)\r\n",
		"flags":   "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n",
		"nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, fullCaps, mail(1, 2, 3)...)
			first := true
			s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
				if l.uid == 2 && first {
					first = false
					return wrong, true
				}
				return "", false
			}
			got, err := read(t, s.open(), 7, 1, 2, 3)
			if err != nil || got[2] != s.letters[1].body || len(got) != 3 {
				t.Fatalf("%v, %v", got, err)
			}
		})
	}
}

func TestBodyThatTheServerRefuses(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2, 3)...)
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) { return "", l.uid == 2 }
	got, err := read(t, s.open(), 7, 1, 2, 3)
	wantError(t, err, remote.ErrServer, "UID 2")
	if len(got) != 2 {
		t.Fatalf("%d others came", len(got))
	}
}

func TestBodyThatCantBeParsed(t *testing.T) {
	s := newServer(t, fullCaps, mail(upTo(30)...)...)
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
		return fmt.Sprintf("* %d FETCH (UID %d X-WHAT)\r\n", n, l.uid), l.uid == 11
	}
	var uids []remote.UID
	for u := range remote.UID(30) {
		uids = append(uids, u+1)
	}
	got, err := read(t, s.open(), 7, uids...)
	wantError(t, err, remote.ErrServer, "UID 11")
	if len(got) != 29 {
		t.Fatalf("%d others came", len(got))
	}
}

func TestConnectionLostInABody(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2, 3)...)
	s.letters[1].body = strings.Repeat("0123456789abcdef\r\n", 1<<16)
	lost := 0
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
		if l.uid != 2 || lost > 0 {
			return "", false
		}
		lost++
		whole := fmt.Sprintf("* 2 FETCH (UID 2 BODY[] {%d}\r\n%s)\r\n", len(l.body), l.body)
		c.w.WriteString(whole[:len(whole)/2])
		c.w.Flush()
		c.Close()
		return "", true
	}
	a := remote.Retry(s.open())
	got, err := read(t, a, 7, 1, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range s.letters {
		if got[remote.UID(l.uid)] != l.body {
			t.Errorf("UID %d differs", l.uid)
		}
	}
	if lost != 1 {
		t.Fatal("no connection was lost")
	}
}

func TestLyingLiteral(t *testing.T) {
	for name, size := range map[string]string{"too long": "4000000000", "beyond the limit": "99999999999",
		"beyond all": "99999999999999999999"} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, fullCaps, mail(1)...)
			s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
				fmt.Fprintf(c.w, "* 1 FETCH (UID 1 BODY[] {%s}\r\n%s)\r\n", size, l.body)
				c.w.Flush()
				if size == "4000000000" {
					c.Close()
				}
				return "", true
			}
			got, err := read(t, s.open(), 7, 1)
			if err == nil || len(got) != 0 {
				t.Fatalf("%v, %v", got, err)
			}
		})
	}
}

func TestStalledServer(t *testing.T) {
	const timeout = time.Second // much longer than a busy machine pauses between two bytes
	short := func(r *dial.Server, _ *Options) { r.Timeout = timeout }
	within := func(t *testing.T, do func() error) {
		t.Helper()
		begun := time.Now()
		wantError(t, do(), remote.ErrTimeout)
		if d := time.Since(begun); d > 25*time.Second { // the default of the tests is 30 s
			t.Fatalf("it took %v", d)
		}
	}
	t.Run("greeting", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		where := address(t, l)
		where.Timeout = timeout
		a := New(dial.New(where), Options{})
		defer a.Close()
		within(t, func() error { return a.Connect(inTime(t)) })
	})
	t.Run("command", func(t *testing.T) {
		s := newServer(t, plainCaps, mail(1)...)
		s.hook = func(c *peer, tag, command string) bool { return strings.HasPrefix(command, "EXAMINE") }
		a := s.open(short)
		within(t, func() error {
			_, err := a.Sync(inTime(t), "INBOX", remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return nil })
			return err
		})
	})
	t.Run("body", func(t *testing.T) {
		s := newServer(t, plainCaps, mail(1)...)
		s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
			return "* 1 FETCH (UID 1 BODY[] {1000}\r\nhalf of it", true
		}
		a := s.open(short)
		within(t, func() error { _, err := read(t, a, 7, 1); return err })
	})
	t.Run("slow but going on", func(t *testing.T) {
		s := newServer(t, plainCaps, mail(1)...)
		s.letters[0].body = strings.Repeat("x", 20)
		s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
			fmt.Fprintf(c.w, "* 1 FETCH (UID 1 BODY[] {%d}\r\n", len(l.body))
			tick := time.NewTicker(timeout / 10)
			defer tick.Stop()
			for _, b := range []byte(l.body) {
				<-tick.C
				c.w.WriteByte(b)
				c.w.Flush()
			}
			return ")\r\n", true
		}
		got, err := read(t, s.open(short), 7, 1)
		if err != nil || got[1] != s.letters[0].body {
			t.Fatalf("%v, %v", got, err)
		}
	})
}

func TestLineTooLong(t *testing.T) {
	s := newServer(t, plainCaps, mail(1)...)
	s.hook = func(c *peer, tag, command string) bool {
		if !strings.HasPrefix(command, "EXAMINE") {
			return false
		}
		c.w.WriteString("* FLAGS (")
		for range 2 * (16 << 20) / 1024 { // wire reads a line of half of that
			if _, err := c.w.Write(bytes.Repeat([]byte("x"), 1024)); err != nil {
				break
			}
		}
		return true
	}
	_, err := s.open().Sync(inTime(t), "INBOX", remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return nil })
	wantError(t, err, remote.ErrServer, "a line of more than")
}

func TestUnknownResponses(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2)...)
	s.hook = func(c *peer, tag, command string) bool {
		c.w.WriteString("* XWARNING something {3}\r\n" + "abc and {4}\r\n* 1 more\r\n* VANISHED (EARLIER) 1:5\r\n" +
			"* 3 XEXPUNGED\r\n\r\n* OK not a literal {12}\r\n")
		return false
	}
	a := s.open()
	var v view
	v.sync(t, a)
	v.sees(t, s)
	if _, err := a.Mailboxes(inTime(t)); err != nil {
		t.Fatal(err)
	}
	if n := a.Stats().Dials; n != 1 {
		t.Fatalf("%d connections were needed", n)
	}
}

func TestBodyDoesNotWaitForAListing(t *testing.T) {
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

func TestFewerConnections(t *testing.T) {
	s := newServer(t, fullCaps, mail(upTo(50)...)...)
	s.hook = func(c *peer, tag, command string) bool {
		if c.n == 1 || !strings.HasPrefix(command, "AUTH") {
			return false
		}
		fmt.Fprintf(c.w, "%s NO [ALERT] Too many simultaneous connections.\r\n", tag)
		return true
	}
	a := s.open(func(_ *dial.Server, o *Options) { o.Connections = 4 })
	var v view
	v.sync(t, a)
	for range 3 {
		if got, err := read(t, a, 7, 1, 2, 3); err != nil || len(got) != 3 {
			t.Fatalf("%v, %v", got, err)
		}
		v.sync(t, a)
	}
	if n := a.Stats().Dials; n != 2 {
		t.Fatalf("%d connections were tried", n)
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

func TestIdleConnections(t *testing.T) {
	t.Run("are closed with LOGOUT", func(t *testing.T) {
		s := newServer(t, fullCaps, mail(1)...)
		a := s.open(func(_ *dial.Server, o *Options) { o.Idle, o.Connections = 50*time.Millisecond, 1 })
		if err := a.Connect(inTime(t)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the connection ends", func() bool { return a.Stats().Connections == 0 })
		if got := s.said("LOGOUT"); len(got) != 1 {
			t.Errorf("%d LOGOUT", len(got))
		}
		if got, err := read(t, a, 7, 1); err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
	})
	t.Run("that the server closed are replaced", func(t *testing.T) {
		s := newServer(t, fullCaps, mail(1)...)
		a := s.open()
		if _, err := read(t, a, 7, 1); err != nil {
			t.Fatal(err)
		}
		s.change(func() {
			for c := range s.conns {
				c.Write([]byte("* BYE autologout\r\n"))
				c.Close()
			}
		})
		eventually(t, "the end is noticed", func() bool { return a.Stats().Connections == 0 })
		if got, err := read(t, a, 7, 1); err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
	})
}

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

func TestCloseEndsCalls(t *testing.T) {
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

func TestMailboxesTakeTurns(t *testing.T) {
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

func TestConnectionLostAgainAndAgain(t *testing.T) {
	s := newServer(t, fullCaps, mail(1)...)
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
		c.Close()
		return "", true
	}
	a := s.open()
	_, err := read(t, remote.Retry(a), 7, 1)
	wantError(t, err, remote.ErrUnreachable)
	if n := a.Stats().Dials; n != 2 {
		t.Errorf("%d connections were tried", n)
	}
}

// A server that ends the connection over some messages doesn't keep the others from being listed; one that ends it over all
// is out of order.
func TestListingEndsTheConnection(t *testing.T) {
	for _, fatal := range []uint32{1, 2, 40} {
		s := newServer(t, fullCaps, mail(upTo(40)...)...)
		s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
			if l.uid > 40-fatal && strings.Contains(items, "HEADER") {
				c.w.Flush()
				c.Close()
				return "", true
			}
			return "", false
		}
		a := remote.Retry(s.open())
		var v view
		_, err := a.Sync(inTime(t), "INBOX", remote.Version{}, remote.Version{}, nil, v.take)
		if fatal == 40 {
			wantError(t, err, remote.ErrUnreachable)
			if len(v.messages) > 0 {
				t.Errorf("%d messages are listed by a server that ends over each", len(v.messages))
			}
			continue
		}
		if err != nil || len(v.messages) != 40 {
			t.Fatalf("%d messages, %v", len(v.messages), err)
		}
		for uid, m := range v.messages {
			if header := m.Header != nil; header != (uint32(uid) <= 40-fatal) || m.Size == 0 || m.Date.IsZero() {
				t.Errorf("%d: %+v", uid, m)
			}
		}
	}
}

// TestConnectionsBreakUnderManyReaders ends connections in the middle of answers while commands are being sent on them.
func TestConnectionsBreakUnderManyReaders(t *testing.T) {
	s := newServer(t, fullCaps, mail(upTo(200)...)...)
	rows := 0
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
		if rows++; rows%97 == 0 {
			fmt.Fprintf(c.w, "* %d FETCH (UID %d BODY[] {%d}\r\nhalf", n, l.uid, len(l.body))
			c.w.Flush()
			c.Close()
		}
		return "", false
	}
	a := remote.Retry(s.open())
	var all sync.WaitGroup
	for reader := range 20 {
		all.Go(func() {
			for n := range 20 {
				uid := remote.UID(reader*10 + n%10 + 1)
				got, err := read(t, a, 7, uid)
				if err != nil && !errors.Is(err, remote.ErrUnreachable) {
					t.Errorf("UID %d: %v", uid, err)
				}
				if err == nil && !strings.Contains(got[uid], fmt.Sprintf("body of %d\r\n", uid)) {
					t.Errorf("UID %d is %q", uid, got[uid])
				}
			}
		})
	}
	all.Wait()
}

// Servers answer a request for a piece of a message in more ways than the grammar has.
func TestPieces(t *testing.T) {
	body := mail(1)[0].body
	body += strings.Repeat("0123456789\r\n", 1000)
	for _, c := range []struct {
		name   string
		answer func(off, n int) string
		want   error
	}{
		{"as it should", func(off, n int) string { return fmt.Sprintf("<%d> {%d}\r\n%s", off, n, body[off:off+n]) }, nil},
		{"the length repeated", func(off, n int) string { return fmt.Sprintf("<%d.%d> {%d}\r\n%s", off, n, n, body[off:off+n]) }, nil},
		{"the whole body", func(int, int) string { return fmt.Sprintf(" {%d}\r\n%s", len(body), body) }, remote.ErrUnsupported},
		{"more than was asked for", func(off, n int) string {
			return fmt.Sprintf("<%d> {%d}\r\n%s", off, n+10, body[off:off+n+10])
		}, remote.ErrUnsupported},
		{"the beginning", func(_, n int) string { return fmt.Sprintf("<0> {%d}\r\n%s", n, body[:n]) }, remote.ErrUnsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, fullCaps, mail(1)...)
			s.row = func(_ *peer, n int, l *letter, items string) (string, bool) {
				var off, size int
				if i := strings.Index(items, "BODY.PEEK[]<"); i < 0 {
					return "", false
				} else if _, err := fmt.Sscanf(items[i:], "BODY.PEEK[]<%d.%d>", &off, &size); err != nil {
					return "", false
				}
				return fmt.Sprintf("* %d FETCH (UID %d BODY[]%s)\r\n", n, l.uid, c.answer(off, size)), true
			}
			a := s.open()
			for _, off := range []int{1000, 2000} {
				piece, err := a.Piece(inTime(t), remote.Place{Mailbox: "INBOX", UIDValidity: 7}, 1, int64(off), 500)
				if c.want != nil {
					wantError(t, err, c.want)
				} else if err != nil || string(piece) != body[off:off+500] {
					t.Errorf("at %d: %q, %v", off, piece, err)
				}
			}
			if n := len(s.said("UID FETCH")); n != 2 {
				t.Errorf("%d commands for two pieces", n)
			}
		})
	}
}
