package remote

import (
	"math/bits"
	"runtime/debug"
	"sync"
	"time"
)

// Buffers of messages are used again: fresh memory for each would have to be cleared, faulted in and collected, which
// takes longer than receiving a message from a server nearby.
const (
	smallestBuffer = 4 << 10 // bytes; smaller ones are not kept
	bufferClasses  = 48      // sizes, four to each power of two
	// buffersKept is how many bytes are kept for later at most.
	buffersKept = 16 << 20
	// buffersIdle is how long nothing comes back before all is given to the system.
	buffersIdle = 10 * time.Second
)

var buffers struct {
	mu    sync.Mutex // guards what follows
	free  [bufferClasses][][]byte
	bytes int
	idle  *time.Timer // nil if nothing came back lately
	used  time.Time   // when something came back last
}

// bufferClass returns the number of the largest class that holds no more than n bytes; negative if there is none.
func bufferClass(n int) int {
	if n < smallestBuffer {
		return -1
	}
	octave := bits.Len(uint(n)) - 1 // 12 for 4096
	return (octave-12)*4 + n>>(octave-2)&3
}

// classBytes is how many bytes a buffer of a class has room for.
func classBytes(class int) int { return (4 + class%4) << (10 + class/4) }

// Buffer returns n bytes that hold anything.
func Buffer(n int) []byte {
	class := bufferClass(n)
	if class >= 0 && classBytes(class) < n {
		class++
	}
	if class < 0 || class >= bufferClasses {
		return make([]byte, n)
	}
	buffers.mu.Lock()
	for c := class; c < min(class+4, bufferClasses); c++ {
		if k := len(buffers.free[c]) - 1; k >= 0 {
			b := buffers.free[c][k]
			buffers.free[c][k] = nil
			buffers.free[c] = buffers.free[c][:k]
			buffers.bytes -= cap(b)
			buffers.mu.Unlock()
			return b[:n]
		}
	}
	buffers.mu.Unlock()
	return make([]byte, n, classBytes(class))
}

// Recycle takes back the memory of a message that nobody looks at any more, whatever it came from.
func Recycle(b []byte) {
	class := bufferClass(cap(b))
	if class < 0 || class >= bufferClasses {
		return
	}
	b = b[:0:classBytes(class)]
	buffers.mu.Lock()
	defer buffers.mu.Unlock()
	buffers.used = time.Now()
	if buffers.idle == nil {
		buffers.idle = time.AfterFunc(buffersIdle, giveBack)
	}
	if buffers.bytes+cap(b) <= buffersKept {
		buffers.free[class] = append(buffers.free[class], b)
		buffers.bytes += cap(b)
	}
}

// giveBack gives the buffers' memory to the system when they have not been used for a while.
func giveBack() {
	buffers.mu.Lock()
	if wait := time.Until(buffers.used.Add(buffersIdle)); wait > 0 {
		buffers.idle.Reset(wait)
		buffers.mu.Unlock()
		return
	}
	buffers.idle = nil
	clear(buffers.free[:])
	buffers.bytes = 0
	buffers.mu.Unlock()
	debug.FreeOSMemory()
}
