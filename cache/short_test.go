package cache_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/remotetest"
)

// sparing is an account whose server sends less than it is asked for.
type sparing struct {
	*remotetest.Account
	most  int64 // bytes of one piece
	empty bool  // whole messages come empty
}

func (s *sparing) Piece(ctx context.Context, at remote.Place, uid remote.UID, off, n int64) ([]byte, error) {
	return s.Account.Piece(ctx, at, uid, off, min(n, s.most))
}

func (s *sparing) Bodies(ctx context.Context, at remote.Place, uids []remote.UID, got func(remote.UID, []byte)) error {
	return s.Account.Bodies(ctx, at, uids, func(uid remote.UID, body []byte) {
		if s.empty {
			body = body[:0]
		}
		got(uid, body)
	})
}

// reading returns a function that reads all of the first message of INBOX.
func reading(t *testing.T, server *sparing) func() ([]byte, error) {
	c := cache.New(cache.Options{Memory: 64 << 20, Timeout: 10 * time.Second, Refresh: time.Hour})
	t.Cleanup(func() { c.Close() })
	a, err := c.Account("test", server, cache.AccountOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := a.Mailboxes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := a.Mailbox(list[0])
	table, err := m.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return func() ([]byte, error) {
		var got []byte
		for {
			data, done, err := m.Bytes(t.Context(), table.At(0).Ref, int64(len(got)), 128<<10)
			if err != nil || len(data) == 0 {
				return got, err
			}
			got = append(got, data...)
			done()
		}
	}
}

func TestAPieceThatIsShorterThanAskedForIsNoEndOfAMessage(t *testing.T) {
	for _, most := range []int64{100_000, 1 << 10, 256<<10 - 1} {
		body := bytes.Repeat([]byte("all of these bytes\r\n"), 3<<20/20)
		server := &sparing{Account: remotetest.NewAccount(), most: most}
		server.Create("INBOX")
		server.Put("INBOX", body)
		if got, err := reading(t, server)(); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d of %d bytes came in pieces of at most %d: %v", len(got), len(body), most, err)
		}
	}
}

func TestAMessageThatComesEmptyIsAnError(t *testing.T) {
	server := &sparing{Account: remotetest.NewAccount(), most: 1 << 20, empty: true}
	server.Create("INBOX")
	server.Put("INBOX", letter("one", "first"))
	read := reading(t, server)
	if got, err := read(); !errors.Is(err, remote.ErrServer) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	server.empty = false
	if got, err := read(); err != nil || !bytes.Equal(got, letter("one", "first")) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}
