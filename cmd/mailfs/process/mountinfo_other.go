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

// fsType is what macOS calls every mount of macFUSE; there is no telling whose it is.
const fsType = "macfuse"

// probe asks a file system for a sign of life. It may hang.
func probe(path string) error {
	_, err := os.Lstat(path)
	return err
}

// errBusy: something is in use below the mountpoint.
var errBusy = errors.New("busy")

// unmount takes away the mount at a path, with what uses it when lazy.
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

// holders is not known without /proc.
func holders(string) []string { return nil }

// fuseReady is found out by mounting.
func fuseReady() error { return nil }
