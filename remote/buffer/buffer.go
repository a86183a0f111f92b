// Package buffer is the free list of the memory that messages are received into. Fresh memory for each message would have to
// be cleared, faulted in and collected, which takes longer than receiving a message from a server nearby.
package buffer

import (
	"math/bits"
	"runtime/debug"
	"sync"
	"time"
)

const (
	smallest = 4 << 10 // bytes; smaller buffers are not kept
	classes  = 48      // sizes of buffers, four to each power of two
	// mostKept is how many bytes the free list holds at most.
	mostKept = 16 << 20
	// idleTime is how long no buffer comes back before all free ones are given to the system.
	idleTime = 10 * time.Second
)

var list struct {
	mu    sync.Mutex        // guards what follows
	free  [classes][][]byte // by class
	bytes int               // of all free buffers
	timer *time.Timer       // calls giveBack; nil while no buffer has come back since it last did
	used  time.Time         // when a buffer last came back
}

// classOf returns the largest class whose buffers have room for no more than n bytes; negative if there is none.
func classOf(n int) int {
	if n < smallest {
		return -1
	}
	octave := bits.Len(uint(n)) - 1 // 12 for 4096
	return (octave-12)*4 + n>>(octave-2)&3
}

// capacity returns how many bytes a buffer of a class has room for.
func capacity(class int) int { return (4 + class%4) << (10 + class/4) }

// Get returns n bytes, which may hold what an earlier message left in them.
func Get(n int) []byte {
	class := classOf(n)
	if class >= 0 && capacity(class) < n {
		class++
	}
	if class < 0 || class >= classes {
		return make([]byte, n)
	}
	list.mu.Lock()
	for c := class; c < min(class+4, classes); c++ {
		if k := len(list.free[c]) - 1; k >= 0 {
			b := list.free[c][k]
			list.free[c][k] = nil
			list.free[c] = list.free[c][:k]
			list.bytes -= cap(b)
			list.mu.Unlock()
			return b[:n]
		}
	}
	list.mu.Unlock()
	return make([]byte, n, capacity(class))
}

// Put takes back the memory of a message that nobody looks at any more, whether it came from Get or not.
func Put(b []byte) {
	class := classOf(cap(b))
	if class < 0 || class >= classes {
		return
	}
	b = b[:0:capacity(class)]
	list.mu.Lock()
	defer list.mu.Unlock()
	list.used = time.Now()
	if list.timer == nil {
		list.timer = time.AfterFunc(idleTime, giveBack)
	}
	if list.bytes+cap(b) <= mostKept {
		list.free[class] = append(list.free[class], b)
		list.bytes += cap(b)
	}
}

// giveBack gives the free buffers to the system when none has come back for idleTime.
func giveBack() {
	list.mu.Lock()
	if wait := time.Until(list.used.Add(idleTime)); wait > 0 {
		list.timer.Reset(wait)
		list.mu.Unlock()
		return
	}
	list.timer = nil
	clear(list.free[:])
	list.bytes = 0
	list.mu.Unlock()
	debug.FreeOSMemory()
}
