package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/mailfs/mailfs/cache"
)

// textsName is the name of the view that shows the text of messages, and textSuffix ends the names in it.
const (
	textsName  = ".text"
	textSuffix = ".txt"
)

// texts is the directory .text of a mailbox: it holds a file for each message, with its text.
type texts struct{ mailboxView }

var _ gofs.NodeLookuper = (*texts)(nil)

func newTexts(d *directory, m *cache.Mailbox) *texts {
	return &texts{mailboxView{
		node: node{fsys: d.fsys}, directory: d, mailbox: m, name: textsName, suffix: textSuffix, mode: syscall.S_IFREG,
	}}
}

func (t *texts) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	e, stable, errno := t.find(ctx, name)
	if errno != 0 {
		return nil, errno
	}
	inode := t.existing(name, stable)
	if inode == nil {
		m, ref := t.mailbox, e.Ref
		inode = t.NewInode(ctx, &viewFile{
			file: file{node: node{fsys: t.fsys}}, where: t.where(name), modified: e.Time,
			knownSize: func() (int64, bool) { return m.KnownTextSize(ref) },
			findSize:  func(ctx context.Context) (int64, error) { return m.TextSize(ctx, ref) },
			whole:     func(ctx context.Context) ([]byte, error) { return m.Text(ctx, ref) },
		}, stable)
	}
	inode.Operations().(*viewFile).lookUp(out)
	return inode, 0
}
