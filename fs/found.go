package fs

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/mailfs/mailfs/cache"
	mail "github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/remote"
)

// found is a directory of the messages of a folder that fit a query, with the names and inode numbers that they have in the
// folder. Where a whole account is searched, it also holds the folders in which something is found.
type found struct {
	node
	directory *directory // whose .search it is
	path      []string   // of the folder that is searched
	name      string     // the query
	query     remote.Query
	deep      bool // the folders in it are searched too
}

var (
	_ gofs.NodeGetattrer      = (*found)(nil)
	_ gofs.NodeLookuper       = (*found)(nil)
	_ gofs.NodeOpendirHandler = (*found)(nil)
	_ gofs.NodeGetxattrer     = (*found)(nil)
)

func (s *found) inode() uint64 {
	called := s.name
	if s.deep {
		called = strings.Join(s.path, "/") + "\x00" + s.name
	}
	return s.fsys.inodes.hashed("search", s.directory.account.cache.Name(), s.directory.path, called)
}

// fillEntry fills in the answer to a lookup of the directory and returns its inode.
func (s *found) fillEntry(ctx context.Context, parent *gofs.Inode, out *fuse.EntryOut) *gofs.Inode {
	s.fsys.viewDirectory(&out.Attr, s.modified())
	out.SetAttrTimeout(rememberView)
	out.SetEntryTimeout(rememberView)
	return parent.NewInode(ctx, s, gofs.StableAttr{Mode: syscall.S_IFDIR, Ino: s.inode()})
}

func (s *found) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	s.fsys.viewDirectory(&out.Attr, s.modified())
	out.SetTimeout(rememberView)
	return 0
}

func (s *found) modified() time.Time {
	if f := s.directory.account.cachedFolder(s.path); f != nil && f.mailbox != nil {
		return s.fsys.modified(f.mailbox)
	}
	return s.fsys.mounted
}

func (s *found) where() string { return s.directory.whereIn(searchName, s.name) }

// folder returns the folder that is searched.
func (s *found) folder(ctx context.Context) (*folder, error) {
	if f := s.directory.account.cachedFolder(s.path); f != nil {
		return f, nil
	}
	return s.directory.account.freshFolder(ctx, s.path)
}

// mailboxDirectory returns the directory of the folder that is searched.
func (s *found) mailboxDirectory() *directory {
	if d := s.directory.account.directoryAt(s.path); d != nil {
		return d
	}
	return &directory{node: node{fsys: s.fsys}, account: s.directory.account, path: s.path}
}

func (s *found) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	f, err := s.folder(ctx)
	if err != nil {
		return nil, s.fsys.errno("looking up "+name+" in "+s.where(), err)
	}
	if child := f.child(name); child != nil && s.deep {
		below, err := s.hits(ctx, []*folder{child})
		if err != nil {
			return nil, s.fsys.errno("searching "+s.where(), err)
		}
		if !below[child] {
			return nil, syscall.ENOENT
		}
		sub := &found{node: node{fsys: s.fsys}, directory: s.directory, name: s.name, query: s.query, deep: true}
		sub.path = append(s.path[:len(s.path):len(s.path)], name)
		return sub.fillEntry(ctx, &s.Inode, out), 0
	}
	if f.mailbox == nil || !strings.HasSuffix(name, mail.Suffix) {
		return nil, syscall.ENOENT
	}
	t, err := f.mailbox.Search(ctx, s.query)
	if err != nil {
		return nil, s.fsys.errno("searching "+s.where(), err)
	}
	e, ok := t.Lookup(name)
	if !ok {
		return nil, syscall.ENOENT
	}
	if now := f.mailbox.Known(); now != nil && now.UIDValidity() == e.UIDValidity {
		if e, ok = find(now, e.Ref); !ok {
			return nil, syscall.ENOENT
		}
	}
	out.SetEntryTimeout(rememberView)
	return s.message(ctx, f.mailbox, e, out), 0
}

// message returns the node of a message: the one of the mailbox's directory, if the kernel knows that.
func (s *found) message(ctx context.Context, m *cache.Mailbox, e cache.Entry, out *fuse.EntryOut) *gofs.Inode {
	d := s.mailboxDirectory()
	stable := gofs.StableAttr{Mode: syscall.S_IFREG, Ino: d.messageInode(m, e.Ref), Gen: uint64(e.Holder)}
	inode := d.existing(e.Name, stable)
	if inode == nil {
		inode = s.existing(e.Name, stable)
	}
	if inode == nil {
		inode = s.NewInode(ctx, newMessage(d, m, e.Ref), stable)
	}
	out.SetAttrTimeout(inode.Operations().(*message).fillAttr(e, &out.Attr))
	return inode
}

func (s *found) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	f, err := s.folder(ctx)
	if err != nil {
		return nil, 0, s.fsys.errno("searching "+s.where(), err)
	}
	l := newListing(s)
	if s.deep {
		below, err := s.hits(ctx, f.folders)
		if err != nil {
			return nil, 0, s.fsys.errno("searching "+s.where(), err)
		}
		for _, child := range f.folders {
			if below[child] {
				sub := &found{node: node{fsys: s.fsys}, directory: s.directory, name: s.name, deep: true}
				sub.path = append(s.path[:len(s.path):len(s.path)], child.name)
				l.add(child.name, syscall.S_IFDIR, sub.inode())
			}
		}
	}
	if f.mailbox == nil {
		return l, 0, 0
	}
	if l.table, err = f.mailbox.Search(ctx, s.query); err != nil {
		return nil, 0, s.fsys.errno("searching "+s.where(), err)
	}
	d := s.mailboxDirectory()
	l.message = func(e cache.Entry) fuse.DirEntry {
		return fuse.DirEntry{Name: e.Name, Mode: syscall.S_IFREG, Ino: d.messageInode(f.mailbox, e.Ref)}
	}
	return l, 0, 0
}

// searchesAtOnce is how many mailboxes are searched at a time for one request.
const searchesAtOnce = 4

// hits tells in which of the given folders, or below them, something is found. A mailbox that can't be searched counts as
// one without a hit, unless none can be searched: then hits fails.
func (s *found) hits(ctx context.Context, folders []*folder) (map[*folder]bool, error) {
	var mu sync.Mutex // guards what follows
	below := map[*folder]bool{}
	var failed error
	searched := 0
	var searching sync.WaitGroup
	turns := make(chan struct{}, searchesAtOnce)
	var search func(f, top *folder)
	search = func(f, top *folder) {
		if f.mailbox != nil {
			searching.Go(func() {
				turns <- struct{}{}
				defer func() { <-turns }()
				t, err := f.mailbox.Search(ctx, s.query)
				if err != nil {
					s.fsys.log.Warn("a mailbox could not be searched", "mailbox", f.mailbox.Name(), "query", s.name, "error", err)
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = err
					return
				}
				searched++
				below[top] = below[top] || t.Len() > 0
			})
		}
		for _, child := range f.folders {
			search(child, top)
		}
	}
	for _, f := range folders {
		search(f, f)
	}
	searching.Wait()
	if searched > 0 {
		failed = nil
	}
	return below, failed
}
