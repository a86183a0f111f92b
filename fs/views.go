package fs

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
)

// Views are directories that every mailbox has and never lists, so that who walks a mailbox does not meet its messages
// twice. Nobody tells the kernel what changes in them, so it is to ask again soon.
const rememberView = 10 * time.Second

// lookupView returns the view of a name; nil if the directory has none.
func (d *directory) lookupView(ctx context.Context, f *folder, name string, out *fuse.EntryOut) *gofs.Inode {
	var child gofs.InodeEmbedder
	switch {
	case name == searchName && (f.mailbox != nil || len(d.path) == 0):
		child = &searches{node{fsys: d.fsys}, d}
	case f.mailbox == nil:
		return nil
	case name == textsName:
		child = &texts{node{fsys: d.fsys}, d, f.mailbox}
	case name == partsName:
		child = &parts{node{fsys: d.fsys}, d, f.mailbox}
	default:
		return nil
	}
	d.fsys.viewDirectory(&out.Attr, d.fsys.mounted)
	out.SetAttrTimeout(rememberView)
	out.SetEntryTimeout(rememberView)
	ino := d.fsys.inodes.view(name, d.account.cache.Name(), d.path)
	return d.NewInode(ctx, child, gofs.StableAttr{Mode: syscall.S_IFDIR, Ino: ino})
}

// viewDirectory fills in the attributes of a directory in a view. It counts no subdirectories: one link says that it
// does not tell, as on btrfs.
func (f *filesystem) viewDirectory(out *fuse.Attr, modified time.Time) {
	f.attributes(out, syscall.S_IFDIR|f.options.DirMode, modified)
	out.Nlink = 1
}

// modified is when a mailbox has changed last, as far as is known.
func (f *filesystem) modified(m *cache.Mailbox) time.Time {
	if t := m.Known(); t != nil {
		return t.Changed()
	}
	return f.mounted
}

// find returns the message of a mailbox that a file of a name is. It asks the server only for what is not known.
func find(ctx context.Context, m *cache.Mailbox, name string) (cache.Entry, error) {
	if t := m.Known(); t != nil {
		if e, ok := t.Lookup(name); ok {
			return e, nil
		}
	}
	t, err := m.Table(ctx)
	if err != nil {
		return cache.Entry{}, err
	}
	if e, ok := t.Lookup(name); ok {
		return e, nil
	}
	return cache.Entry{}, remote.ErrNoMessage
}

// viewFile is a file that is made of a message. What it holds never changes. How long it is may have to be found out, which
// is put off until somebody wants to know.
type viewFile struct {
	node
	where    string // for logs
	modified time.Time

	known func() (int64, bool) // the size, if it is known
	size  func(context.Context) (int64, error)
	bytes func(context.Context) ([]byte, error)

	mu   sync.Mutex // guards what follows
	told int64      // size that the kernel was told; unsettled when it will ask
}

var (
	_ gofs.NodeGetattrer  = (*viewFile)(nil)
	_ gofs.NodeOpener     = (*viewFile)(nil)
	_ gofs.NodeFlusher    = (*viewFile)(nil)
	_ gofs.NodeReader     = (*viewFile)(nil)
	_ gofs.NodeLseeker    = (*viewFile)(nil)
	_ gofs.NodeGetxattrer = (*viewFile)(nil)
)

// tell fills in the attributes and notes that the kernel has them.
func (f *viewFile) tell(size int64, out *fuse.Attr) {
	f.fsys.attributes(out, syscall.S_IFREG|f.fsys.options.FileMode, f.modified)
	out.Nlink = 1
	out.Size = uint64(max(size, 0))
	out.Blocks = (out.Size + 511) / 512
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = size
}

// lookUp fills in the answer to a lookup of the file. The kernel asks for the size before it uses it, unless it is known.
func (f *viewFile) lookUp(out *fuse.EntryOut) {
	out.SetEntryTimeout(rememberView)
	if size, ok := f.known(); ok {
		f.tell(size, &out.Attr)
		out.SetAttrTimeout(remember)
		return
	}
	f.tell(unsettled, &out.Attr)
	out.SetAttrTimeout(0)
}

func (f *viewFile) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	size, err := f.size(ctx)
	if err != nil {
		return f.errno(err)
	}
	f.tell(size, &out.Attr)
	out.SetTimeout(remember)
	return 0
}

// Open finds out the size before anybody reads, as long as the kernel asks for leave to open files.
func (f *viewFile) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	if f.fsys.noOpen.Load() {
		return nil, 0, syscall.ENOSYS
	}
	size, err := f.size(ctx)
	if err != nil {
		return nil, 0, f.errno(err)
	}
	f.settle(size)
	return nil, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH, 0
}

func (f *viewFile) Flush(context.Context, gofs.FileHandle) syscall.Errno { return syscall.ENOSYS }

func (f *viewFile) Lseek(context.Context, gofs.FileHandle, uint64, uint32) (uint64, syscall.Errno) {
	return 0, syscall.ENOSYS
}

func (f *viewFile) Read(ctx context.Context, _ gofs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	content, err := f.bytes(ctx)
	if err != nil {
		return nil, f.errno(err)
	}
	f.settle(int64(len(content)))
	off = min(off, int64(len(content)))
	return fuse.ReadResultData(content[off:min(off+int64(len(dest)), int64(len(content)))]), 0
}

// settle has the kernel ask for the size if it is not the one it was told: made anew of the message where it was made of the
// server's account of it before, a view may differ.
func (f *viewFile) settle(size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.told == unsettled || f.told == size {
		return
	}
	f.told = unsettled
	forgetAttributes(&f.Inode)
}

func (f *viewFile) errno(err error) syscall.Errno {
	e := openErrno(err)
	if e == syscall.EIO || e == syscall.EFBIG {
		f.fsys.log.Warn("making a view", "file", f.where, "error", err)
	}
	return e
}

// whereIn says in logs which file it is.
func (d *directory) whereIn(view string, names ...string) string {
	return strings.Join(append([]string{d.where(), view}, names...), "/")
}
