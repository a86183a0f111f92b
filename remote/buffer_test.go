package remote

import "testing"

func TestBuffer(t *testing.T) {
	for n := 0; n < 20<<20; n += n/7 + 1 {
		b := Buffer(n)
		if len(b) != n {
			t.Fatalf("%d bytes in place of %d", len(b), n)
		}
		if cap(b) > max(n+n/4, smallestBuffer) {
			t.Errorf("%d bytes take %d", n, cap(b))
		}
		full := buffers.bytes+cap(b) > buffersKept
		Recycle(b)
		again := Buffer(n)
		if class := bufferClass(cap(b)); n > smallestBuffer && n <= classBytes(bufferClasses-1) && class >= 0 && !full && &again[0] != &b[0] {
			t.Errorf("%d bytes were not used again", n)
		}
	}
}

// Memory of any origin is taken back, and no more of it given out than there is.
func TestRecycleForeign(t *testing.T) {
	for n := 1; n < 20<<20; n += n/5 + 1 {
		Recycle(make([]byte, n/2, n))
		if b := Buffer(n); len(b) != n {
			t.Fatalf("%d bytes in place of %d", len(b), n)
		}
	}
	for range 100 {
		Recycle(make([]byte, 1<<20))
	}
	if buffers.bytes > buffersKept {
		t.Errorf("%d bytes are kept", buffers.bytes)
	}
}
