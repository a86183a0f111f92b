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

// Receive reads the job that Start has sent. The background process calls it before it opens anything.
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

// Fail tells the parent why there will be no mount. After Ready nobody hears it.
func (p *Parent) Fail(text string) { p.tell.Encode(notice{Error: text}) }

// Ready lets go of everything that belongs to the parent, its terminal for one, and tells the parent that the mount is ready.
// Standard error goes to errorOutput from then on, nowhere if that is nil. keepInput keeps standard input, which a context of
// Lifeline reads.
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

// Lifeline returns a context that ends when the parent has ended or has called End. The goroutine that waits for that ends
// with it.
func (p *Parent) Lifeline(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx, cancel
}

// closeInherited closes descriptors that a shell or a build tool has left open for whoever they start: somebody waits
// for their end. Those of the Go runtime are marked to be closed on exec, which tells them apart.
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
