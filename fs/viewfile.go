package fs

import (
	"context"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// viewFile is a file that mailfs makes: of a message, or of its own state. Its size may take a while to find out, so that
// is put off until the kernel asks.
type viewFile struct {
	file
	where    string // for logs
	modified time.Time

	knownSize func() (int64, bool) // asks no server; false if the size is not known
	findSize  func(context.Context) (int64, error)
	whole     func(context.Context) ([]byte, error) // all bytes
}

var (
	_ gofs.NodeGetattrer  = (*viewFile)(nil)
	_ gofs.NodeOpener     = (*viewFile)(nil)
	_ gofs.NodeReader     = (*viewFile)(nil)
	_ gofs.NodeGetxattrer = (*viewFile)(nil)
	_ content             = (*viewFile)(nil)
)

// fillAttr fills in the attributes and notes that the kernel has them.
func (f *viewFile) fillAttr(size int64, out *fuse.Attr) {
	f.attributes(out, max(size, 0), f.modified)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kernelSize = size
}

// lookUp fills in the answer to a lookup of the file. The kernel asks for the size before it uses it, unless it is known.
func (f *viewFile) lookUp(out *fuse.EntryOut) {
	out.SetEntryTimeout(rememberView)
	if size, ok := f.knownSize(); ok {
		f.fillAttr(size, &out.Attr)
		out.SetAttrTimeout(remember)
		return
	}
	f.fillAttr(noSize, &out.Attr)
	out.SetAttrTimeout(0)
}

func (f *viewFile) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	size, err := f.findSize(ctx)
	if err != nil {
		return f.errno("finding the size of", err)
	}
	f.fillAttr(size, &out.Attr)
	out.SetTimeout(remember)
	return 0
}

func (f *viewFile) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	return openFile(ctx, f, flags)
}

func (f *viewFile) Read(ctx context.Context, _ gofs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return readFile(ctx, f, dest, off)
}

func (f *viewFile) size(ctx context.Context) (int64, error) { return f.findSize(ctx) }

// bytes also corrects the size that the kernel holds, where that was worked out from what the server says of the message
// and not from the bytes themselves.
func (f *viewFile) bytes(ctx context.Context, off int64, n int) ([]byte, func(), error) {
	whole, err := f.whole(ctx)
	if err != nil {
		return nil, nil, err
	}
	size := int64(len(whole))
	f.invalidateIfChanged(size)
	off = min(off, size)
	return whole[off:min(off+int64(n), size)], nil, nil
}

func (f *viewFile) errno(doing string, err error) syscall.Errno {
	return f.fsys.viewErrno(doing, f.where, err)
}
