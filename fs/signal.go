package fs

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// signalled stands before a file system whose answers may take a while. The kernel interrupts a request for any signal of
// the caller, also for one that wants nothing to end: that of Ctrl-Z, of a window that changes its size, of a timer of the
// Go runtime, and for none at all when the machine goes to sleep. Few programs expect EINTR of a file, so a request goes on
// unless there is a signal that may be meant to end it.
type signalled struct{ fuse.RawFileSystem }

// signalPoll is how often the signals of a caller are looked at who was interrupted once: the kernel does not say it twice.
const signalPoll = 50 * time.Millisecond

// insist has a request that was interrupted begin again until it is answered, or there is a signal that matters. What was
// asked of the server goes on meanwhile.
func insist(interrupted <-chan struct{}, caller *fuse.InHeader, request func(<-chan struct{}) fuse.Status) fuse.Status {
	pid := caller.Pid // which is another request's as soon as this one is answered
	status := request(interrupted)
	if status != fuse.EINTR || wanted(pid) {
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
				if wanted(pid) {
					close(end)
					return
				}
			}
		}
	}()
	return request(end)
}

func (s signalled) Lookup(c <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return insist(c, h, func(c <-chan struct{}) fuse.Status { return s.RawFileSystem.Lookup(c, h, name, out) })
}

func (s signalled) GetAttr(c <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return insist(c, &in.InHeader, func(c <-chan struct{}) fuse.Status { return s.RawFileSystem.GetAttr(c, in, out) })
}

func (s signalled) GetXAttr(c <-chan struct{}, h *fuse.InHeader, attr string, dest []byte) (n uint32, status fuse.Status) {
	status = insist(c, h, func(c <-chan struct{}) (status fuse.Status) {
		n, status = s.RawFileSystem.GetXAttr(c, h, attr, dest)
		return status
	})
	return n, status
}

func (s signalled) Open(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return insist(c, &in.InHeader, func(c <-chan struct{}) fuse.Status { return s.RawFileSystem.Open(c, in, out) })
}

func (s signalled) Read(c <-chan struct{}, in *fuse.ReadIn, buf []byte) (result fuse.ReadResult, status fuse.Status) {
	status = insist(c, &in.InHeader, func(c <-chan struct{}) (status fuse.Status) {
		result, status = s.RawFileSystem.Read(c, in, buf)
		return status
	})
	return result, status
}

func (s signalled) OpenDir(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return insist(c, &in.InHeader, func(c <-chan struct{}) fuse.Status { return s.RawFileSystem.OpenDir(c, in, out) })
}

func (s signalled) StatFs(c <-chan struct{}, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	return insist(c, h, func(c <-chan struct{}) fuse.Status { return s.RawFileSystem.StatFs(c, h, out) })
}
