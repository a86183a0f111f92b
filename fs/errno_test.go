package fs

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/mailfs/mailfs/remote"
)

func TestEachErrorHasItsErrno(t *testing.T) {
	for _, c := range []struct {
		err        error
		errno, was syscall.Errno // of a lookup, and of a message that was found before
	}{
		{nil, 0, 0},
		{remote.ErrUnreachable, syscall.EHOSTDOWN, syscall.EHOSTDOWN},
		{remote.ErrLost, syscall.EHOSTDOWN, syscall.EHOSTDOWN},
		{remote.ErrCertificate, syscall.EHOSTDOWN, syscall.EHOSTDOWN},
		{remote.ErrTimeout, syscall.ETIMEDOUT, syscall.ETIMEDOUT},
		{remote.ErrLogin, syscall.EACCES, syscall.EACCES},
		{remote.ErrForbidden, syscall.EACCES, syscall.EACCES},
		{remote.ErrNoMessage, syscall.ENOENT, syscall.ESTALE},
		{remote.ErrNoMailbox, syscall.ENOENT, syscall.ESTALE},
		{remote.ErrStale, syscall.ESTALE, syscall.ESTALE},
		{remote.ErrServer, syscall.EIO, syscall.EIO},
		{remote.ErrClosed, syscall.EHOSTDOWN, syscall.EHOSTDOWN},
		{remote.ErrTooComplex, syscall.EFBIG, syscall.EFBIG},
		{remote.ErrQuery, syscall.EINVAL, syscall.EINVAL},
		{remote.ErrUnsupported, syscall.ENOTSUP, syscall.ENOTSUP},
		{context.Canceled, syscall.EINTR, syscall.EINTR},
		{context.DeadlineExceeded, syscall.ETIMEDOUT, syscall.ETIMEDOUT},
		{fmt.Errorf("%w: %w", remote.ErrUnreachable, remote.ErrLost), syscall.EHOSTDOWN, syscall.EHOSTDOWN},
		{fmt.Errorf("%w: %w", remote.ErrTimeout, context.Canceled), syscall.ETIMEDOUT, syscall.ETIMEDOUT},
		{errors.New("an error of another kind"), syscall.EIO, syscall.EIO},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("doing something: %w", err)
		}
		if got := errno(err); got != c.errno {
			t.Errorf("errno(%v) = %v, want %v", err, got, c.errno)
		}
		if got := openErrno(err); got != c.was {
			t.Errorf("openErrno(%v) = %v, want %v", err, got, c.was)
		}
	}
}

func TestEveryErrorOfRemoteHasADecidedErrno(t *testing.T) {
	for _, err := range remote.Errors() {
		decided := false
		for _, row := range errnos {
			decided = decided || row.err == err
		}
		if !decided {
			t.Errorf("nobody has decided on an errno for %q", err)
		}
	}
}
