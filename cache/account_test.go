package cache_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
)

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
	for deadline := time.Now().Add(time.Minute); a.Stats().Bodies <= 12; {
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
	for deadline := time.Now().Add(time.Minute); c.Status().Disk.Messages < 1; {
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
