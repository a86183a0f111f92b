package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// searchName is the name of the view in which names are queries.
const searchName = ".search"

// searches is the directory .search of a mailbox, or of an account, where all mailboxes are searched.
type searches struct {
	node
	directory *directory
}

var (
	_ gofs.NodeGetattrer      = (*searches)(nil)
	_ gofs.NodeLookuper       = (*searches)(nil)
	_ gofs.NodeOpendirHandler = (*searches)(nil)
	_ gofs.NodeGetxattrer     = (*searches)(nil)
)

func (s *searches) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	s.fsys.viewDirectory(&out.Attr, s.fsys.mounted)
	out.SetTimeout(rememberView)
	return 0
}

// OpendirHandle lists nothing: every query is a name in the directory.
func (s *searches) OpendirHandle(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	return newListing(s), 0, 0
}

// Lookup parses the query. The search takes place when a program looks into the directory.
func (s *searches) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	q, err := parseQuery(name)
	if err != nil {
		s.fsys.log.Warn("searching "+s.directory.where(), "error", err)
		return nil, errno(err)
	}
	f := &found{node: node{fsys: s.fsys}, directory: s.directory, path: s.directory.path, name: name, query: q}
	f.deep = len(s.directory.path) == 0
	return f.fillEntry(ctx, &s.Inode, out), 0
}
