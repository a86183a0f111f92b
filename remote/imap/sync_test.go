package imap

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mailfs/mailfs/remote"
)

const (
	plainCaps = "IMAP4rev1 AUTH=PLAIN SASL-IR"
	fullCaps  = plainCaps + " ESEARCH CONDSTORE NAMESPACE LIST-EXTENDED SPECIAL-USE QUOTA"
)

func TestSyncFollowsTheMailbox(t *testing.T) {
	for _, caps := range []string{plainCaps, fullCaps} {
		t.Run(caps, func(t *testing.T) {
			s := newServer(t, caps, mail(upTo(40)...)...)
			a := s.open()
			var v view
			v.sync(t, a)
			v.sees(t, s)

			s.said("")
			v.sync(t, a)
			v.sees(t, s)
			if got := s.said("UID"); strings.Contains(caps, "CONDSTORE") && len(got) != 0 {
				t.Fatalf("nothing changed, but it asked %q", got)
			}

			// Somebody sets a flag, deletes two messages, and two new ones arrive.
			s.change(func() {
				s.mod++
				s.letters[4].flags, s.letters[4].mod = `\Seen \Answered`, s.mod
				s.letters = append(s.letters[:10], s.letters[12:]...)
				s.letters = append(s.letters, mail(41, 45)...)
				s.next = 46
			})
			v.sync(t, a)
			v.sees(t, s)

			// One vanishes and one comes: the number stays.
			s.change(func() {
				s.mod++
				s.letters = append(s.letters[1:], mail(46)...)
				s.next = 47
			})
			v.sync(t, a)
			v.sees(t, s)

			s.change(func() { s.letters, s.mod = nil, s.mod+1 })
			v.sync(t, a)
			v.sees(t, s)
		})
	}
}

func TestSyncStartsAnewWhenUIDVALIDITYHasChanged(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2, 3)...)
	a := s.open()
	var v view
	v.sync(t, a)
	s.change(func() { s.validity, s.letters, s.next = 8, mail(1, 9), 10 })
	v.sync(t, a)
	v.sees(t, s)
	if v.resets != 1 || v.validity != 8 || v.version.UIDValidity != 8 {
		t.Fatalf("%d resets, UIDVALIDITY %d, %+v", v.resets, v.validity, v.version)
	}
	if _, err := read(t, a, 7, 1); err == nil {
		t.Fatal("a body of the old UIDVALIDITY was read")
	} else {
		wantError(t, err, remote.ErrStale)
	}
}

func TestSyncListsSparseUIDsWithOneFetch(t *testing.T) {
	for _, caps := range []string{plainCaps, fullCaps} {
		for _, next := range []uint32{4_294_967_295, 0} {
			t.Run(fmt.Sprint(caps, next), func(t *testing.T) {
				s := newServer(t, caps, mail(3, 1000, 2_000_000, 4_000_000_000, 4_294_967_294)...)
				s.next = next
				a := s.open()
				var v view
				v.sync(t, a)
				v.sees(t, s)
				if got := s.said("UID FETCH"); len(got) != 1 {
					t.Fatalf("%d FETCH commands: %q", len(got), got)
				}
				s.change(func() { s.letters = append(s.letters[:1], s.letters[2:]...) })
				v.sync(t, a)
				v.sees(t, s)
			})
		}
	}
}

func TestSyncGoesOnWhereItWasBroken(t *testing.T) {
	s := newServer(t, plainCaps, mail(upTo(12000)...)...)
	broken := false
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
		if l.uid == 3000 && !broken {
			broken = true
			c.Conn.Close()
		}
		return "", false
	}
	var v view
	v.sync(t, remote.Retry(s.open()))
	v.sees(t, s)
	if !broken {
		t.Fatal("the connection was never broken")
	}
}

func TestSyncIsolatesWhatCannotBeParsed(t *testing.T) {
	s := newServer(t, fullCaps, mail(upTo(300)...)...)
	bad := map[uint32]bool{1: true, 77: true, 78: true, 300: true}
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
		if bad[l.uid] && strings.Contains(items, "FLAGS") {
			return fmt.Sprintf("* %d FETCH (UID %d FLAGS (a]b\"c))\r\n", n, l.uid), true
		}
		return "", false
	}
	a := remote.Retry(s.open())
	var v view
	v.sync(t, a)
	for u := range bad {
		m := v.messages[remote.UID(u)]
		m.Flags = []string{`\Seen`}
		v.messages[remote.UID(u)] = m
	}
	v.sees(t, s)
	got, err := read(t, a, 7, 77)
	if err != nil || got[77] != s.letters[76].body {
		t.Fatalf("read %v, %v", got, err)
	}
}

func TestSyncListsAMailboxFullOfWhatCannotBeParsed(t *testing.T) {
	s := newServer(t, fullCaps, mail(upTo(100)...)...)
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
		if strings.Contains(items, "INTERNALDATE") {
			return fmt.Sprintf("* %d FETCH (UID %d X-UNKNOWN 5)\r\n", n, l.uid), true
		}
		return "", false
	}
	a := s.open()
	var v view
	v.sync(t, a)
	if len(v.messages) != 100 || v.messages[50].Size == 0 || len(v.messages[50].Header) == 0 {
		t.Fatalf("%d messages, %+v", len(v.messages), v.messages[50])
	}
	if n := a.Stats().Dials; n > 40 {
		t.Fatalf("%d connections were needed", n)
	}
}

func TestSyncListsUnreadableDatesAsNoDates(t *testing.T) {
	dates := []string{"NIL", `"garbage"`, `"01-Jan-0001 00:00:00 +0000"`, `"99-Foo-2020 00:00:00 +0000"`, `""`}
	s := newServer(t, plainCaps, mail(upTo(uint32(len(dates)+1))...)...)
	for i, d := range dates {
		s.letters[i].date = d
	}
	a := s.open()
	var v view
	v.sync(t, a)
	v.sees(t, s)
	for u, m := range v.messages {
		if want := int(u) <= len(dates); m.Date.IsZero() != want {
			t.Errorf("date of UID %d is %v", u, m.Date)
		}
	}
	if n := a.Stats().Dials; n != 1 {
		t.Errorf("%d connections were needed", n)
	}
}

func TestSyncAsksAgainWhatAnUnaskedFetchSwallowed(t *testing.T) {
	s := newServer(t, fullCaps, mail(upTo(20)...)...)
	first := true
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
		if l.uid == 7 && first {
			first = false
			return fmt.Sprintf("* 7 FETCH (UID 7 FLAGS (\\Seen))\r\n* 7 FETCH (%s)\r\n", l.items(items)), true
		}
		return "", false
	}
	var v view
	v.sync(t, s.open())
	v.sees(t, s)
}

func TestSyncListsWhatTheServerRefuses(t *testing.T) {
	s := newServer(t, fullCaps, mail(upTo(20)...)...)
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
		return "", l.uid == 7 && strings.Contains(items, "HEADER.FIELDS")
	}
	var v view
	v.sync(t, s.open())
	v.sees(t, s) // the whole header stood in
}

func TestSyncCutsLongHeaders(t *testing.T) {
	s := newServer(t, plainCaps, mail(1, 2)...)
	s.letters[0].body = "Subject: " + strings.Repeat("x", 3*remote.MaxHeader) + "\r\n\r\nbody\r\n"
	var v view
	v.sync(t, s.open())
	if n := len(v.messages[1].Header); n != remote.MaxHeader {
		t.Fatalf("header of %d bytes", n)
	}
	if len(v.messages[2].Header) == 0 {
		t.Fatal("the next message has no header")
	}
}

// What the server tells of a mailbox unopened saves opening it to find out, and nothing is believed that is over by then.
func TestSyncBelievesWhatSTATUSTellsWhileItIsTrue(t *testing.T) {
	s := newServer(t, fullCaps, mail(upTo(30)...)...)
	a := s.open()
	tell := func() remote.Version {
		t.Helper()
		versions, err := a.Versions(inTime(t), []string{"gone", "INBOX"})
		if err != nil || len(versions) != 2 || versions[0] != (remote.Version{}) {
			t.Fatalf("%+v, %v", versions, err)
		}
		return versions[1]
	}
	now := tell()
	if want := (remote.Version{UIDValidity: 7, UIDNext: 31, ModSeq: 100, Messages: 30}); now != want {
		t.Fatalf("%+v, want %+v", now, want)
	}
	var v view
	to := func(now remote.Version) error {
		t.Helper()
		version, err := a.Sync(inTime(t), "INBOX", v.version, now, v.known(), v.take)
		if err == nil {
			v.version = version
		}
		return err
	}
	s.said("")
	if err := to(now); err != nil {
		t.Fatal(err)
	}
	v.sees(t, s)
	if said := s.said(""); len(said) != 2 || !strings.HasPrefix(said[0], "EXAMINE") || !strings.HasPrefix(said[1], "UID FETCH 1:30 ") {
		t.Errorf("for a first listing it said %q", said)
	}

	if err := to(now); err != nil {
		t.Fatal(err)
	}
	if said := s.said(""); len(said) > 0 {
		t.Errorf("where nothing has changed it said %q", said)
	}

	// The mailbox is open by now, and of that STATUS does not tell.
	if versions, err := a.Versions(inTime(t), []string{"INBOX"}); err != nil || versions[0] != (remote.Version{}) {
		t.Errorf("of an open mailbox: %+v, %v", versions, err)
	}

	// One message is gone and one has come since the server told.
	s.change(func() {
		s.letters = append(s.letters[1:], mail(31)...)
		s.next, s.mod = 32, 101
	})
	a = s.open()
	now = tell()
	s.change(func() { s.letters = append(s.letters[1:], mail(32)...); s.next, s.mod = 33, 102 })
	if err := to(now); err != nil {
		t.Fatal(err)
	}
	v.sync(t, a)
	v.sees(t, s)

	// It was made anew since the server told.
	a, v = s.open(), view{}
	now = tell()
	s.change(func() { s.validity, s.letters, s.next = 8, mail(upTo(3)...), 4 })
	if err := to(now); !errors.Is(err, remote.ErrStale) {
		t.Fatalf("the mailbox is another one: %v", err)
	}
	v.sync(t, a)
	v.sees(t, s)
}
