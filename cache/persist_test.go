package cache_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
)

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
	deadline := time.Now().Add(time.Minute)
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

// What a reader was given is there after a kill -9 in that moment.
func TestAMessageThatWasReadIsOnDisk(t *testing.T) {
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
func TestAUIDVALIDITYThatComesBackServesNothingOld(t *testing.T) {
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
func TestUIDsThatAreGivenTwiceServeNothingOld(t *testing.T) {
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

func TestPrefetchFetchesEverything(t *testing.T) {
	s := newServer(t)
	mail := s.put("INBOX", 300, 5000)
	dir := t.TempDir()
	c, a := s.open(cache.Options{}, cache.AccountOptions{Store: dir, Prefetch: cache.PrefetchAll})
	c.Start()
	for deadline := time.Now().Add(time.Minute); c.Status().Disk.Messages < 300; {
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
