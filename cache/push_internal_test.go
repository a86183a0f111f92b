package cache

import (
	"bytes"
	"testing"

	"github.com/mailfs/mailfs/cache/lease"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/buffer"
	"github.com/mailfs/mailfs/remote/remotetest"
)

// The memory of a message that was pushed to the kernel is used again when nobody looks at it any more, and not before.
func TestThePushedMessageNobodyReadsGivesItsMemoryToTheNext(t *testing.T) {
	const size = 40_000
	same := func(a, b []byte) bool { return &a[:1][0] == &b[:1][0] }
	for name, c := range map[string]struct {
		pushed, kept bool
		readers      int
		again        bool // it is used again at last
	}{
		"pushed":                        {pushed: true, again: true},
		"pushed while two look at it":   {pushed: true, readers: 2, again: true},
		"pushed, and somebody keeps it": {pushed: true, kept: true, readers: 1},
		"not pushed":                    {readers: 1},
	} {
		cache := New(Options{Memory: 1 << 20})
		defer cache.Close()
		a, err := cache.Account("", remotetest.NewAccount(), AccountOptions{})
		if err != nil {
			t.Fatal(err)
		}
		m := a.Mailbox(remote.Mailbox{Name: "INBOX"})
		key := bodyKey{mailbox: m, ref: Ref{UIDValidity: 1, UID: 2}}
		f := m.inflight.startLocked(key)
		body := buffer.Get(size)
		f.Finish(body, nil)
		for range c.readers {
			if _, found := m.getOrStart(key, lease.Borrow); found != f {
				t.Fatalf("%s: the fetch is not found", name)
			}
		}
		if c.kept {
			m.getOrStart(key, lease.Retain)
		}
		m.inflight.endFetch(key, f, c.pushed)
		for i := range c.readers {
			if other := buffer.Get(size); same(other, body) {
				t.Fatalf("%s: its memory is used again with %d readers", name, c.readers-i)
			}
			m.inflight.release(key, f)
		}
		other := buffer.Get(size)
		if again := same(other, body); again != c.again {
			t.Errorf("%s: its memory is used again: %v, want %v", name, again, c.again)
		}
		if kept, ok := a.bodies.Get(key); ok == c.again || ok && !bytes.Equal(kept, body) {
			t.Errorf("%s: it is in memory: %v, want %v", name, ok, !c.again)
		}
	}
}
