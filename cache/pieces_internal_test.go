package cache

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/remotetest"
)

// large is the body of a message that is read in pieces.
var large = bytes.Repeat([]byte("large "), walk.PieceSize/2)

// A large message is kept on disk in whatever order its pieces come.
func TestALargeMessageIsKeptInWhateverOrderItsPiecesCome(t *testing.T) {
	server := remotetest.NewAccount()
	others := make(chan struct{}) // closed when all pieces but the first have come
	server.Intercept(func(_ context.Context, c remotetest.Call) error {
		if c.Method == "Piece" && c.Offset == 0 {
			<-others
		}
		return nil
	})
	uid := server.Put("INBOX", large)[0]
	c := New(Options{Disk: 10 << 20, Timeout: time.Minute})
	defer c.Close()
	a, err := c.Account("", server, AccountOptions{Store: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	m := a.Mailbox(remote.Mailbox{Name: "INBOX"})
	ref := Ref{UIDValidity: 1, UID: uid}
	size := int64(len(large))
	last := uint32((size + walk.PieceSize - 1) / walk.PieceSize)
	m.larges.mu.Lock()
	m.inflight.mu.Lock()
	r, _ := m.larges.ofLocked(ref, false)
	var fetches []*fetch
	for n := uint32(1); n <= last; n++ {
		m.fetchPiecesLocked(r, size, walk.Run{From: n, To: n + 1})
		fetches = append(fetches, m.inflight.fetches[bodyKey{mailbox: m, ref: ref, piece: n}])
	}
	m.inflight.mu.Unlock()
	m.larges.mu.Unlock()
	for _, f := range fetches[1:] {
		<-f.Done()
	}
	close(others)
	a.tasks.Join()
	a.disk.Await(t.Context(), a.diskKey(m, ref))
	if got, ok := a.disk.Read(a.diskKey(m, ref)); !ok || !bytes.Equal(got, large) {
		t.Errorf("on disk are %d bytes (%v), want %d", len(got), ok, size)
	}
}

// The store may be large, and its scan slow: what is read meanwhile comes from the server, and nobody waits for the disk.
func TestLargeMessagesAreReadWhileTheStoreIsScanned(t *testing.T) {
	// A reader that waits for a lock holds up the bubble's clock as well, so this is a clock outside of it.
	hung := time.AfterFunc(time.Minute, func() { panic("readers of large messages wait for the scan of the store") })
	defer hung.Stop()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		server := remotetest.NewAccount()
		c := New(Options{Disk: 100 << 20, Timeout: time.Minute})
		a, err := c.Account("", server, AccountOptions{Store: dir})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		scanning, err := disk.Open(t.TempDir(), disk.Options{}, c.options.Log)
		if err != nil {
			t.Fatal(err)
		}
		opened := a.store
		a.store = scanning
		m := a.Mailbox(remote.Mailbox{Name: "INBOX"})
		for range 2*maxLargeReads + 1 {
			uid := server.Put("INBOX", large)[0]
			piece, err := m.piece(t.Context(), Ref{UIDValidity: 1, UID: uid}, int64(len(large)), 1)
			if err != nil || !bytes.Equal(piece, large[:walk.PieceSize]) {
				t.Errorf("UID %d: %d bytes, %v", uid, len(piece), err)
			}
			synctest.Wait() // the piece is to be written, which waits for the scan
		}
		a.disk.Scan(scanning)
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
