package cache

import (
	"bytes"
	"testing"

	"github.com/mailfs/mailfs/remote"
)

// The memory of a message that was pushed to the kernel is used again when nobody looks at it any more, and not before.
func TestSpent(t *testing.T) {
	const size = 40_000
	same := func(a, b []byte) bool { return &a[:1][0] == &b[:1][0] }
	for name, c := range map[string]struct {
		taken, kept bool
		readers     int
		again       bool // it is used again at last
	}{
		"pushed":                        {taken: true, again: true},
		"pushed while two look at it":   {taken: true, readers: 2, again: true},
		"pushed, and somebody keeps it": {taken: true, kept: true, readers: 1},
		"not pushed":                    {readers: 1},
	} {
		a := &Account{bodies: newBodies(1 << 20)}
		m := &Mailbox{account: a, inflight: map[bodyKey]*fetch{}}
		key := bodyKey{mailbox: m, ref: Ref{1, 2}}
		f := m.start(key)
		body := remote.Buffer(size)
		f.finish(body, nil)
		for range c.readers {
			if _, found := m.getOrStart(key, true); found != f {
				t.Fatalf("%s: the fetch is not found", name)
			}
		}
		if c.kept {
			m.getOrStart(key, false)
		}
		m.endFetch(key.ref, f, c.taken)
		for i := range c.readers {
			if other := remote.Buffer(size); same(other, body) {
				t.Fatalf("%s: its memory is used again with %d readers", name, c.readers-i)
			}
			m.release(f)
		}
		other := remote.Buffer(size)
		if again := same(other, body); again != c.again {
			t.Errorf("%s: its memory is used again: %v, want %v", name, again, c.again)
		}
		if kept, ok := a.bodies.get(key); ok == c.again || ok && !bytes.Equal(kept, body) {
			t.Errorf("%s: it is in memory: %v, want %v", name, ok, !c.again)
		}
	}
}
