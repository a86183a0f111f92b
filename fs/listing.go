package fs

import (
	"context"
	"sort"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
)

// listing is an open directory. It lists what was there when it was opened: "." and "..", folders by name, then
// messages by UID.
//
// The position after an entry is its number for the former and messageOffset|UID for a message, so that it means the
// same in every listing of the mailbox, whatever has come or gone before it.
type listing struct {
	node      gofs.NodeLookuper
	directory *directory // nil for the root
	folders   []fuse.DirEntry
	mailbox   *cache.Mailbox // nil where there is no mail
	table     *cache.Table   // nil where there is no mail

	// Reads of one handle come one after the other, go-fuse sees to it.
	next  int // index of the entry to be read next: into folders, then into table
	entry fuse.DirEntry

	lookupsAtOpen int64
}

const messageOffset = 1 << 62

var (
	_ gofs.FileReaddirenter = (*listing)(nil)
	_ gofs.FileLookuper     = (*listing)(nil)
	_ gofs.FileSeekdirer    = (*listing)(nil)
)

// directoryNode is a node that can be listed.
type directoryNode interface {
	gofs.InodeEmbedder
	gofs.NodeLookuper
}

// newListing returns a listing of "." and "..".
func newListing(n directoryNode) *listing {
	l := &listing{node: n}
	self := n.EmbeddedInode()
	above := self
	if _, parent := self.Parent(); parent != nil {
		above = parent
	}
	l.add(".", self.StableAttr().Ino)
	l.add("..", above.StableAttr().Ino)
	return l
}

// add adds a directory to the listing.
func (l *listing) add(name string, ino uint64) {
	l.folders = append(l.folders, fuse.DirEntry{
		Name: name, Ino: ino, Mode: syscall.S_IFDIR, Off: uint64(len(l.folders) + 1),
	})
}

func (l *listing) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	i := l.next - len(l.folders)
	switch {
	case i < 0:
		l.entry = l.folders[l.next]
	case l.table == nil || i >= l.table.Len():
		return nil, 0
	default:
		e := l.table.At(i)
		l.entry = fuse.DirEntry{
			Name: e.Name, Ino: l.directory.messageInode(l.mailbox, e.Ref), Mode: syscall.S_IFREG,
			Off: messageOffset | uint64(e.UID),
		}
	}
	l.next++
	return &l.entry, 0
}

func (l *listing) Seekdir(_ context.Context, off uint64) syscall.Errno {
	switch {
	case off == 0 && l.directory != nil:
		return l.rewind()
	case off < messageOffset:
		l.next = sort.Search(len(l.folders), func(i int) bool { return l.folders[i].Off > off })
	case l.table != nil:
		l.next = len(l.folders) + l.table.Search(remote.UID(off&^messageOffset)+1)
	}
	return 0
}

// rewind starts again with what is known now, as rewinddir(3) asks for.
func (l *listing) rewind() syscall.Errno {
	l.next = 0
	f := l.directory.account.known(l.directory.path)
	if f == nil || f.mailbox == nil {
		return 0
	}
	if t := f.mailbox.Known(); t != nil {
		fresh := l.directory.listing(f, t)
		fresh.lookupsAtOpen = l.lookupsAtOpen
		*l = *fresh
	}
	return 0
}

// In a mailbox of more than manyMessages entries are listed without attributes, until the kernel has looked up
// lookupsToAdapt names on its own: who only wants the names (ls, a shell's *) gets them five to eight times as fast, and
// ls -l, which looks at each entry after reading it, notices little. What reads 100,000 names before it looks at the
// first, as find does, pays for it once, while the kernel does not know them yet.
const (
	manyMessages   = 50_000
	lookupsToAdapt = 8
)

// Lookup returns the node of the entry that was read last, for a kernel that reads entries and attributes in one. An
// error lists the entry without attributes.
func (l *listing) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	i := l.next - 1 - len(l.folders)
	switch {
	case l.directory == nil || name != l.entry.Name:
		return l.node.Lookup(ctx, name, out)
	case i < 0:
		return l.directory.subdirectory(ctx, name, out), 0
	}
	if l.table.Len() > manyMessages && l.directory.lookups.Load()-l.lookupsAtOpen < lookupsToAdapt {
		return nil, syscall.EAGAIN
	}
	e, ok := current(l.mailbox, l.table, i)
	if !ok {
		return nil, syscall.ENOENT
	}
	return l.directory.message(ctx, l.mailbox, e, out), 0
}
