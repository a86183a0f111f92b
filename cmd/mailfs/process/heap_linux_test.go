package process

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// Memory that is allocated after EnlargePages has the advice to use huge pages ("hg" in proc(5)), unless it was free before.
func TestTheHeapLiesInHugePagesAfterEnlargePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Skip("this kernel has no huge pages: ", err)
	}
	EnlargePages(32 << 20)
	blocks := make([][]byte, 16) // of 4 MB: more than was advised, and most likely than is free
	for i := range blocks {
		blocks[i] = make([]byte, 4<<20)
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	huge := 0
	var from, to uint64
	for line := range strings.Lines(string(maps)) {
		var first, end uint64
		if n, _ := fmt.Sscanf(line, "%x-%x ", &first, &end); n == 2 {
			from, to = first, end
		}
		flags, ok := strings.CutPrefix(line, "VmFlags:")
		if !ok || !strings.Contains(flags, " hg") {
			continue
		}
		for _, b := range blocks {
			if at := uint64(uintptr(unsafe.Pointer(&b[len(b)/2]))); from <= at && at < to {
				huge++
			}
		}
	}
	if huge == 0 {
		t.Errorf("none of %d blocks lies in memory that is to have huge pages:\n%s", len(blocks), maps)
	}
}
