package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/mailfs/mailfs/cache"
)

// notice is what a background process tells its parent until it is ready: any number of warnings, then one of the rest.
type notice struct {
	Warning string
	Error   string
	Ready   bool
}

// noticeFD is the descriptor of the pipe for notices in the background process.
const noticeFD = 3

// background is a process that serves a mount.
type background struct {
	process *exec.Cmd
	// lifeline is the pipe that brought the job. A process that serves a demo ends when it is closed, so that it never
	// outlives who wanted it, whatever happens to them.
	lifeline *os.File
	ended    chan struct{} // closed when the process has ended
}

// startBackground starts a background process on a job and returns when it has mounted. Its warnings go to standard
// error, its error is the error. When ctx ends first, the process is ended too.
func startBackground(ctx context.Context, j *job) (*background, error) {
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

	cmd := exec.Command(self, "background", j.Mountpoint) // the mountpoint is for who looks at ps
	cmd.Args[0] = "mailfs"
	cmd.Dir = "/"
	cmd.Env = environment()
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
	b := &background{process: cmd, lifeline: toChild.w, ended: make(chan struct{})}
	var said limitedBuffer
	said.left = maxComplaint
	quiet := make(chan struct{})
	go func() { // ends when the process is ready or has ended: it lets go of its standard error then
		io.Copy(&said, complaints.r)
		complaints.r.Close()
		close(quiet)
	}()
	go func() {
		cmd.Wait()
		close(b.ended)
	}()
	stop := context.AfterFunc(ctx, b.end)

	err = gob.NewEncoder(toChild.w).Encode(j)
	if err == nil {
		err = await(gob.NewDecoder(notices.r))
	}
	if !stop() {
		err = context.Canceled
	}
	if err == nil {
		return b, nil
	}
	b.end()
	<-quiet
	first, _, _ := strings.Cut(strings.TrimSpace(string(said.kept)), "\n")
	switch {
	case errors.Is(err, context.Canceled):
		return nil, context.Canceled
	case errors.Is(err, errWithoutWord) || errors.Is(err, syscall.EPIPE):
		err = fmt.Errorf("%w (%s)", errWithoutWord, cmd.ProcessState)
	}
	if _, why, ok := strings.Cut(first, "fusermount3: "); ok { // it knows best
		err = fmt.Errorf("mounting at %s: %s", j.Mountpoint, why)
	} else if first != "" { // the beginning of a crash
		err = fmt.Errorf("%w: %s", err, first)
	}
	return nil, err
}

// errWithoutWord: the background process is gone and did not say why.
var errWithoutWord = errors.New("the background process ended unexpectedly")

// await reads notices until the process is ready.
func await(notices *gob.Decoder) error {
	for {
		var n notice
		if err := notices.Decode(&n); err != nil {
			return errWithoutWord
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

// end has the process unmount and end, and waits for that.
func (b *background) end() {
	b.lifeline.Close()
	b.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.ended:
	case <-time.After(endWithin):
		b.process.Process.Kill()
		<-b.ended
	}
}

// release leaves the process to itself.
func (b *background) release() error { return b.lifeline.Close() }

// newBackgroundCommand is what startBackground starts.
func newBackgroundCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "background MOUNTPOINT",
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			closeInherited()
			notices := os.NewFile(noticeFD, "notices")
			var j job
			if err := gob.NewDecoder(os.Stdin).Decode(&j); err != nil {
				return wrongUsage("this command is for mailfs itself; see mailfs help mount")
			}
			tell := gob.NewEncoder(notices)
			if err := serveBackground(cmd.Context(), &j, notices, tell); err != nil {
				if !errors.Is(err, context.Canceled) {
					tell.Encode(notice{Error: line(err)}) // fails when it was ready before: then the log has it
				}
				return &statusError{status: 1}
			}
			return nil
		},
	}
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

// serveBackground serves a job, tells the parent about it, and lets go of everything of the parent's when it is ready.
func serveBackground(ctx context.Context, j *job, notices *os.File, tell *gob.Encoder) error {
	log, output, err := backgroundLog(j)
	if err != nil {
		return err
	}
	defer output.Close()
	if j.Demo {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() {
			io.Copy(io.Discard, os.Stdin) // the lifeline
			cancel()
		}()
		accounts, stop, err := startDemoServers(ctx)
		if err != nil {
			return err
		}
		defer stop()
		j.Accounts = accounts
	}
	warning := func(text string) { tell.Encode(notice{Warning: text}) }
	ready := func(func() cache.Status) error {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer null.Close()
		errorOutput := null
		if output != nil { // where a crash leaves its trace
			errorOutput = output
		}
		if err := redirect(errorOutput, 2); err != nil {
			return fmt.Errorf("leaving the terminal: %w", err)
		}
		if !j.Demo {
			if err := redirect(null, 0); err != nil {
				return fmt.Errorf("leaving the terminal: %w", err)
			}
		}
		if err := tell.Encode(notice{Ready: true}); err != nil {
			return err
		}
		return notices.Close()
	}
	err = serve(ctx, j, log, warning, ready)
	if err != nil {
		log.Error("ending", "error", err)
	}
	if j.Temporary {
		err = errors.Join(err, os.Remove(j.Mountpoint))
	}
	return err
}

// backgroundLog logs to the job's log file, or to the system's log where there is one.
func backgroundLog(j *job) (*slog.Logger, *os.File, error) {
	options := &slog.HandlerOptions{Level: j.LogLevel}
	if j.LogFile != "" {
		file, err := openLog(j.LogFile)
		if err != nil {
			return nil, nil, err
		}
		return slog.New(slog.NewTextHandler(file, options)), file, nil
	}
	system, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_WARNING, "mailfs")
	if err != nil { // containers have none
		return slog.New(slog.DiscardHandler), nil, nil
	}
	options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey { // the system's log has its own
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(system, options)), nil, nil
}
