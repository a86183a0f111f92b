package fs

import (
	"context"
	"maps"
	"slices"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// root is the directory that holds several accounts, each under its name.
type root struct {
	node
}

var (
	_ gofs.NodeOnAdder        = (*root)(nil)
	_ gofs.NodeGetattrer      = (*root)(nil)
	_ gofs.NodeLookuper       = (*root)(nil)
	_ gofs.NodeOpendirHandler = (*root)(nil)
	_ gofs.NodeGetxattrer     = (*root)(nil)
)

func (r *root) OnAdd(ctx context.Context) {
	names := make([]string, len(r.fsys.accounts))
	for i, a := range r.fsys.accounts {
		names[i] = a.cache.Name()
	}
	for i, name := range folderNames(names) {
		a := r.fsys.accounts[i]
		d := &directory{node: node{fsys: r.fsys}, account: a}
		a.inode = r.NewPersistentInode(ctx, d, d.stable())
		r.AddChild(name, a.inode, false)
	}
}

func (r *root) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	r.fsys.attributes(&out.Attr, syscall.S_IFDIR|r.fsys.options.DirMode, r.fsys.mounted)
	out.Nlink = 2 + uint32(len(r.fsys.accounts))
	out.SetTimeout(remember)
	return 0
}

func (r *root) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if status := r.fsys.lookupStatus(ctx, &r.Inode, name, out); status != nil {
		return status, 0
	}
	child := r.GetChild(name)
	if child == nil {
		return nil, syscall.ENOENT
	}
	child.Operations().(*directory).fillAttr(&out.Attr)
	out.SetAttrTimeout(remember)
	return child, 0
}

func (r *root) OpendirHandle(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	l := newListing(r)
	l.lookup = r.Lookup
	children := r.Children()
	for _, name := range slices.Sorted(maps.Keys(children)) {
		l.add(name, syscall.S_IFDIR, children[name].StableAttr().Ino)
	}
	return l, fuse.FOPEN_CACHE_DIR, 0
}
