package fs

import (
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// How long the kernel may use names and attributes without asking again, and that a name does not exist.
const (
	remember         = time.Hour
	rememberNegative = time.Second
)

// filesystem is what all nodes of a mount share.
type filesystem struct {
	options  Options
	log      *slog.Logger
	accounts []*account
	inodes   inodes
	notifier *notifier
	mounted  time.Time // time of directories that nothing else gives a time

	// noOpen is set when the kernel has been told to open files without asking. It then does so until the mount ends.
	noOpen atomic.Bool

	statusFiles atomic.Uint64 // how many files status.json were made
}

// sizesHold tells whether the sizes that servers announce can be relied on, in every account.
func (f *filesystem) sizesHold() bool {
	for _, a := range f.accounts {
		if !a.cache.SizesHold() {
			return false
		}
	}
	return true
}

// errno turns an error into the errno that a program sees. EIO says too little, so the error is logged then; doing is what
// failed.
func (f *filesystem) errno(doing string, err error) syscall.Errno {
	e := errno(err)
	if e == syscall.EIO {
		f.log.Warn(doing, "error", err)
	}
	return e
}

// node is what all nodes have in common.
type node struct {
	gofs.Inode
	readOnly
	fsys *filesystem
}

// existing returns the child that the kernel may know under a name, if it is the one that is meant; else nil.
func (n *node) existing(name string, stable gofs.StableAttr) *gofs.Inode {
	if child := n.GetChild(name); child != nil && child.StableAttr() == stable {
		return child
	}
	return nil
}

// attributes fills in what is the same for all nodes of a kind.
func (f *filesystem) attributes(out *fuse.Attr, mode uint32, t time.Time) {
	out.Mode = mode
	out.Owner = fuse.Owner{Uid: f.options.UID, Gid: f.options.GID}
	out.SetTimes(&t, &t, &t)
	out.Blksize = 4096
}
