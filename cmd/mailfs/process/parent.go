package process

import (
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Parent is, in the background process, the process that started it with Start and waits until the mount is ready.
type Parent struct {
	notices *os.File
	tell    *gob.Encoder
}

// Receive reads the job that Start has sent into job. The background process calls it before it opens any file.
func Receive(job any) (*Parent, error) {
	closeInherited()
	notices := os.NewFile(noticeFD, "notices")
	if err := gob.NewDecoder(os.Stdin).Decode(job); err != nil {
		return nil, err
	}
	return &Parent{notices: notices, tell: gob.NewEncoder(notices)}, nil
}

// Warn has the parent print a warning.
func (p *Parent) Warn(text string) { p.tell.Encode(notice{Warning: text}) }

// Fail tells the parent why there will be no mount. After Ready it does nothing.
func (p *Parent) Fail(text string) { p.tell.Encode(notice{Error: text}) }

// Ready closes everything that belongs to the parent, as its terminal, and tells the parent that the mount is ready. From then on
// standard error is errorOutput, or nothing where that is nil. keepInput leaves standard input open, which Lifeline reads.
func (p *Parent) Ready(errorOutput *os.File, keepInput bool) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	if errorOutput == nil {
		errorOutput = null
	}
	if err := redirect(errorOutput, 2); err != nil {
		return fmt.Errorf("leaving the terminal: %w", err)
	}
	if !keepInput {
		if err := redirect(null, 0); err != nil {
			return fmt.Errorf("leaving the terminal: %w", err)
		}
	}
	if err := p.tell.Encode(notice{Ready: true}); err != nil {
		return err
	}
	return p.notices.Close()
}

// Lifeline returns a context that ends when the parent has ended or has called End. A goroutine waits for that, as long as the
// process lasts.
func (p *Parent) Lifeline(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx, cancel
}

// closeInherited closes the descriptors that this process has inherited beside the known ones: a shell or a build tool may wait
// until they are closed. The descriptors of the Go runtime are kept; they are marked close-on-exec, inherited ones are not.
func closeInherited() {
	syscall.CloseOnExec(noticeFD)
	open, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, entry := range open {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd < noticeFD {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}
