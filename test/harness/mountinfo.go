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

// mountinfo octal-escapes what would break its lines, see proc_pid_mountinfo(5).
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// mounts returns mount point and type of everything that is mounted, without touching any of it.
func mounts() (points, types []string) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, nil
	}
	for line := range strings.Lines(string(b)) {
		before, after, ok := strings.Cut(line, " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(rest) < 1 {
			continue
		}
		points, types = append(points, unescape.Replace(fields[4])), append(types, rest[0])
	}
	return points, types
}

// mountsBelow returns the mounts at or below dir, innermost first.
func mountsBelow(dir string) []string {
	var below []string
	points, _ := mounts()
	for _, p := range points {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			below = append([]string{p}, below...)
		}
	}
	return below
}

// detach takes a mount away, whoever uses it and whether it answers or not.
func detach(point string) error {
	if err := syscall.Unmount(point, syscall.MNT_DETACH); !errors.Is(err, syscall.EPERM) {
		return err
	}
	return exec.Command("fusermount3", "-u", "-z", point).Run() // as an ordinary user
}

// Mounted returns how many mounts stand on path: more than one are stacked.
func Mounted(path string) int {
	n := 0
	points, _ := mounts()
	for _, p := range points {
		if p == path {
			n++
		}
	}
	return n
}

// MountType returns the type of the mount at path, as in "fuse.mailfs".
func MountType(t testing.TB, path string) string {
	t.Helper()
	points, types := mounts()
	for i, p := range points {
		if p == path {
			return types[i]
		}
	}
	t.Fatalf("nothing is mounted at %s", path)
	return ""
}
