package fs

import (
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// How long the kernel may go on with what it was told, of what there is and of what there is not.
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
	mounted  time.Time

	// noOpen is set when the kernel has been told to open files without asking, which it does from then on for all files.
	noOpen atomic.Bool

	statusFiles atomic.Uint64 // that were made
}

// sizesHold tells whether the sizes that are announced are to be relied on, in every account.
func (f *filesystem) sizesHold() bool {
	for _, a := range f.accounts {
		if !a.cache.SizesHold() {
			return false
		}
	}
	return true
}

// errno turns an error into what a program sees, and logs those that it tells too little of.
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
