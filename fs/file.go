package fs

import (
	"context"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// file is what all files have in common: their bytes never change, but their size may turn out to be another one than
// the kernel was told.
type file struct {
	node

	mu         sync.Mutex // guards what follows; held while the kernel is told to forget the attributes
	kernelSize int64      // bytes; as the kernel holds it, noSize while the kernel will ask before it uses one
}

// noSize is the size that the kernel holds where it holds none.
const noSize = -1

var (
	_ gofs.NodeFlusher = (*file)(nil)
	_ gofs.NodeLseeker = (*file)(nil)
)

// attributes fills in the attributes of a file of a size in bytes.
func (f *file) attributes(out *fuse.Attr, size int64, modified time.Time) {
	f.fsys.attributes(out, syscall.S_IFREG|f.fsys.options.FileMode, modified)
	out.Nlink = 1
	out.Size = uint64(size)
	out.Blocks = (out.Size + 511) / 512
}

// kernelHas tells whether the kernel holds a size, in bytes.
func (f *file) kernelHas(size int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kernelSize == size
}

// invalidateIfChanged has the kernel ask for the attributes if it holds another size. When it returns, the kernel has
// forgotten that size. The mutex is held meanwhile so that a second caller waits for the first.
//
// Where the kernel opens files without asking, and holds a larger size, nothing is done: a read may be under way. Its short
// answer makes the kernel cut the size, but only if the attributes were not invalidated since the read began. Else the
// kernel fills up with zeros what is missing.
//
// A handler may call it, also while the kernel waits for an answer about the same file: to forget attributes, the kernel
// only takes the lock of the inode's fields.
func (f *file) invalidateIfChanged(size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kernelSize == noSize || f.kernelSize == size || size < f.kernelSize && f.fsys.noOpen.Load() {
		return
	}
	f.kernelSize = noSize
	forgetAttributes(&f.Inode)
}

// mayOpen is 0 as long as the kernel asks before it opens a file, then ENOSYS.
func (f *file) mayOpen() syscall.Errno {
	if f.fsys.noOpen.Load() {
		return syscall.ENOSYS
	}
	return 0
}

// Flush has the kernel not ask again: there is nothing to write back.
func (f *file) Flush(context.Context, gofs.FileHandle) syscall.Errno { return syscall.ENOSYS }

// Lseek has the kernel seek on its own: there are no holes to find.
func (f *file) Lseek(context.Context, gofs.FileHandle, uint64, uint32) (uint64, syscall.Errno) {
	return 0, syscall.ENOSYS
}

// content is a file as openFile and readFile see it.
type content interface {
	// mayOpen returns 0 where the file may be opened. With ENOSYS the kernel opens this and all other files without
	// asking from then on.
	mayOpen() syscall.Errno
	// size returns the size in bytes. It may wait for the server.
	size(context.Context) (int64, error)
	// bytes returns at most n bytes from an offset on: fewer only at the end. They are the caller's until it calls
	// release, which may be nil. It may wait for the server.
	bytes(ctx context.Context, off int64, n int) (data []byte, release func(), err error)
	// invalidateIfChanged has the kernel ask for the attributes if it holds another size, in bytes.
	invalidateIfChanged(size int64)
	// errno turns an error into the errno that a program sees, and logs the error where that says too little. doing is
	// what failed.
	errno(doing string, err error) syscall.Errno
}

// openFile makes sure that the size is right before anybody reads, as long as the kernel asks before it opens a file.
func openFile(ctx context.Context, c content, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	if errno := c.mayOpen(); errno != 0 {
		return nil, 0, errno
	}
	size, err := c.size(ctx)
	if err != nil {
		return nil, 0, c.errno("opening", err)
	}
	c.invalidateIfChanged(size)
	return nil, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH, 0
}

// readFile reads at most len(dest) bytes from an offset on. It lends them to go-fuse in place of copying them to dest.
func readFile(ctx context.Context, c content, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	data, release, err := c.bytes(ctx, off, len(dest))
	if err != nil {
		return nil, c.errno("reading", err)
	}
	return &lent{data, release}, 0
}

// lent is part of a file on its way to the kernel. It has Slices so that go-fuse calls Done after it has written, not
// before.
type lent struct {
	data    []byte
	release func() // nil where the bytes need not be given back
}

func (l *lent) Bytes([]byte) ([]byte, fuse.Status) { return l.data, fuse.OK }
func (l *lent) Slices() ([][]byte, fuse.Status)    { return [][]byte{l.data}, fuse.OK }
func (l *lent) Size() int                          { return len(l.data) }
func (l *lent) Done() {
	if l.release != nil {
		l.release()
	}
}
