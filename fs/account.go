package fs

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
)

// account is one account in the tree: its mailboxes as a hierarchy of folders.
type account struct {
	cache *cache.Account
	fsys  *filesystem
	inode *gofs.Inode // of the account's directory, which lives as long as the mount

	top atomic.Pointer[folder] // nil before the first LIST

	mu   sync.Mutex // guards list, and is held while top is replaced
	list []remote.Mailbox

	pushTarget   pushTarget
	mailboxOrder mailboxOrder
}

// cachedFolder returns the folder of a path as of the last LIST; nil if there is none.
func (a *account) cachedFolder(path []string) *folder { return a.top.Load().at(path) }

// freshFolder returns the folder of a path, from a list of mailboxes that is fresh enough. It may wait for the server.
func (a *account) freshFolder(ctx context.Context, path []string) (*folder, error) {
	list, err := a.cache.Mailboxes(ctx)
	if err != nil {
		return nil, err
	}
	if f := a.update(list).at(path); f != nil {
		return f, nil
	}
	return nil, remote.ErrNoMailbox
}

// update makes the account's hierarchy one of a list of mailboxes, and has the kernel told of what changes by that.
func (a *account) update(list []remote.Mailbox) *folder {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.top.Load()
	if old != nil && slices.EqualFunc(a.list, list, sameMailbox) {
		return old
	}
	top := a.hierarchy(list)
	if old != nil {
		markChanged(old, top, time.Now())
	}
	a.list = list
	a.top.Store(top)
	if old != nil {
		a.fsys.notifier.foldersChanged(a, old)
	}
	return top
}

// directoryAt returns the directory of a path if the kernel may know it, else nil.
func (a *account) directoryAt(path []string) *directory {
	inode := a.inode
	for _, name := range path {
		if inode = inode.GetChild(name); inode == nil {
			return nil
		}
	}
	d, _ := inode.Operations().(*directory)
	return d
}

// pathOf returns the path of a mailbox; false if the hierarchy does not hold it.
func (a *account) pathOf(m *cache.Mailbox) ([]string, bool) {
	var search func(f *folder, path []string) ([]string, bool)
	search = func(f *folder, path []string) ([]string, bool) {
		if f.mailbox == m {
			return path, true
		}
		for _, c := range f.folders {
			if found, ok := search(c, append(path[:len(path):len(path)], c.name)); ok {
				return found, true
			}
		}
		return nil, false
	}
	top := a.top.Load()
	if top == nil {
		return nil, false
	}
	return search(top, nil)
}
