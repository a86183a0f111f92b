package fs

import (
	"context"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// quotaPatience is how long statfs(2) waits for the servers to tell their quotas.
const quotaPatience = 2 * time.Second

var _ gofs.NodeStatfser = (*node)(nil)

// Statfs adds up the quotas of all accounts, for df. An account whose server tells none, or not in time, counts as 0.
func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	ctx, cancel := context.WithTimeout(ctx, quotaPatience)
	defer cancel()
	var (
		wg          sync.WaitGroup
		mu          sync.Mutex // guards what follows
		used, limit int64
	)
	for _, a := range n.fsys.accounts {
		wg.Go(func() {
			if u, l, err := a.cache.Quota(ctx); err == nil {
				mu.Lock()
				defer mu.Unlock()
				used, limit = used+u, limit+l
			}
		})
	}
	wg.Wait()
	const block = 4096
	out.Bsize, out.Frsize, out.NameLen = block, block, maxFolderName
	out.Blocks = uint64(max(limit, 0)) / block
	out.Bfree = uint64(max(limit-used, 0)) / block
	out.Bavail = out.Bfree
	return 0
}
