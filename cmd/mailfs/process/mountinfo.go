package process

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Mounts lists the mountpoints of mailfs for which want is true, one entry for each mount, the uppermost last.
func Mounts(want func(mountpoint string) bool) ([]string, error) {
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

// MountsOfUser lists the mountpoints of the mounts of mailfs that this user has made. The kernel notes who has mounted: no other
// user's mount can be in the list.
func MountsOfUser() ([]string, error) {
	mine := fmt.Sprintf("user_id=%d", os.Geteuid())
	var at []string
	_, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		if i.FSType == fsType && slices.Contains(strings.Split(i.VFSOptions, ","), mine) {
			at = append(at, i.Mountpoint)
		}
		return true, false
	})
	if err != nil {
		return nil, fmt.Errorf("reading the list of mounts: %w", err)
	}
	return at, nil
}

// uppermost returns the type of the file system that is mounted last at a path; empty if nothing is mounted exactly there.
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

// abort ends the connection of a mount that does not answer. Every process that waits for an answer gets an error; until then it
// can't even be killed. Unmounting goes on where abort fails.
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
