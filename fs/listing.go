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

// listing is an open directory. It lists what was there when it was opened: "." and "..", other entries, then messages
// by UID.
//
// The position after an entry is its number, or messageOffset|UID for a message: it means the same in every listing of a
// mailbox, whatever has come or gone before it.
//
// The kernel asks for entries and their attributes in one request (READDIRPLUS). go-fuse then calls Lookup for each.
type listing struct {
	entries []fuse.DirEntry                 // "." and "..", then all entries that are no messages
	table   *cache.Table                    // the messages; nil where there are none
	message func(cache.Entry) fuse.DirEntry // the entry of a message, without its position

	// lookup returns the node of the entry that was read last, by its name. Where it is nil, entries are listed without
	// attributes.
	lookup func(context.Context, string, *fuse.EntryOut) (*gofs.Inode, syscall.Errno)
	// refill makes the listing one of what is in the directory now, for rewinddir(3). Where it is nil, the listing stays.
	refill func()

	// go-fuse reads one handle with one request at a time.
	next int // number of the entry to be read next: entries are counted first, then the messages of table
	last fuse.DirEntry
}

const messageOffset = 1 << 62

var (
	_ gofs.FileReaddirenter = (*listing)(nil)
	_ gofs.FileLookuper     = (*listing)(nil)
	_ gofs.FileSeekdirer    = (*listing)(nil)
)

// newListing returns a listing of "." and "..".
func newListing(n gofs.InodeEmbedder) *listing {
	l := &listing{}
	self := n.EmbeddedInode()
	above := self
	if _, parent := self.Parent(); parent != nil {
		above = parent
	}
	l.add(".", syscall.S_IFDIR, self.StableAttr().Ino)
	l.add("..", syscall.S_IFDIR, above.StableAttr().Ino)
	return l
}

// add adds an entry that is no message.
func (l *listing) add(name string, mode uint32, ino uint64) {
	l.entries = append(l.entries, fuse.DirEntry{Name: name, Mode: mode, Ino: ino, Off: uint64(len(l.entries) + 1)})
}

func (l *listing) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	i := l.next - len(l.entries)
	switch {
	case i < 0:
		l.last = l.entries[l.next]
	case l.table == nil || i >= l.table.Len():
		return nil, 0
	default:
		e := l.table.At(i)
		l.last = l.message(e)
		l.last.Off = messageOffset | uint64(e.UID)
	}
	l.next++
	return &l.last, 0
}

func (l *listing) Seekdir(_ context.Context, off uint64) syscall.Errno {
	switch {
	case off == 0 && l.refill != nil:
		l.next = 0
		l.refill()
	case off < messageOffset:
		l.next = sort.Search(len(l.entries), func(i int) bool { return l.entries[i].Off > off })
	case l.table != nil:
		l.next = len(l.entries) + l.table.Search(remote.UID(off&^messageOffset)+1)
	}
	return 0
}

// Lookup answers for the entry that was read last. An error lists it without attributes.
func (l *listing) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if l.lookup == nil {
		return nil, syscall.EAGAIN
	}
	return l.lookup(ctx, name, out)
}
