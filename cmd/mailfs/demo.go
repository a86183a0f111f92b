package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/demo"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
)

func newDemoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo [MOUNTPOINT] [-- COMMAND...]",
		Short: "Mount sample mail, to look around or to run a command",

		DisableFlagsInUseLine: true,
		Long: `Runs an IMAP and a POP3 server with sample mail on the loopback interface of this machine and mounts both, as the
directories imap and pop, at MOUNTPOINT or at a temporary directory. Ctrl-C unmounts them, ends the servers and leaves
nothing behind.

With -- COMMAND, mailfs runs COMMAND with the mount as working directory, unmounts, and ends with the exit status of
COMMAND.`,
		Example: "  mailfs demo\n  mailfs demo -- sh -c 'ls imap; grep -rl Invoice .'",
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				if dash == len(args) {
					return config.WrongUsage("a command is missing after --; usage: %s", cmd.UseLine())
				}
				args = args[:dash]
			}
			return arguments(0, 1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			mountpoint, command := args, []string(nil)
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				mountpoint, command = args[:dash], args[dash:]
			}
			return runDemo(cmd.Context(), mountpoint, command, cmd.OutOrStdout())
		},
	}
}

// runDemo mounts the sample mail. Then it runs a command inside, or waits until ctx ends. The command is not a child of the process
// that serves the mount: to start the command, that process would have to wait for an answer of its own.
func runDemo(ctx context.Context, mountpoint, command []string, out io.Writer) error {
	if len(command) > 0 {
		if _, err := exec.LookPath(command[0]); err != nil {
			return notStarted(command[0], err)
		}
	}
	if err := process.MayMount(false); err != nil {
		return err
	}
	j := &config.Job{Options: config.Defaults(), FSName: "mailfs-demo", Demo: true}
	j.CacheSize = 0
	var err error
	if len(mountpoint) > 0 {
		j.Mountpoint, err = process.Prepare(mountpoint[0], warn)
	} else if j.Mountpoint, err = os.MkdirTemp("", "mailfs-demo-"); err == nil {
		j.Temporary = true
		defer os.Remove(j.Mountpoint) // fails when the serving process has removed it
		j.Mountpoint, err = filepath.EvalSymlinks(j.Mountpoint)
	}
	if err != nil {
		return err
	}
	server, err := process.Start(ctx, j.Mountpoint, j, warn)
	if err != nil {
		return err
	}
	defer process.ClearDead(j.Mountpoint) // does nothing unless the serving process was killed
	defer server.End()
	if len(command) > 0 {
		return runInside(j.Mountpoint, command)
	}
	fmt.Fprintf(out, `Sample mail of an IMAP and a POP3 account is mounted at %[1]s. In another terminal, try:

    ls %[1]s/imap/INBOX
    grep -rl Invoice %[1]s
    cp -r %[1]s/imap/Archive /tmp/archive

Ctrl-C unmounts it and ends.
`, j.Mountpoint)
	select {
	case <-ctx.Done():
		return nil
	case <-server.Ended():
		if !server.State().Success() {
			return fmt.Errorf("the process that served the mail is gone (%s)", server.State())
		}
		return nil // the user has unmounted it
	}
}

// runInside runs a command in a directory and returns its exit status as a statusError. As in a shell, a command that a signal has
// killed has the status 128 and the signal.
func runInside(dir string, command []string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(process.Environment(), "PWD="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return notStarted(command[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// Ctrl-C and Ctrl-\ reach the command from the terminal. Other signals are passed on.
	tty, err := os.Open("/dev/tty")
	terminal := err == nil
	if terminal {
		tty.Close()
	}
	for {
		select {
		case s := <-signals:
			if terminal && (s == os.Interrupt || s == syscall.SIGQUIT) {
				continue
			}
			cmd.Process.Signal(s)
		case err := <-ended:
			return exitStatus(err)
		}
	}
}

// exitStatus turns the error of a command into a statusError without text. It is nil for the status 0.
func exitStatus(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if wait, ok := exit.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
		return &statusError{status: 128 + int(wait.Signal())}
	}
	return &statusError{status: exit.ExitCode()}
}

// notStarted is the error of a command that can't be run, with the exit status that a shell gives.
func notStarted(name string, err error) error {
	var wrapped *exec.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	status := 126
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		status, err = 127, errors.New("command not found")
	}
	return &statusError{status: status, err: process.FileError(name, err)}
}

// startDemoServers starts the servers of the sample mail and returns their accounts. stop ends the servers.
func startDemoServers(ctx context.Context) (accounts []config.Account, stop func(), err error) {
	servers, stop, err := demo.Start(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range servers {
		a := config.Account{Name: s.Name, URL: s.URL, User: s.User, Connection: config.Defaults().Connection}
		a.TLS = "off"
		a.SetPassword(s.Password)
		accounts = append(accounts, a)
	}
	return accounts, stop, nil
}
