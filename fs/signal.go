package fs

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// interruptible is a filesystem in which a request ends early only for a signal that may be meant to end the caller. The
// kernel interrupts a request for any signal: also for that of Ctrl-Z, of a window that changes its size, of a timer of the
// Go runtime, and for none at all when the machine goes to sleep. Few programs expect EINTR of a file.
type interruptible struct{ fuse.RawFileSystem }

// signalPoll is how often mailfs looks at the signals of a caller whose request was interrupted: the kernel interrupts a
// request only once.
const signalPoll = 50 * time.Millisecond

// retryInterrupted makes a request. If it is interrupted, it makes the request once more, which ends when it is answered or
// a signal is pending that may be meant to end the caller. What the cache has asked the server goes on meanwhile.
func retryInterrupted(interrupted <-chan struct{}, caller *fuse.InHeader, request func(<-chan struct{}) fuse.Status) fuse.Status {
	pid := caller.Pid // read now: the header belongs to another request as soon as this one is answered
	status := request(interrupted)
	if status != fuse.EINTR || hasEndingSignal(pid) {
		return status
	}
	end, answered := make(chan struct{}), make(chan struct{})
	defer close(answered)
	go func() {
		ticker := time.NewTicker(signalPoll)
		defer ticker.Stop()
		for {
			select {
			case <-answered:
				return
			case <-ticker.C:
				if hasEndingSignal(pid) {
					close(end)
					return
				}
			}
		}
	}()
	return request(end)
}

func (s interruptible) Lookup(c <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return retryInterrupted(c, h, func(c <-chan struct{}) fuse.Status { return s.RawFileSystem.Lookup(c, h, name, out) })
}

func (s interruptible) GetAttr(c <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return retryInterrupted(c, &in.InHeader, func(c <-chan struct{}) fuse.Status { return s.RawFileSystem.GetAttr(c, in, out) })
}

func (s interruptible) GetXAttr(c <-chan struct{}, h *fuse.InHeader, attr string, dest []byte) (n uint32, status fuse.Status) {
	status = retryInterrupted(c, h, func(c <-chan struct{}) (status fuse.Status) {
		n, status = s.RawFileSystem.GetXAttr(c, h, attr, dest)
		return status
	})
	return n, status
}

func (s interruptible) Open(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return retryInterrupted(c, &in.InHeader, func(c <-chan struct{}) fuse.Status { return s.RawFileSystem.Open(c, in, out) })
}

func (s interruptible) Read(c <-chan struct{}, in *fuse.ReadIn, buf []byte) (result fuse.ReadResult, status fuse.Status) {
	status = retryInterrupted(c, &in.InHeader, func(c <-chan struct{}) (status fuse.Status) {
		result, status = s.RawFileSystem.Read(c, in, buf)
		return status
	})
	return result, status
}

func (s interruptible) OpenDir(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return retryInterrupted(c, &in.InHeader, func(c <-chan struct{}) fuse.Status { return s.RawFileSystem.OpenDir(c, in, out) })
}

func (s interruptible) StatFs(c <-chan struct{}, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	return retryInterrupted(c, h, func(c <-chan struct{}) fuse.Status { return s.RawFileSystem.StatFs(c, h, out) })
}
