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

// rememberView is how long the kernel may use names in views. Views are directories that every mailbox has, but never lists,
// so that a program that walks a mailbox meets each message once. Nobody tells the kernel of changes in them.
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

// viewDirectory fills in the attributes of a directory in a view. Its subdirectories are not counted: one link says so, as
// on btrfs.
func (f *filesystem) viewDirectory(out *fuse.Attr, modified time.Time) {
	f.attributes(out, syscall.S_IFDIR|f.options.DirMode, modified)
	out.Nlink = 1
}

// viewErrno turns an error into the errno that a program sees of what a view shows of a message. It logs errors that say
// too little; doing is what failed, where the file in the tree.
func (f *filesystem) viewErrno(doing, where string, err error) syscall.Errno {
	e := openErrno(err)
	if e == syscall.EIO || e == syscall.EFBIG {
		f.log.Warn(doing+" a view", "file", where, "error", err)
	}
	return e
}

// modified returns when a mailbox has changed last, as far as the cache knows.
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
	mode      uint32 // of its entries: syscall.S_IFREG or S_IFDIR
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

// find returns the message that a name in the view stands for, and the inode number and mode of the name. It asks the
// server only for a name that the cache does not know.
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
	return e, gofs.StableAttr{Mode: v.mode, Ino: ino, Gen: uint64(e.Holder)}, 0
}

// where names the view in logs, or a file in it.
func (v *mailboxView) where(names ...string) string {
	return v.directory.whereIn(v.name, names...)
}

// findMessage returns the message of a mailbox that has a name. It asks the server only for a name that the cache does not
// know.
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

// whereIn names a view of the directory in logs, or a file in it.
func (d *directory) whereIn(view string, names ...string) string {
	return strings.Join(append([]string{d.where(), view}, names...), "/")
}
