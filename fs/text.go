package fs

import (
	"context"
	"strings"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/mailfs/mailfs/cache"
	mail "github.com/mailfs/mailfs/cache/message"
)

// textsName is the view of what messages say, and textSuffix ends the names in it.
const (
	textsName  = ".text"
	textSuffix = ".txt"
)

// texts is the directory .text of a mailbox.
type texts struct {
	node
	directory *directory
	mailbox   *cache.Mailbox
}

var (
	_ gofs.NodeGetattrer      = (*texts)(nil)
	_ gofs.NodeLookuper       = (*texts)(nil)
	_ gofs.NodeOpendirHandler = (*texts)(nil)
	_ gofs.NodeGetxattrer     = (*texts)(nil)
)

func (t *texts) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	t.fsys.viewDirectory(&out.Attr, t.fsys.modified(t.mailbox))
	out.SetTimeout(rememberView)
	return 0
}

func (t *texts) inodes(validity uint32) mailboxInodes {
	return t.fsys.inodes.inView(textsName, t.directory.account.cache.Name(), t.mailbox.Name(), validity)
}

func (t *texts) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	base, ok := strings.CutSuffix(name, textSuffix)
	if !ok {
		return nil, syscall.ENOENT
	}
	e, err := find(ctx, t.mailbox, base+mail.Suffix)
	if err != nil {
		return nil, t.fsys.errno("looking up "+t.directory.whereIn(textsName, name), err)
	}
	ino := t.fsys.inodes.message(t.inodes(e.UIDValidity), e.UID)
	stable := gofs.StableAttr{Mode: syscall.S_IFREG, Ino: ino}
	inode := t.GetChild(name)
	if inode == nil || inode.StableAttr() != stable {
		m, ref := t.mailbox, e.Ref
		inode = t.NewInode(ctx, &viewFile{
			file: file{node: node{fsys: t.fsys}}, where: t.directory.whereIn(textsName, name), modified: e.Time,
			knownSize: func() (int64, bool) { return m.KnownTextSize(ref) },
			findSize:  func(ctx context.Context) (int64, error) { return m.TextSize(ctx, ref) },
			whole:     func(ctx context.Context) ([]byte, error) { return m.Text(ctx, ref) },
		}, stable)
	}
	inode.Operations().(*viewFile).lookUp(out)
	return inode, 0
}

func (t *texts) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	table, err := t.mailbox.Table(ctx)
	if err != nil {
		return nil, 0, t.fsys.errno("listing "+t.directory.whereIn(textsName), err)
	}
	l := newListing(t)
	common := t.inodes(table.UIDValidity())
	l.table = table
	l.message = func(e cache.Entry) fuse.DirEntry {
		return fuse.DirEntry{
			Name: strings.TrimSuffix(e.Name, mail.Suffix) + textSuffix, Mode: syscall.S_IFREG,
			Ino: t.fsys.inodes.message(common, e.UID),
		}
	}
	return l, 0, 0
}
