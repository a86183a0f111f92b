//go:build linux

package harness

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// unescape undoes the octal escapes of characters that would break the lines of mountinfo, see proc_pid_mountinfo(5).
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// mountEntry is something that is mounted.
type mountEntry struct{ point, kind, source string }

// mounts returns everything that is mounted, without touching any of it.
func mounts() (all []mountEntry) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		before, after, ok := strings.Cut(line, " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(rest) < 2 {
			continue
		}
		all = append(all, mountEntry{unescape.Replace(fields[4]), rest[0], unescape.Replace(rest[1])})
	}
	return all
}

// mountsBelow returns the mount points at or below dir, innermost first.
func mountsBelow(dir string) []string {
	var below []string
	for _, m := range mounts() {
		if m.point == dir || strings.HasPrefix(m.point, dir+"/") {
			below = append([]string{m.point}, below...)
		}
	}
	return below
}

// detach takes a mount away, even one that is in use or does not answer.
func detach(point string) error {
	if err := syscall.Unmount(point, syscall.MNT_DETACH); !errors.Is(err, syscall.EPERM) {
		return err
	}
	return exec.Command("fusermount3", "-u", "-z", point).Run() // as an ordinary user
}

// Mounted returns how many mounts are stacked on path.
func Mounted(path string) int {
	n := 0
	for _, m := range mounts() {
		if m.point == path {
			n++
		}
	}
	return n
}

// MountType returns the type of the mount at path, as in "fuse.mailfs".
func MountType(t testing.TB, path string) string {
	t.Helper()
	for _, m := range mounts() {
		if m.point == path {
			return m.kind
		}
	}
	t.Fatalf("nothing is mounted at %s", path)
	return ""
}
