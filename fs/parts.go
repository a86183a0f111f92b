package fs

import (
	"context"
	"fmt"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/mailfs/mailfs/cache"
)

// partsName is the name of the view that shows the parts of messages as files.
const partsName = ".parts"

// parts is the directory .parts of a mailbox: it holds a directory for each message.
type parts struct{ mailboxView }

var _ gofs.NodeLookuper = (*parts)(nil)

func newParts(d *directory, m *cache.Mailbox) *parts {
	return &parts{mailboxView{
		node: node{fsys: d.fsys}, directory: d, mailbox: m, name: partsName, mode: syscall.S_IFDIR,
	}}
}

func (p *parts) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	e, stable, errno := p.find(ctx, name)
	if errno != 0 {
		return nil, errno
	}
	p.fsys.viewDirectory(&out.Attr, e.Time)
	out.SetEntryTimeout(rememberView)
	out.SetAttrTimeout(remember)
	if inode := p.existing(name, stable); inode != nil {
		return inode, 0
	}
	child := &messageParts{node: node{fsys: p.fsys}, parts: p, ref: e.Ref, name: name, modified: e.Time}
	return p.NewInode(ctx, child, stable), 0
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
	return d.parts.where(append([]string{d.name}, names...)...)
}

// inode returns the inode number of a part.
func (d *messageParts) inode(name string) uint64 {
	in := d.parts.directory
	called := fmt.Sprintf("%d %d %s", d.ref.UIDValidity, d.ref.UID, name)
	return d.fsys.inodes.hashed("part", in.account.cache.Name(), in.path, called)
}

// files returns what the directory holds. It may wait for the server.
func (d *messageParts) files(ctx context.Context) ([]cache.PartFile, syscall.Errno) {
	files, err := d.parts.mailbox.Parts(ctx, d.ref)
	if err != nil {
		return nil, d.fsys.viewErrno("listing", d.where(), err)
	}
	return files, 0
}

func (d *messageParts) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	stable := gofs.StableAttr{Mode: syscall.S_IFREG, Ino: d.inode(name), Gen: uint64(d.ref.Holder)}
	if inode := d.existing(name, stable); inode != nil {
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
