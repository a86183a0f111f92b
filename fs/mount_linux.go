package fs

import (
	"os"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// mountFlags are the options that mount(2) takes as flags, and the flags that each of them sets or clears.
var mountFlags = map[string]struct{ set, clear uintptr }{
	"ro": {set: unix.MS_RDONLY}, "rw": {clear: unix.MS_RDONLY},
	"nosuid": {set: unix.MS_NOSUID}, "suid": {clear: unix.MS_NOSUID},
	"nodev": {set: unix.MS_NODEV}, "dev": {clear: unix.MS_NODEV},
	"noexec": {set: unix.MS_NOEXEC}, "exec": {clear: unix.MS_NOEXEC},
	"sync": {set: unix.MS_SYNCHRONOUS}, "async": {clear: unix.MS_SYNCHRONOUS}, "dirsync": {set: unix.MS_DIRSYNC},
	"noatime": {set: unix.MS_NOATIME}, "atime": {clear: unix.MS_NOATIME},
	"nodiratime": {set: unix.MS_NODIRATIME}, "diratime": {clear: unix.MS_NODIRATIME},
	"relatime": {set: unix.MS_RELATIME}, "norelatime": {clear: unix.MS_RELATIME},
	"strictatime": {set: unix.MS_STRICTATIME}, "nostrictatime": {clear: unix.MS_STRICTATIME},
	"nosymfollow": {set: unix.MS_NOSYMFOLLOW}, "symfollow": {clear: unix.MS_NOSYMFOLLOW},
}

// mountDirectly has root mount by mount(2), so that root needs no fusermount3. Everybody else does.
func mountDirectly(o *fuse.MountOptions) {
	if os.Geteuid() != 0 {
		return
	}
	o.DirectMountStrict = true
	o.DirectMountFlags = unix.MS_MGC_VAL // the kernel ignores it; with 0, go-fuse would use flags of its own
	var rest []string
	for _, option := range o.Options {
		f, ok := mountFlags[option]
		if !ok {
			rest = append(rest, option)
		}
		o.DirectMountFlags = o.DirectMountFlags&^f.clear | f.set
	}
	o.Options = rest
}

// awaitMount has nothing to wait for: NewServer returns when the mount is there. WaitMount would open a file in it, and a
// process that is killed while it waits for an answer of its own can't end before somebody aborts the connection.
func awaitMount(*fuse.Server) error { return nil }
