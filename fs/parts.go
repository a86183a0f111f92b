package fs

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/mailfs/mailfs/cache"
	mail "github.com/mailfs/mailfs/cache/message"
)

// partsName is the view of what messages consist of.
const partsName = ".parts"

// parts is the directory .parts of a mailbox: it holds a directory for each message.
type parts struct {
	node
	directory *directory
	mailbox   *cache.Mailbox
}

var (
	_ gofs.NodeGetattrer      = (*parts)(nil)
	_ gofs.NodeLookuper       = (*parts)(nil)
	_ gofs.NodeOpendirHandler = (*parts)(nil)
	_ gofs.NodeGetxattrer     = (*parts)(nil)
)

func (p *parts) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	p.fsys.viewDirectory(&out.Attr, p.fsys.modified(p.mailbox))
	out.SetTimeout(rememberView)
	return 0
}

func (p *parts) inodes(validity uint32) mailboxInodes {
	return p.fsys.inodes.inView(partsName, p.directory.account.cache.Name(), p.mailbox.Name(), validity)
}

func (p *parts) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	e, err := find(ctx, p.mailbox, name+mail.Suffix)
	if err != nil {
		return nil, p.fsys.errno("looking up "+p.directory.whereIn(partsName, name), err)
	}
	p.fsys.viewDirectory(&out.Attr, e.Time)
	out.SetEntryTimeout(rememberView)
	out.SetAttrTimeout(remember)
	ino := p.fsys.inodes.message(p.inodes(e.UIDValidity), e.UID)
	stable := gofs.StableAttr{Mode: syscall.S_IFDIR, Ino: ino}
	if inode := p.GetChild(name); inode != nil && inode.StableAttr() == stable {
		return inode, 0
	}
	child := &messageParts{node: node{fsys: p.fsys}, parts: p, ref: e.Ref, name: name, modified: e.Time}
	return p.NewInode(ctx, child, stable), 0
}

func (p *parts) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	table, err := p.mailbox.Table(ctx)
	if err != nil {
		return nil, 0, p.fsys.errno("listing "+p.directory.whereIn(partsName), err)
	}
	l := newListing(p)
	common := p.inodes(table.UIDValidity())
	l.table = table
	l.message = func(e cache.Entry) fuse.DirEntry {
		return fuse.DirEntry{
			Name: strings.TrimSuffix(e.Name, mail.Suffix), Mode: syscall.S_IFDIR,
			Ino: p.fsys.inodes.message(common, e.UID),
		}
	}
	return l, 0, 0
}

// messageParts is the directory of one message in .parts.
type messageParts struct {
	node
	parts    *parts
	ref      cache.Ref
	name     string
	modified time.Time
}

var (
	_ gofs.NodeGetattrer      = (*messageParts)(nil)
	_ gofs.NodeLookuper       = (*messageParts)(nil)
	_ gofs.NodeOpendirHandler = (*messageParts)(nil)
	_ gofs.NodeGetxattrer     = (*messageParts)(nil)
)

func (d *messageParts) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d.fsys.viewDirectory(&out.Attr, d.modified)
	out.SetTimeout(remember)
	return 0
}

func (d *messageParts) where(names ...string) string {
	return d.parts.directory.whereIn(partsName, append([]string{d.name}, names...)...)
}

// inode returns the inode number of a part.
func (d *messageParts) inode(name string) uint64 {
	in := d.parts.directory
	called := fmt.Sprintf("%d %d %s", d.ref.UIDValidity, d.ref.UID, name)
	return d.fsys.inodes.hashed("part", in.account.cache.Name(), in.path, called)
}

func (d *messageParts) files(ctx context.Context) ([]cache.PartFile, syscall.Errno) {
	files, err := d.parts.mailbox.Parts(ctx, d.ref)
	if err == nil {
		return files, 0
	}
	e := openErrno(err)
	if e == syscall.EIO || e == syscall.EFBIG {
		d.fsys.log.Warn("listing parts", "directory", d.where(), "error", err)
	}
	return nil, e
}

func (d *messageParts) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	stable := gofs.StableAttr{Mode: syscall.S_IFREG, Ino: d.inode(name)}
	if inode := d.GetChild(name); inode != nil {
		inode.Operations().(*viewFile).lookUp(out)
		return inode, 0
	}
	files, errno := d.files(ctx)
	if errno != 0 {
		return nil, errno
	}
	m, ref := d.parts.mailbox, d.ref
	for _, f := range files {
		if f.Name != name {
			continue
		}
		child := &viewFile{
			file: file{node: node{fsys: d.fsys}}, where: d.where(name), modified: d.modified,
			knownSize: func() (int64, bool) { return m.KnownPartSize(ref, f) },
			findSize:  func(ctx context.Context) (int64, error) { return m.PartSize(ctx, ref, f) },
			whole:     func(ctx context.Context) ([]byte, error) { return m.PartBytes(ctx, ref, f) },
		}
		child.lookUp(out)
		return d.NewInode(ctx, child, stable), 0
	}
	return nil, syscall.ENOENT
}

func (d *messageParts) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	files, errno := d.files(ctx)
	if errno != 0 {
		return nil, 0, errno
	}
	l := newListing(d)
	for _, f := range files {
		l.add(f.Name, syscall.S_IFREG, d.inode(f.Name))
	}
	return l, 0, 0
}
