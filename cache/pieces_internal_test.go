package cache

import (
	"bytes"
	"context"
	"testing"

	"github.com/mailfs/mailfs/cache/walk"
	"github.com/mailfs/mailfs/remote"
)

// server is one that is never asked for anything, and has said nothing.
type server struct{ remote.Account }

func (*server) Stats() remote.Stats { return remote.Stats{} }

// backwards is a server from which the first piece of a message comes last.
type backwards struct {
	server
	body  []byte
	later chan struct{} // closed when the others have come
}

func (b *backwards) Piece(_ context.Context, _ remote.Place, _ remote.UID, off, n int64) ([]byte, error) {
	if off == 0 {
		<-b.later
	}
	return b.body[off:min(off+n, int64(len(b.body)))], nil
}

func (b *backwards) Close() error { return nil }

// A large message is kept in whatever order its pieces come.
func TestALargeMessageIsKeptInWhateverOrderItsPiecesCome(t *testing.T) {
	s := &backwards{body: bytes.Repeat([]byte("large "), walk.PieceSize/2), later: make(chan struct{})}
	c := New(Options{Disk: 10 << 20})
	defer c.Close()
	a, err := c.Account("", s, AccountOptions{Store: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	m := a.Mailbox(remote.Mailbox{Name: "INBOX"})
	size, ref := int64(len(s.body)), Ref{UIDValidity: 1, UID: 2}
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
	close(s.later)
	a.tasks.Join()
	a.disk.Await(t.Context(), a.diskKey(m, ref))
	if got, ok := a.disk.Read(a.diskKey(m, ref)); !ok || !bytes.Equal(got, s.body) {
		t.Errorf("on disk are %d bytes (%v), want %d", len(got), ok, len(s.body))
	}
}
