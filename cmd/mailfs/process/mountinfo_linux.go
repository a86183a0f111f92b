package process

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fsType is the type of file system that the kernel lists for a mount of mailfs.
const fsType = "fuse.mailfs"

// probe asks the file system at a path whether it answers. The call may hang.
func probe(path string) error {
	var st unix.Statx_t
	// FORCE_SYNC, or the kernel would answer from its cache. Statfs would make mailfs ask the server for the quota.
	return unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_FORCE_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, &st)
}

// errBusy: a process uses something below the mountpoint.
var errBusy = errors.New("busy")

// unmount unmounts the uppermost mount at a path. With lazy, a mount in use disappears from the path at once and ends after its
// last user. Root asks the kernel, other users ask fusermount3.
func unmount(path string, lazy bool) error {
	if os.Geteuid() == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if lazy {
			flags |= unix.MNT_DETACH
		}
		err := unix.Unmount(path, flags)
		if errors.Is(err, unix.EBUSY) {
			return errBusy
		}
		return err
	}
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	cmd := exec.Command("fusermount3", append(args, "--", path)...)
	cmd.Env = append(Environment(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return errors.New("fusermount3 is missing; install fuse3")
	case bytes.Contains(out, []byte("busy")):
		return errBusy
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return errors.New(cmp.Or(strings.TrimPrefix(first, "fusermount3: "), "fusermount3: "+err.Error()))
}

// holders names the processes that use something below a path: as an open file, as their working directory, root or program. It
// finds those that /proc shows this user. Reading links in /proc does not touch the mount.
func holders(path string) []string {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []string
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		dir := filepath.Join("/proc", p.Name())
		if !holds(dir, path) {
			continue
		}
		name, _ := os.ReadFile(filepath.Join(dir, "comm"))
		found = append(found, fmt.Sprintf("%s (%s)", strings.TrimSpace(string(name)), p.Name()))
	}
	return found
}

// holds tells whether a process uses something below a path. proc is its directory in /proc.
func holds(proc, path string) bool {
	links := []string{filepath.Join(proc, "cwd"), filepath.Join(proc, "root"), filepath.Join(proc, "exe")}
	if open, err := os.ReadDir(filepath.Join(proc, "fd")); err == nil {
		for _, fd := range open {
			links = append(links, filepath.Join(proc, "fd", fd.Name()))
		}
	}
	for _, l := range links {
		if target, err := os.Readlink(l); err == nil && Within(target, path) {
			return true
		}
	}
	return false
}

// fuseReady returns an error where this user can't mount on this machine.
func fuseReady() error {
	err := unix.Access("/dev/fuse", unix.R_OK|unix.W_OK)
	switch {
	case errors.Is(err, unix.ENOENT):
		return errors.New("there is no /dev/fuse: load the kernel module (modprobe fuse), or give the container " +
			"--device /dev/fuse")
	case err != nil:
		return errors.New("/dev/fuse: this user may not open it; on most machines all users may (chmod 0666)")
	}
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("fusermount3"); err != nil {
			return errors.New("fusermount3 is missing: users need it to mount; install fuse3")
		}
	}
	return nil
}
