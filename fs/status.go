package fs

import (
	"context"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// The hidden directory at the root of a mount, and the file that it holds.
const (
	statusDirName  = ".mailfs"
	statusFileName = "status.json"
)

// statusDir is the directory .mailfs, which is found but never listed.
type statusDir struct {
	node
}

var (
	_ gofs.NodeGetattrer      = (*statusDir)(nil)
	_ gofs.NodeLookuper       = (*statusDir)(nil)
	_ gofs.NodeOpendirHandler = (*statusDir)(nil)
	_ gofs.NodeGetxattrer     = (*statusDir)(nil)
)

// lookupStatus returns the hidden directory if name is its name and the mount has one, else nil.
func (f *filesystem) lookupStatus(ctx context.Context, parent *gofs.Inode, name string, out *fuse.EntryOut) *gofs.Inode {
	if name != statusDirName || f.options.Status == nil {
		return nil
	}
	f.attributes(&out.Attr, syscall.S_IFDIR|f.options.DirMode, f.mounted)
	out.Nlink = 2
	out.SetAttrTimeout(remember)
	d := &statusDir{node{fsys: f}}
	return parent.NewInode(ctx, d, gofs.StableAttr{Mode: syscall.S_IFDIR, Ino: statusInode})
}

func (d *statusDir) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d.fsys.attributes(&out.Attr, syscall.S_IFDIR|d.fsys.options.DirMode, d.fsys.mounted)
	out.Nlink = 2
	out.SetTimeout(remember)
	return 0
}

func (d *statusDir) OpendirHandle(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	l := newListing(d)
	l.lookup = d.Lookup
	l.add(statusFileName, syscall.S_IFREG, statusInode+1)
	return l, 0, 0
}

// Lookup makes a new file each time, with the status of that time. So its bytes never change, and the kernel may keep them
// and open it without asking, like any other file.
func (d *statusDir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if name != statusFileName {
		return nil, syscall.ENOENT
	}
	s := newStatusFile(d.fsys, d.fsys.options.Status())
	s.lookUp(out)
	out.SetEntryTimeout(1) // a nanosecond; 0 would mean the default
	ino := statusInode + 1 + d.fsys.statusFiles.Add(1)
	return d.NewInode(ctx, s, gofs.StableAttr{Mode: syscall.S_IFREG, Ino: ino}), 0
}

// statusInode is the inode number of the hidden directory; those of its files come after it. Nothing else has them: inodes
// gives out no upper part of which all bits are ones.
const statusInode = 1<<63 - 1<<31

// newStatusFile returns status.json as it is now.
func newStatusFile(f *filesystem, status []byte) *viewFile {
	size := int64(len(status))
	return &viewFile{
		file: file{node: node{fsys: f}}, where: statusDirName + "/" + statusFileName, modified: time.Now(),
		knownSize: func() (int64, bool) { return size, true },
		findSize:  func(context.Context) (int64, error) { return size, nil },
		whole:     func(context.Context) ([]byte, error) { return status, nil },
	}
}
