package fs

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/mailfs/mailfs/cache"
	mail "github.com/mailfs/mailfs/cache/message"
)

// directory is a folder of an account, or the account itself: it holds folders and, where it is a mailbox, messages.
// Whether it is a mailbox can change from one LIST to the next, so the node only knows its path.
type directory struct {
	node
	account *account
	path    []string // names from the account's directory to this one

	lookups atomic.Int64                  // how many names the kernel has looked up; see lookupsToAdapt
	inodes  atomic.Pointer[mailboxInodes] // of the UIDVALIDITY asked for last; nil before the first message

	mu         sync.Mutex // guards what follows; held while the kernel is told to forget the attributes
	kernelAttr directoryAttr
	listed     *contents // of the newest listing; nil before the first
}

// directoryAttr are those attributes of a directory that change. The zero value says that the kernel holds none, or
// will ask before it uses them.
type directoryAttr struct {
	modified time.Time
	links    uint32 // 2 and one for each folder in the directory
}

// contents is what tells one listing of a directory from another.
type contents struct {
	folder   *folder
	validity uint32    // UIDVALIDITY; 0 where the directory is no mailbox
	changed  time.Time // when the messages changed last; zero where the directory is no mailbox
}

var (
	_ gofs.NodeGetattrer      = (*directory)(nil)
	_ gofs.NodeLookuper       = (*directory)(nil)
	_ gofs.NodeOpendirHandler = (*directory)(nil)
	_ gofs.NodeGetxattrer     = (*directory)(nil)
)

func (d *directory) stable() gofs.StableAttr {
	return gofs.StableAttr{Mode: syscall.S_IFDIR, Ino: d.fsys.inodes.directory(d.account.cache.Name(), d.path)}
}

// where says in logs which directory it is.
func (d *directory) where() string {
	return strings.Join(append([]string{d.account.cache.Name()}, d.path...), "/")
}

// attr returns the attributes by what the cache knows now.
func (d *directory) attr() directoryAttr {
	a := directoryAttr{d.fsys.mounted, 2}
	f := d.account.cachedFolder(d.path)
	if f == nil {
		return a
	}
	a.links += uint32(len(f.folders))
	if f.mailbox != nil {
		if t := f.mailbox.Known(); t != nil {
			a.modified = t.Changed()
		}
	}
	if f.changed.After(a.modified) {
		a.modified = f.changed
	}
	return a
}

// fillAttr fills in the attributes and notes that the kernel has them.
func (d *directory) fillAttr(out *fuse.Attr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kernelAttr = d.attr()
	d.fsys.attributes(out, syscall.S_IFDIR|d.fsys.options.DirMode, d.kernelAttr.modified)
	out.Nlink = d.kernelAttr.links
}

// invalidateIfChanged has the kernel ask for the attributes if it holds others.
func (d *directory) invalidateIfChanged() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kernelAttr != (directoryAttr{}) && d.kernelAttr != d.attr() {
		d.kernelAttr = directoryAttr{}
		forgetAttributes(&d.Inode)
	}
}

func (d *directory) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d.fillAttr(&out.Attr)
	out.SetTimeout(remember)
	return 0
}

// Lookup answers from the cache. It asks the server only for a name that the cache does not know.
func (d *directory) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	d.lookups.Add(1)
	if len(d.path) == 0 && d.IsRoot() {
		if status := d.fsys.lookupStatus(ctx, &d.Inode, name, out); status != nil {
			return status, 0
		}
	}
	if f := d.account.cachedFolder(d.path); f != nil {
		if hiddenNames[name] { // no folder is called so
			if view := d.lookupView(ctx, f, name, out); view != nil {
				return view, 0
			}
		} else if child := d.lookUpCached(ctx, f, name, out); child != nil {
			return child, 0
		}
	}
	f, err := d.account.freshFolder(ctx, d.path)
	if err == nil && f.mailbox != nil && strings.HasSuffix(name, mail.Suffix) {
		_, err = f.mailbox.Table(ctx)
	}
	if err != nil {
		return nil, d.fsys.errno("looking up "+name+" in "+d.where(), err)
	}
	if hiddenNames[name] {
		if view := d.lookupView(ctx, f, name, out); view != nil {
			return view, 0
		}
	} else if child := d.lookUpCached(ctx, f, name, out); child != nil {
		return child, 0
	}
	return nil, syscall.ENOENT
}

// lookUpCached returns the node of a folder or a message that the cache knows; nil if it knows none of that name.
func (d *directory) lookUpCached(ctx context.Context, f *folder, name string, out *fuse.EntryOut) *gofs.Inode {
	if f.child(name) != nil {
		return d.subdirectory(ctx, name, out)
	}
	if f.mailbox == nil {
		return nil
	}
	t := f.mailbox.Known()
	if t == nil {
		return nil
	}
	e, ok := t.Lookup(name)
	if !ok {
		return nil
	}
	return d.message(ctx, f.mailbox, e, out)
}

// subdirectory returns the node of a folder in the directory.
func (d *directory) subdirectory(ctx context.Context, name string, out *fuse.EntryOut) *gofs.Inode {
	child := &directory{node: node{fsys: d.fsys}, account: d.account, path: append(d.path[:len(d.path):len(d.path)], name)}
	inode := d.existing(name, child.stable())
	if inode == nil {
		inode = d.NewInode(ctx, child, child.stable())
	}
	inode.Operations().(*directory).fillAttr(&out.Attr)
	out.SetAttrTimeout(remember)
	return inode
}

// message returns the node of a message in the directory.
func (d *directory) message(ctx context.Context, m *cache.Mailbox, e cache.Entry, out *fuse.EntryOut) *gofs.Inode {
	stable := gofs.StableAttr{Mode: syscall.S_IFREG, Ino: d.messageInode(m, e.Ref), Gen: uint64(e.Holder)}
	inode := d.existing(e.Name, stable)
	if inode == nil {
		inode = d.NewInode(ctx, newMessage(d, m, e.Ref), stable)
	}
	out.SetAttrTimeout(inode.Operations().(*message).fillAttr(e, &out.Attr))
	return inode
}

// messageInode returns the inode number of a message.
func (d *directory) messageInode(m *cache.Mailbox, ref cache.Ref) uint64 {
	common := d.inodes.Load()
	if common == nil || common.validity != ref.UIDValidity {
		c := d.fsys.inodes.mailbox(d.account.cache.Name(), m.Name(), ref.UIDValidity)
		common = &c
		d.inodes.Store(common)
	}
	return d.fsys.inodes.message(*common, ref.UID)
}

// OpendirHandle lists the directory as it is now. The kernel keeps the listing until the directory changes.
func (d *directory) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	f, t, err := d.open(ctx)
	if err != nil {
		return nil, 0, d.fsys.errno("listing "+d.where(), err)
	}
	d.account.noteListed(f.mailbox)
	d.invalidateIfChanged() // so that stat(2) after the listing sees its mtime

	now := &contents{folder: f}
	if t != nil {
		now.validity, now.changed = t.UIDValidity(), t.Changed()
	}
	d.mu.Lock()
	before := d.listed
	d.listed = now
	d.mu.Unlock()
	flags := uint32(fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE)
	switch {
	case before != nil && !before.same(now):
		flags = 0 // the kernel drops the listing that it keeps
	case t != nil && t.Len() > manyMessages:
		flags = 0 // the kernel would keep a listing without attributes, and ask for them one by one
	}
	return d.listing(f, t), flags, 0
}

func (c *contents) same(o *contents) bool {
	return c.folder.sameFolders(o.folder) && c.validity == o.validity && c.changed.Equal(o.changed)
}

// open returns the folder at the directory's path and, if it is a mailbox, its messages: nil where it is none. It asks
// for both at the same time.
func (d *directory) open(ctx context.Context) (*folder, *cache.Table, error) {
	type answer struct {
		table *cache.Table
		err   error
	}
	var early chan answer
	expected := d.account.cachedFolder(d.path)
	if expected != nil && expected.mailbox != nil {
		early = make(chan answer, 1)
		go func() {
			t, err := expected.mailbox.Table(ctx)
			early <- answer{t, err}
		}()
	}
	f, err := d.account.freshFolder(ctx, d.path)
	var a answer
	if early != nil {
		a = <-early
	}
	switch {
	case err != nil:
		return nil, nil, err
	case f.mailbox == nil:
		return f, nil, nil
	case early == nil || expected.mailbox != f.mailbox:
		a.table, a.err = f.mailbox.Table(ctx)
	}
	return f, a.table, a.err
}

// listing returns a listing of a folder and its messages; t is nil where there are none.
func (d *directory) listing(f *folder, t *cache.Table) *listing {
	l := newListing(d)
	lookups := d.lookups.Load()
	l.refill = func() {
		f := d.account.cachedFolder(d.path)
		if f == nil || f.mailbox == nil {
			return
		}
		if t := f.mailbox.Known(); t != nil {
			d.fill(l, lookups, f, t)
		}
	}
	d.fill(l, lookups, f, t)
	return l
}

// fill makes a listing one of a folder and its messages. lookups is what d.lookups was when the directory was opened.
func (d *directory) fill(l *listing, lookups int64, f *folder, t *cache.Table) {
	l.entries = l.entries[:2] // "." and ".."
	for _, c := range f.folders {
		path := append(d.path[:len(d.path):len(d.path)], c.name)
		l.add(c.name, syscall.S_IFDIR, d.fsys.inodes.directory(d.account.cache.Name(), path))
	}
	l.table = t
	l.message = func(e cache.Entry) fuse.DirEntry {
		return fuse.DirEntry{Name: e.Name, Mode: syscall.S_IFREG, Ino: d.messageInode(f.mailbox, e.Ref)}
	}
	l.lookup = func(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
		i := l.next - 1 - len(l.entries)
		switch {
		case name != l.last.Name:
			return d.Lookup(ctx, name, out)
		case i < 0:
			return d.subdirectory(ctx, name, out), 0
		case t.Len() > manyMessages && d.lookups.Load()-lookups < lookupsToAdapt:
			return nil, syscall.EAGAIN
		}
		e, ok := current(f.mailbox, t, i)
		if !ok {
			return nil, syscall.ENOENT
		}
		return d.message(ctx, f.mailbox, e, out), 0
	}
}

// In a mailbox of more than manyMessages, entries are listed without attributes until the kernel has looked up
// lookupsToAdapt names one by one. A program that only wants names (ls, a shell's *) gets them five to eight times as fast,
// and ls -l, which looks at each entry after reading it, notices little. A program that reads 100,000 names before it looks
// at the first, as find does, pays for it the first time, while the kernel does not know the names yet.
const (
	manyMessages   = 50_000
	lookupsToAdapt = 8
)

// gone tells whether a message is not in its mailbox any more, as far as the cache knows.
func gone(m *cache.Mailbox, ref cache.Ref) bool {
	t := m.Known()
	if t == nil {
		return false
	}
	_, ok := find(t, ref)
	return !ok
}

// find returns what a table says of a message; false if it does not hold the message.
func find(t *cache.Table, ref cache.Ref) (cache.Entry, bool) {
	if t == nil || t.UIDValidity() != ref.UIDValidity {
		return cache.Entry{}, false
	}
	e, ok := t.Find(ref.UID)
	return e, ok && e.Ref == ref
}

// current returns the newest entry of the message at index i of a table, which the cache may have replaced since; false
// if the message is gone.
func current(m *cache.Mailbox, t *cache.Table, i int) (cache.Entry, bool) {
	e := t.At(i)
	now := m.Known()
	if now == t || now == nil {
		return e, true
	}
	return find(now, e.Ref)
}
