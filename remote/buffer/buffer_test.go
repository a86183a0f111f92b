package buffer

import "testing"

func TestABufferThatCameBackIsUsedAgain(t *testing.T) {
	for n := 0; n < 20<<20; n += n/7 + 1 {
		b := Get(n)
		if len(b) != n {
			t.Fatalf("%d bytes in place of %d", len(b), n)
		}
		if cap(b) > max(n+n/4, smallest) {
			t.Errorf("%d bytes take %d", n, cap(b))
		}
		full := list.bytes+cap(b) > mostKept
		Put(b)
		again := Get(n)
		if class := classOf(cap(b)); n > smallest && n <= capacity(classes-1) && class >= 0 && !full && &again[0] != &b[0] {
			t.Errorf("%d bytes were not used again", n)
		}
	}
}

// No more bytes are given out than the foreign memory has room for.
func TestMemoryOfAnyOriginIsTakenBack(t *testing.T) {
	for n := 1; n < 20<<20; n += n/5 + 1 {
		Put(make([]byte, n/2, n))
		if b := Get(n); len(b) != n {
			t.Fatalf("%d bytes in place of %d", len(b), n)
		}
	}
	for range 100 {
		Put(make([]byte, 1<<20))
	}
	if list.bytes > mostKept {
		t.Errorf("%d bytes are kept", list.bytes)
	}
}
