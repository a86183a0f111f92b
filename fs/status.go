package fs

import (
	"context"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// The hidden directory at the root of a mount, and what it holds.
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

// lookupStatus returns the hidden directory, if that is the name and there is one.
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
	l.add(statusFileName, syscall.S_IFDIR, statusInode+1)
	return l, 0, 0
}

// Lookup makes a new file each time, which holds what there is to say at that time and never changes: so it can be opened
// without asking and read from the kernel's pages like any other file.
func (d *statusDir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if name != statusFileName {
		return nil, syscall.ENOENT
	}
	s := &statusFile{node: node{fsys: d.fsys}, content: d.fsys.options.Status(), made: time.Now()}
	s.tell(&out.Attr)
	out.SetEntryTimeout(1) // a nanosecond; 0 would mean the default
	out.SetAttrTimeout(remember)
	ino := statusInode + 1 + d.fsys.statusFiles.Add(1)
	return d.NewInode(ctx, s, gofs.StableAttr{Mode: syscall.S_IFREG, Ino: ino}), 0
}

// statusInode is the inode of the hidden directory; those of its files come after it. No directory and no message has
// them: the upper half is that of a directory's path or a mailbox that nobody has.
const statusInode = 1<<63 - 1<<31

// statusFile is status.json as it was at one time.
type statusFile struct {
	node
	content []byte
	made    time.Time
}

var (
	_ gofs.NodeGetattrer  = (*statusFile)(nil)
	_ gofs.NodeOpener     = (*statusFile)(nil)
	_ gofs.NodeFlusher    = (*statusFile)(nil)
	_ gofs.NodeReader     = (*statusFile)(nil)
	_ gofs.NodeGetxattrer = (*statusFile)(nil)
)

func (s *statusFile) tell(out *fuse.Attr) {
	s.fsys.attributes(out, syscall.S_IFREG|s.fsys.options.FileMode, s.made)
	out.Nlink = 1
	out.Size = uint64(len(s.content))
	out.Blocks = (out.Size + 511) / 512
}

func (s *statusFile) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	s.tell(&out.Attr)
	out.SetTimeout(remember)
	return 0
}

func (s *statusFile) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	if s.fsys.noOpen.Load() {
		return nil, 0, syscall.ENOSYS
	}
	return nil, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH, 0
}

func (s *statusFile) Flush(context.Context, gofs.FileHandle) syscall.Errno { return 0 }

func (s *statusFile) Read(_ context.Context, _ gofs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	off = min(off, int64(len(s.content)))
	return fuse.ReadResultData(s.content[off:min(off+int64(len(dest)), int64(len(s.content)))]), 0
}
