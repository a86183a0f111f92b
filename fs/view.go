package fs

import (
	"context"
	"strings"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/mailfs/mailfs/cache"
	mail "github.com/mailfs/mailfs/cache/message"
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
		child = newTexts(d, f.mailbox)
	case name == partsName:
		child = newParts(d, f.mailbox)
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

// mailboxView is what .text and .parts have in common: a directory of a mailbox that has an entry for each message, named
// after it.
type mailboxView struct {
	node
	directory *directory
	mailbox   *cache.Mailbox
	name      string // of the view
	suffix    string // of the names in it, in place of that of messages
	mode      uint32 // of what it has for a message: syscall.S_IFREG or S_IFDIR
}

var (
	_ gofs.NodeGetattrer      = (*mailboxView)(nil)
	_ gofs.NodeOpendirHandler = (*mailboxView)(nil)
	_ gofs.NodeGetxattrer     = (*mailboxView)(nil)
)

func (v *mailboxView) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	v.fsys.viewDirectory(&out.Attr, v.fsys.modified(v.mailbox))
	out.SetTimeout(rememberView)
	return 0
}

func (v *mailboxView) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	table, err := v.mailbox.Table(ctx)
	if err != nil {
		return nil, 0, v.fsys.errno("listing "+v.where(), err)
	}
	l := newListing(v)
	common := v.inodes(table.UIDValidity())
	l.table = table
	l.message = func(e cache.Entry) fuse.DirEntry {
		return fuse.DirEntry{
			Name: strings.TrimSuffix(e.Name, mail.Suffix) + v.suffix, Mode: v.mode,
			Ino: v.fsys.inodes.message(common, e.UID),
		}
	}
	return l, 0, 0
}

// inodes returns what the inode numbers in the view have in common.
func (v *mailboxView) inodes(validity uint32) mailboxInodes {
	return v.fsys.inodes.inView(v.name, v.directory.account.cache.Name(), v.mailbox.Name(), validity)
}

// find returns the message that a name in the view stands for, and what is fixed of the name's inode. It asks the server
// only where the name is not known.
func (v *mailboxView) find(ctx context.Context, name string) (cache.Entry, gofs.StableAttr, syscall.Errno) {
	base, ok := strings.CutSuffix(name, v.suffix)
	if !ok {
		return cache.Entry{}, gofs.StableAttr{}, syscall.ENOENT
	}
	e, err := findMessage(ctx, v.mailbox, base+mail.Suffix)
	if err != nil {
		return cache.Entry{}, gofs.StableAttr{}, v.fsys.errno("looking up "+v.where(name), err)
	}
	ino := v.fsys.inodes.message(v.inodes(e.UIDValidity), e.UID)
	return e, gofs.StableAttr{Mode: v.mode, Ino: ino}, 0
}

// where says in logs which file of the view it is, or that it is the view.
func (v *mailboxView) where(names ...string) string {
	return v.directory.whereIn(v.name, names...)
}

// findMessage returns the message of a mailbox that has a name. It asks the server only where the name is not known.
func findMessage(ctx context.Context, m *cache.Mailbox, name string) (cache.Entry, error) {
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

// viewFile is a file that mailfs makes, of a message or to show its own state. Finding out its size may take a while, and
// is put off until somebody wants to know.
type viewFile struct {
	file
	where    string // for logs
	modified time.Time

	knownSize func() (int64, bool) // without asking the server; false if it is not known
	findSize  func(context.Context) (int64, error)
	whole     func(context.Context) ([]byte, error) // all bytes
}

var (
	_ gofs.NodeGetattrer  = (*viewFile)(nil)
	_ gofs.NodeOpener     = (*viewFile)(nil)
	_ gofs.NodeReader     = (*viewFile)(nil)
	_ gofs.NodeGetxattrer = (*viewFile)(nil)
	_ content             = (*viewFile)(nil)
)

// tell fills in the attributes and notes that the kernel has them.
func (f *viewFile) tell(size int64, out *fuse.Attr) {
	f.attributes(out, max(size, 0), f.modified)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = size
}

// lookUp fills in the answer to a lookup of the file. The kernel asks for the size before it uses it, unless it is known.
func (f *viewFile) lookUp(out *fuse.EntryOut) {
	out.SetEntryTimeout(rememberView)
	if size, ok := f.knownSize(); ok {
		f.tell(size, &out.Attr)
		out.SetAttrTimeout(remember)
		return
	}
	f.tell(untold, &out.Attr)
	out.SetAttrTimeout(0)
}

func (f *viewFile) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	size, err := f.findSize(ctx)
	if err != nil {
		return f.errno("finding the size of", err)
	}
	f.tell(size, &out.Attr)
	out.SetTimeout(remember)
	return 0
}

func (f *viewFile) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	return openFile(ctx, f, flags)
}

func (f *viewFile) Read(ctx context.Context, _ gofs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return readFile(ctx, f, dest, off)
}

func (f *viewFile) size(ctx context.Context) (int64, error) { return f.findSize(ctx) }

// bytes also corrects the size that the kernel was told, where that was worked out from what the server says of the
// message and not from the bytes themselves.
func (f *viewFile) bytes(ctx context.Context, off int64, n int) ([]byte, func(), error) {
	whole, err := f.whole(ctx)
	if err != nil {
		return nil, nil, err
	}
	size := int64(len(whole))
	f.invalidateIfChanged(size)
	off = min(off, size)
	return whole[off:min(off+int64(n), size)], nil, nil
}

func (f *viewFile) errno(doing string, err error) syscall.Errno {
	e := openErrno(err)
	if e == syscall.EIO || e == syscall.EFBIG {
		f.fsys.log.Warn(doing+" a view", "file", f.where, "error", err)
	}
	return e
}

// whereIn says in logs which file it is.
func (d *directory) whereIn(view string, names ...string) string {
	return strings.Join(append([]string{d.where(), view}, names...), "/")
}
