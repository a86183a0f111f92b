package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
)

// resolveMountpoint returns the absolute path of a mountpoint, symbolic links followed, without touching what may be
// mounted there: a dead mount answers nothing but errors, a hung one nothing at all.
func resolveMountpoint(path string) (string, error) {
	if path == "" { // of a variable that holds nothing, and not the working directory
		return "", wrongUsage("MOUNTPOINT is empty")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", path, err)
	}
	for range 40 { // as many links as the kernel follows
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", fileError(filepath.Dir(path), err)
		}
		path = filepath.Join(dir, filepath.Base(path))
		target, err := os.Readlink(path) // of a mountpoint the kernel answers itself: not a link
		if err != nil {
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = filepath.Clean(target)
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}

// ourMounts lists the mountpoints of mailfs for which want is true, one entry for each mount, the uppermost last.
func ourMounts(want func(mountpoint string) bool) ([]string, error) {
	infos, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return i.FSType != fsType || !want(i.Mountpoint), false
	})
	if err != nil {
		return nil, fmt.Errorf("reading the list of mounts: %w", err)
	}
	var at []string
	for _, i := range infos {
		at = append(at, i.Mountpoint)
	}
	return at, nil
}

// uppermost returns the type of the file system that a path shows; empty if nothing is mounted exactly there.
func uppermost(path string) (string, error) {
	infos, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Mountpoint != path, false })
	if err != nil {
		return "", fmt.Errorf("reading the list of mounts: %w", err)
	}
	if len(infos) == 0 {
		return "", nil
	}
	return infos[len(infos)-1].FSType, nil
}

// abort ends the connection of a mount that does not answer, with all that wait for it: a process among them that is to
// end can't before. That it can't be done is no reason not to unmount.
func abort(path string) {
	infos, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return i.Mountpoint != path || i.FSType != fsType, false
	})
	if err != nil || len(infos) == 0 {
		return
	}
	connection := fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", infos[len(infos)-1].Minor)
	_ = os.WriteFile(connection, []byte("1"), 0)
}

// aliveWithin is how long a mount may take to answer before it counts as hung.
const aliveWithin = 2 * time.Second

// clearDead unmounts what processes of ours that are gone have left at a mountpoint, and tells whether there was
// anything. A mount that answers is an error.
func clearDead(path string) (cleared bool, err error) {
	for {
		kind, err := uppermost(path)
		if err != nil || kind != fsType {
			return cleared, err
		}
		answer := make(chan error, 1)
		go func() { answer <- probe(path) }()
		select {
		case err = <-answer:
		case <-time.After(aliveWithin):
			err = syscall.ENOTCONN
		}
		if !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) {
			return cleared, fmt.Errorf("%s: mail is mounted there already; mailfs umount ends it", path)
		}
		abort(path)
		if err := unmount(path, true); err != nil {
			return cleared, fmt.Errorf("clearing a dead mount from %s: %w", path, err)
		}
		cleared = true
	}
}
