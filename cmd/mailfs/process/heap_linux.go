package process

import (
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is how large a huge page is, in bytes, on most machines.
const hugePage = 2 << 20

// EnlargePages has the first so many bytes of the heap come in huge pages, if the system has some to give: one page fault
// in place of 500, and one entry in the processor's tables. The collector has no setting for that, so they are taken from
// it, advised, and given back to it untouched; it uses the addresses again. A system without has no use for the advice.
func EnlargePages(bytes int64) {
	heap := make([]byte, bytes+hugePage)
	start := -uintptr(unsafe.Pointer(unsafe.SliceData(heap))) % hugePage
	_ = unix.Madvise(heap[start:][:bytes/hugePage*hugePage], unix.MADV_HUGEPAGE)
	heap = nil
	debug.FreeOSMemory()
}
