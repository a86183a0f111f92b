//go:build !linux

package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// fsType is the type that macOS lists for every mount of macFUSE, of mailfs or not.
const fsType = "macfuse"

// probe asks the file system at a path whether it answers. The call may hang.
func probe(path string) error {
	_, err := os.Lstat(path)
	return err
}

// errBusy: a process uses something below the mountpoint.
var errBusy = errors.New("busy")

// unmount unmounts what is mounted at a path. With lazy, a mount in use is unmounted by force.
func unmount(path string, lazy bool) error {
	args := []string{path}
	if lazy {
		args = []string{"-f", path}
	}
	cmd := exec.Command("umount", args...)
	cmd.Env = Environment()
	out, err := cmd.CombinedOutput()
	if err != nil && bytes.Contains(out, []byte("busy")) {
		return errBusy
	}
	if err != nil {
		return fmt.Errorf("umount: %s", strings.TrimSpace(string(out)))
	}
	return nil
}

// holders finds nothing: there is no /proc.
func holders(string) []string { return nil }

// fuseReady finds nothing wrong: only mounting shows whether it works.
func fuseReady() error { return nil }
