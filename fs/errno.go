package fs

import (
	"context"
	"errors"
	"syscall"

	"github.com/mailfs/mailfs/remote"
)

// errnos says which errno a program sees for an error. The first that fits counts.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{remote.ErrNoMessage, syscall.ENOENT},
	{remote.ErrNoMailbox, syscall.ENOENT},
	{remote.ErrStale, syscall.ESTALE},
	{remote.ErrLogin, syscall.EACCES},
	{remote.ErrForbidden, syscall.EACCES},
	{remote.ErrTimeout, syscall.ETIMEDOUT},
	{remote.ErrUnreachable, syscall.EHOSTDOWN},
	{remote.ErrCertificate, syscall.EHOSTDOWN}, // a server answers, but perhaps not the right one
	{remote.ErrLost, syscall.EHOSTDOWN},
	{remote.ErrClosed, syscall.EHOSTDOWN},
	{remote.ErrTooComplex, syscall.EFBIG},
	{remote.ErrQuery, syscall.EINVAL},
	{remote.ErrUnsupported, syscall.ENOTSUP},
	{remote.ErrUnavailable, syscall.EIO},
	{remote.ErrServer, syscall.EIO},
	{context.DeadlineExceeded, syscall.ETIMEDOUT},
	{context.Canceled, syscall.EINTR}, // the caller got a signal; the request goes on in the cache, for the next caller
}

// errno turns an error of the packages below into what a program sees: the one place where that is decided. An error
// that nobody thought of is EIO.
func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	return syscall.EIO
}

// openErrno is errno for a message that was found a moment ago. Where it is gone now, ESTALE makes the kernel look up the
// name once more, and say ENOENT if that is gone too.
func openErrno(err error) syscall.Errno {
	if e := errno(err); e != syscall.ENOENT {
		return e
	}
	return syscall.ESTALE
}
