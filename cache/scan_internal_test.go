package cache

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/remotetest"
)

// A store may be large, and its scan slow. What is read meanwhile comes from the server, and no reader waits for the scan: not
// of a small message, not of a text, not of more large messages than are remembered, and not beyond their first pieces.
func TestMailIsReadWhileTheStoreIsScanned(t *testing.T) {
	// A reader that waits for a lock holds up the bubble's clock as well, so this is a clock outside of it.
	hung := time.AfterFunc(time.Minute, func() { panic("a reader waits for the scan of the store") })
	defer hung.Stop()
	const large = 2*maxLargeReads + 1
	small := []byte("From: a@example.org\r\nSubject: small\r\n\r\nThe text.\r\n")
	body := append(bytes.Clone(small), bytes.Repeat([]byte("large \r\n"), walk.PieceSize)...) // of nine pieces
	synctest.Test(t, func(t *testing.T) {
		server := remotetest.NewAccount()
		server.Put("INBOX", small, small)
		for range large {
			server.Put("INBOX", body)
		}
		// So little memory that large messages are not fetched ahead, in full.
		c := New(Options{Memory: 8 << 20, Disk: 100 << 20, Timeout: time.Minute, Refresh: time.Minute})
		a, err := c.Account("", server, AccountOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a.store, err = disk.Open(t.TempDir(), disk.Options{}, c.options.Log)
		if err != nil {
			t.Fatal(err)
		}
		m := a.Mailbox(remote.Mailbox{Name: "INBOX"})
		listing, err := m.Table(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		read := func(i int, from, to int64) {
			t.Helper()
			for off := from; off < to; off += oneRead {
				data, done, err := m.Bytes(t.Context(), listing.At(i).Ref, off, oneRead)
				if err != nil || len(data) == 0 {
					t.Fatalf("message %d at %d: %d bytes, %v", i, off, len(data), err)
				}
				done()
				synctest.Wait() // what there is to write is written, or waits for the scan
			}
		}
		read(0, 0, 1)
		if text, err := m.Text(t.Context(), listing.At(1).Ref); err != nil || !bytes.Contains(text, []byte("The text.")) {
			t.Errorf("text: %q, %v", text, err)
		}
		for i := 2; i < 2+large; i++ {
			read(i, 0, walk.PieceSize)
		}
		last := 1 + large
		read(last, walk.PieceSize, listing.Size(last))

		a.disk.Scan(a.store)
		synctest.Wait()
		for _, i := range []int{0, last} {
			if kept, ok := a.disk.Read(a.diskKey(m, listing.At(i).Ref)); !ok || int64(len(kept)) != listing.Size(i) {
				t.Errorf("message %d is not on disk: %d bytes", i, len(kept))
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
