package fs

import (
	"context"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/mailfs/mailfs/cache"
)

// message is a message as a file. Its size may turn out to be another one than the server announced.
type message struct {
	file
	directory *directory
	mailbox   *cache.Mailbox
	ref       cache.Ref

	modified int64 // seconds since 1970; the time that the kernel holds; guarded by file.mu
}

var (
	_ gofs.NodeGetattrer   = (*message)(nil)
	_ gofs.NodeOpener      = (*message)(nil)
	_ gofs.NodeReader      = (*message)(nil)
	_ gofs.NodeGetxattrer  = (*message)(nil)
	_ gofs.NodeListxattrer = (*message)(nil)
	_ content              = (*message)(nil)
)

// newMessage returns the node of a message of a mailbox, and of the directory that stands for it.
func newMessage(d *directory, m *cache.Mailbox, ref cache.Ref) *message {
	return &message{file: file{node: node{fsys: d.fsys}}, directory: d, mailbox: m, ref: ref}
}

// fillAttr fills in the attributes, notes that the kernel has them, and returns for how long the kernel may keep them.
func (m *message) fillAttr(e cache.Entry, out *fuse.Attr) time.Duration {
	m.mu.Lock()
	m.kernelSize, m.modified = e.Size, e.Time.Unix()
	m.mu.Unlock()
	m.attributes(out, e.Size, e.Time)
	if !e.Verified && m.fsys.noOpen.Load() && (e.Size == 0 || !m.directory.account.cache.SizesHold()) {
		// The kernel will not ask before it opens the file, so nothing else corrects a wrong size before it is used.
		return 0
	}
	return remember
}

func (m *message) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	e, known := find(m.mailbox.Known(), m.ref)
	if !known { // the message vanished, but is still open
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.kernelSize == noSize {
			return syscall.ESTALE
		}
		m.attributes(&out.Attr, m.kernelSize, time.Unix(m.modified, 0))
		out.Nlink = 0
		return 0
	}
	if e.Size == 0 && !e.Verified && m.fsys.noOpen.Load() {
		// The kernel never reads from an empty file: this is the only chance to find out that the file is not empty.
		size, err := m.size(ctx)
		if err != nil {
			return m.fsys.errno("finding the size of "+e.Name, err)
		}
		e.Size, e.Verified = size, true
	}
	out.SetTimeout(m.fillAttr(e, &out.Attr))
	return 0
}

func (m *message) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	return openFile(ctx, m, flags)
}

func (m *message) Read(ctx context.Context, _ gofs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return readFile(ctx, m, dest, off)
}

// mayOpen refuses a message that has vanished. When the sizes of all accounts have proved to be right, it has the kernel
// open files without asking from then on, which makes reading from the kernel's cache several times as fast.
func (m *message) mayOpen() syscall.Errno {
	if gone(m.mailbox, m.ref) {
		return syscall.ESTALE
	}
	if m.fsys.sizesHold() {
		m.fsys.noOpen.Store(true)
		return syscall.ENOSYS
	}
	return 0
}

func (m *message) size(ctx context.Context) (int64, error) { return m.mailbox.Size(ctx, m.ref) }

func (m *message) bytes(ctx context.Context, off int64, n int) ([]byte, func(), error) {
	data, release, err := m.mailbox.Bytes(ctx, m.ref, off, n)
	if err != nil {
		return nil, nil, err
	}
	m.mu.Lock()
	end := m.kernelSize
	m.mu.Unlock()
	if off+int64(len(data)) >= end && end != noSize {
		// The read reaches what the kernel takes for the end. If there is more, the kernel must have forgotten the size
		// before it has this answer, or the reader will stop here.
		if size, err := m.size(ctx); err == nil && size > end {
			m.invalidateIfChanged(size)
		}
	}
	return data, release, nil
}

func (m *message) errno(doing string, err error) syscall.Errno {
	e := openErrno(err)
	if e == syscall.EIO {
		m.fsys.log.Warn(doing+" a message", "directory", m.directory.where(), "uid", m.ref.UID, "error", err)
	}
	return e
}
