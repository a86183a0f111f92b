// Package process deals with processes and mounts: the background process that serves a mount, the kernel's list of mounts,
// unmounting, systemd's notifications, and the pages of the heap.
package process

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// notice is a message of the background process to its parent: first any number of warnings, then either an error or Ready.
type notice struct {
	Warning string
	Error   string
	Ready   bool
}

// noticeFD is the descriptor of the pipe for notices in the background process.
const noticeFD = 3

// BackgroundCommand is the hidden command of mailfs that Start runs in the background process.
const BackgroundCommand = "background"

// Background is a process that serves a mount.
type Background struct {
	process *exec.Cmd
	// lifeline is the pipe that carried the job. The background process of a demo ends when this pipe is closed, also when
	// that is because its parent was killed.
	lifeline *os.File
	ended    chan struct{} // closed when the process has ended
}

// Start starts a background process, sends it a job and returns when the process has mounted at mountpoint. warn gets the
// warnings of the process. When ctx ends before that, Start ends the process.
func Start(ctx context.Context, mountpoint string, job any, warn func(string)) (*Background, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the program itself: %w", err)
	}
	var pipes [3]struct{ r, w *os.File } // job, notices, standard error
	for i := range pipes {
		if pipes[i].r, pipes[i].w, err = os.Pipe(); err != nil {
			return nil, fmt.Errorf("starting the background process: %w", err)
		}
	}
	toChild, notices, complaints := pipes[0], pipes[1], pipes[2]
	defer notices.r.Close()

	cmd := exec.Command(self, BackgroundCommand, mountpoint) // the process does not read mountpoint; ps shows it
	cmd.Args[0] = "mailfs"
	cmd.Dir = "/"
	cmd.Env = Environment()
	cmd.Stdin, cmd.Stderr, cmd.ExtraFiles = toChild.r, complaints.w, []*os.File{notices.w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	toChild.r.Close()
	notices.w.Close()
	complaints.w.Close()
	if err != nil {
		toChild.w.Close()
		complaints.r.Close()
		return nil, fmt.Errorf("starting the background process: %w", err)
	}
	b := &Background{process: cmd, lifeline: toChild.w, ended: make(chan struct{})}
	said := LimitedBuffer{Left: MaxComplaint}
	quiet := make(chan struct{})
	go func() { // ends when the process is ready or has ended: either closes its standard error
		io.Copy(&said, complaints.r)
		complaints.r.Close()
		close(quiet)
	}()
	go func() {
		cmd.Wait()
		close(b.ended)
	}()
	stop := context.AfterFunc(ctx, b.End)

	err = gob.NewEncoder(toChild.w).Encode(job)
	if err == nil {
		err = await(gob.NewDecoder(notices.r), warn)
	}
	if !stop() {
		err = context.Canceled
	}
	if err == nil {
		return b, nil
	}
	b.End()
	<-quiet
	first, _, _ := strings.Cut(strings.TrimSpace(string(said.Kept)), "\n")
	switch {
	case errors.Is(err, context.Canceled):
		return nil, context.Canceled
	case errors.Is(err, errNoReason) || errors.Is(err, syscall.EPIPE):
		err = fmt.Errorf("%w (%s)", errNoReason, cmd.ProcessState)
	}
	if _, why, ok := strings.Cut(first, "fusermount3: "); ok { // the error of the process only says that fusermount3 failed
		err = fmt.Errorf("mounting at %s: %s", mountpoint, why)
	} else if first != "" { // the first line of a crash
		err = fmt.Errorf("%w: %s", err, first)
	}
	return nil, err
}

// errNoReason: the background process has ended and sent no error.
var errNoReason = errors.New("the background process ended unexpectedly")

// await reads notices until the process is ready.
func await(notices *gob.Decoder, warn func(string)) error {
	for {
		var n notice
		if err := notices.Decode(&n); err != nil {
			return errNoReason
		}
		switch {
		case n.Warning != "":
			warn(n.Warning)
		case n.Error != "":
			return errors.New(n.Error)
		case n.Ready:
			return nil
		}
	}
}

// endWithin is how long a background process may take to unmount and end.
const endWithin = 15 * time.Second

// End makes the process unmount and end, and waits until it has ended.
func (b *Background) End() {
	b.lifeline.Close()
	b.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.ended:
	case <-time.After(endWithin):
		b.process.Process.Kill()
		<-b.ended
	}
}

// Release lets the process go on after this one has ended.
func (b *Background) Release() error { return b.lifeline.Close() }

// Ended is closed when the process has ended.
func (b *Background) Ended() <-chan struct{} { return b.ended }

// State is how the process ended. It may be asked for once Ended is closed.
func (b *Background) State() *os.ProcessState { return b.process.ProcessState }
