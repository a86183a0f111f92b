package remote

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// region is a part of the address space in which the heap is, or will be.
type region struct{ start, length uintptr }

// hugePage is how large a huge page is, in bytes, on most machines.
const hugePage = 2 << 20

// reserve returns where the heap has room for so many bytes: it is taken and left to the collector, which uses the
// addresses again. None of it is touched.
func reserve(bytes int) region {
	b := make([]byte, bytes+hugePage)
	start := (uintptr(unsafe.Pointer(unsafe.SliceData(b))) + hugePage - 1) &^ (hugePage - 1)
	runtime.KeepAlive(b)
	b = nil
	runtime.GC()
	return region{start, uintptr(bytes) &^ (hugePage - 1)}
}

// huge has memory that is first touched from now on come in huge pages, or no more: 500 page faults fewer for each, and
// one entry in the processor's tables in place of 500. While nothing is read the system shall not fill up with them what
// the heap has given back. A system without has no use for the advice.
func (r region) huge(on bool) {
	if r.length == 0 {
		return
	}
	advice := uintptr(unix.MADV_NOHUGEPAGE)
	if on {
		advice = unix.MADV_HUGEPAGE
	}
	syscall.Syscall(syscall.SYS_MADVISE, r.start, r.length, advice)
}
