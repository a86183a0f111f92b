package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// What is allocated after enlargePages lies where the kernel was advised to use huge pages ("hg" in proc(5)).
func TestEnlargePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Skip("this kernel has no huge pages: ", err)
	}
	enlargePages(32 << 20)
	b := make([]byte, 8<<20)
	at := uint64(uintptr(unsafe.Pointer(&b[4<<20])))
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	within := false
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			within = from <= at && at < to
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && within {
			if !strings.Contains(flags, " hg") {
				t.Errorf("the memory at %x has the flags%s", at, flags)
			}
			return
		}
	}
	t.Errorf("no mapping holds %x", at)
}
