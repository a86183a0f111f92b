package fs

import (
	"context"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/mailfs/mailfs/cache"
)

// message is a message as a file. What it holds never changes; only the size may turn out to be another one than the
// server announced.
type message struct {
	node
	directory *directory
	mailbox   *cache.Mailbox
	ref       cache.Ref

	mu       sync.Mutex // guards what follows
	size     int64      // that the kernel was told; unsettled when it will ask
	modified int64      // seconds since 1970
}

// unsettled is the size of a message of which the kernel knows none.
const unsettled = -1

var (
	_ gofs.NodeGetattrer   = (*message)(nil)
	_ gofs.NodeOpener      = (*message)(nil)
	_ gofs.NodeFlusher     = (*message)(nil)
	_ gofs.NodeReader      = (*message)(nil)
	_ gofs.NodeLseeker     = (*message)(nil)
	_ gofs.NodeGetxattrer  = (*message)(nil)
	_ gofs.NodeListxattrer = (*message)(nil)
)

// tell fills in the attributes, notes that the kernel has them, and returns for how long it may keep them.
func (m *message) tell(e cache.Entry, out *fuse.Attr) time.Duration {
	m.mu.Lock()
	m.size, m.modified = e.Size, e.Time.Unix()
	m.mu.Unlock()
	m.attributes(out, e.Size, e.Time)
	out.Nlink = 1
	if !e.Verified && m.fsys.noOpen.Load() && (e.Size == 0 || !m.directory.account.cache.SizesHold()) {
		// There will be no open to find out in time that the size is wrong.
		return 0
	}
	return remember
}

func (m *message) attributes(out *fuse.Attr, size int64, t time.Time) {
	m.fsys.attributes(out, syscall.S_IFREG|m.fsys.options.FileMode, t)
	out.Size = uint64(size)
	out.Blocks = (out.Size + 511) / 512
}

// settle has the kernel ask for the attributes if the size is not the one it was told. It returns when that is done.
//
// It may be called while the kernel waits for an answer concerning the same message: the notification takes no lock but
// the one of the inode's fields.
func (m *message) settle(size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.size == unsettled || m.size == size {
		return
	}
	if size < m.size && m.fsys.noOpen.Load() {
		// A read may be on its way, and its short answer makes the kernel cut the size, but not if the attributes were
		// declared void after the read began: then it would fill up with zeros what is missing.
		return
	}
	m.size = unsettled
	forgetAttributes(&m.Inode)
}

func (m *message) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	var e cache.Entry
	known := false
	if t := m.mailbox.Known(); t != nil && t.UIDValidity() == m.ref.UIDValidity {
		e, known = t.Find(m.ref.UID)
	}
	if !known { // it vanished, but is still open
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.size == unsettled {
			return syscall.ESTALE
		}
		m.attributes(&out.Attr, m.size, time.Unix(m.modified, 0))
		return 0
	}
	if e.Size == 0 && !e.Verified && m.fsys.noOpen.Load() {
		// The kernel never reads from an empty file: this is the only chance to find out that it is not.
		size, err := m.mailbox.Size(ctx, m.ref)
		if err != nil {
			return m.fsys.errno("finding the size of "+e.Name, err)
		}
		e.Size, e.Verified = size, true
	}
	out.SetTimeout(m.tell(e, &out.Attr))
	return 0
}

// Open makes sure that the size is right before anybody reads. When the sizes of all accounts have proved to be
// right, it has the kernel open files on its own from then on, which makes reading from the kernel's cache several
// times as fast.
func (m *message) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	if gone(m.mailbox, m.ref) {
		return nil, 0, syscall.ESTALE
	}
	if m.fsys.sizesHold() {
		m.fsys.noOpen.Store(true)
		return nil, 0, syscall.ENOSYS
	}
	size, err := m.mailbox.Size(ctx, m.ref)
	if err != nil {
		return nil, 0, m.errno("opening", err)
	}
	m.settle(size)
	return nil, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH, 0
}

// Flush has the kernel not ask again: there is nothing to write back.
func (m *message) Flush(context.Context, gofs.FileHandle) syscall.Errno { return syscall.ENOSYS }

// Lseek has the kernel look for holes on its own: there are none.
func (m *message) Lseek(context.Context, gofs.FileHandle, uint64, uint32) (uint64, syscall.Errno) {
	return 0, syscall.ENOSYS
}

func (m *message) Read(ctx context.Context, _ gofs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	data, done, err := m.mailbox.Bytes(ctx, m.ref, off, len(dest))
	if err != nil {
		return nil, m.errno("reading", err)
	}
	m.mu.Lock()
	told := m.size
	m.mu.Unlock()
	if off+int64(len(data)) >= told && told != unsettled {
		// The reader is where the kernel takes the end to be. If there is more, the kernel must have forgotten the size
		// before it has this answer, or the reader will stop here.
		if size, err := m.mailbox.Size(ctx, m.ref); err == nil && size > told {
			m.settle(size)
		}
	}
	return &lent{data, done}, 0
}

// lent is part of a message on its way to the kernel. It has Slices so that go-fuse calls Done after it has written, not
// before.
type lent struct {
	data []byte
	done func()
}

func (l *lent) Bytes([]byte) ([]byte, fuse.Status) { return l.data, fuse.OK }
func (l *lent) Slices() ([][]byte, fuse.Status)    { return [][]byte{l.data}, fuse.OK }
func (l *lent) Size() int                          { return len(l.data) }
func (l *lent) Done()                              { l.done() }

func (m *message) errno(doing string, err error) syscall.Errno {
	e := openErrno(err)
	if e == syscall.EIO {
		m.fsys.log.Warn(doing+" a message", "directory", m.directory.where(), "uid", m.ref.UID, "error", err)
	}
	return e
}
