package cache

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
)

// The store may be large, and its scan slow: what is read meanwhile comes from the server, and nobody waits for the disk.
func TestLargeMessagesAreReadWhileTheStoreIsScanned(t *testing.T) {
	// A reader that waits for a lock holds up the bubble's clock as well, so this is a clock outside of it.
	hung := time.AfterFunc(time.Minute, func() { panic("readers of large messages wait for the scan of the store") })
	defer hung.Stop()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := &backwards{body: bytes.Repeat([]byte("large "), walk.PieceSize/2), later: make(chan struct{})}
		close(s.later)
		c := New(Options{Disk: 100 << 20, Timeout: time.Minute})
		a, err := c.Account("", s, AccountOptions{Store: dir})
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
		for uid := remote.UID(1); uid <= 2*maxLargeReads+1; uid++ {
			piece, err := m.piece(t.Context(), Ref{UIDValidity: 1, UID: uid}, int64(len(s.body)), 1)
			if err != nil || !bytes.Equal(piece, s.body[:walk.PieceSize]) {
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
