package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/spf13/cobra"
)

func newDemoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo [MOUNTPOINT] [-- COMMAND...]",
		Short: "Mount sample mail, to look around in or to run a command in",

		DisableFlagsInUseLine: true,
		Long: `Runs an IMAP and a POP3 server with sample mail on this machine's loopback interface and mounts both, as the
directories imap and pop, at MOUNTPOINT or at a temporary directory. Ctrl-C ends it and leaves nothing behind.

With -- COMMAND it runs COMMAND with the mount as working directory instead, unmounts, and ends with COMMAND's exit
status.`,
		Example: "  mailfs demo\n  mailfs demo -- sh -c 'ls imap; grep -rl Invoice .'",
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				if dash == len(args) {
					return wrongUsage("a command is missing after --; usage: %s", cmd.UseLine())
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
			return demo(cmd.Context(), mountpoint, command, cmd.OutOrStdout())
		},
	}
}

// demo mounts the sample mail and either runs a command inside or waits for ctx to end. The command is no child of the
// process that serves the mount: that one would have to answer itself before it could start it.
func demo(ctx context.Context, mountpoint, command []string, out io.Writer) error {
	if len(command) > 0 {
		if _, err := exec.LookPath(command[0]); err != nil {
			return notStarted(command[0], err)
		}
	}
	if err := mayMount(false); err != nil {
		return err
	}
	f := defaults()
	j := &job{
		FSName: "mailfs-demo", Memory: int64(f.memory), Refresh: time.Duration(f.refresh),
		FileMode: uint32(f.fileMode), DirMode: uint32(f.dirMode), UID: uint32(f.uid), GID: uint32(f.gid), LogLevel: slog.Level(f.logLevel), Demo: true,
	}
	var err error
	if len(mountpoint) > 0 {
		j.Mountpoint, err = prepareMountpoint(mountpoint[0], warn)
	} else if j.Mountpoint, err = os.MkdirTemp("", "mailfs-demo-"); err == nil {
		j.Temporary = true
		defer os.Remove(j.Mountpoint) // unless the serving process has done it
		j.Mountpoint, err = filepath.EvalSymlinks(j.Mountpoint)
	}
	if err != nil {
		return err
	}
	server, err := startBackground(ctx, j)
	if err != nil {
		return err
	}
	defer clearDead(j.Mountpoint) // should it have died
	defer server.end()
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
	case <-server.ended:
		if !server.process.ProcessState.Success() {
			return fmt.Errorf("the process that served the mail is gone (%s)", server.process.ProcessState)
		}
		return nil // somebody has unmounted it
	}
}

// runInside runs a command in a directory and returns its exit status as a statusError, as a shell would: 128 and the
// signal if one killed it.
func runInside(dir string, command []string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(environment(), "PWD="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return notStarted(command[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// The terminal sends its signals to the command as well; what else comes is passed on.
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

// exitStatus is the end of a command as a statusError that says nothing; nil for a status of 0.
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

// notStarted is a command that could not be run, with the exit status that shells give for it.
func notStarted(name string, err error) error {
	var wrapped *exec.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	status := 126
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		status, err = 127, errors.New("command not found")
	}
	return &statusError{status: status, err: fileError(name, err)}
}

// startDemoServers starts the servers of the sample mail and returns their accounts. stop ends them.
func startDemoServers(ctx context.Context) (accounts []account, stop func(), err error) {
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, fmt.Errorf("starting a server: %w", err)
		}
	}
	user, password := "demo", rand.Text()
	memory := imapmemserver.New()
	mailboxes := imapmemserver.NewUser(user, password)
	memory.AddUser(mailboxes)
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return memory.NewSession(), nil, nil
		},
		Caps: goimap.CapSet{
			goimap.CapIMAP4rev1: {}, goimap.CapNamespace: {}, goimap.CapUIDPlus: {}, goimap.CapESearch: {},
			goimap.CapListExtended: {}, goimap.CapListStatus: {},
		},
		InsecureAuth: true, // on loopback, with a password made a moment ago
		Logger:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	})
	imapDone, popDone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(imapDone)
		server.Serve(listeners[0])
	}()
	go func() {
		defer close(popDone)
		servePOP3(listeners[1], user, password, demoPOP3Mail())
	}()
	stop = func() {
		server.Close()
		listeners[1].Close()
		<-imapDone
		<-popDone
	}
	if err := seed(ctx, listeners[0].Addr().String(), user, password); err != nil {
		stop()
		return nil, nil, fmt.Errorf("filling the sample mailboxes: %w", err)
	}
	for i, scheme := range []string{"imap", "pop3"} {
		a := account{
			Name: []string{"imap", "pop"}[i], URL: scheme + "://" + listeners[i].Addr().String(), User: user,
			InTheClear: true, Timeout: 30 * time.Second, Connections: 2,
		}
		a.setPassword(password)
		accounts = append(accounts, a)
	}
	return accounts, stop, nil
}

// seed creates the mailboxes of the sample mail and appends its messages, over the network as any client would.
func seed(ctx context.Context, address, user, password string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	client := imapclient.New(conn, nil)
	defer client.Close()
	if err := client.Login(user, password).Wait(); err != nil {
		return err
	}
	for _, name := range demoMailboxes {
		if err := client.Create(name, nil).Wait(); err != nil {
			return fmt.Errorf("creating %s: %w", name, err)
		}
	}
	for _, m := range demoMail() {
		cmd := client.Append(m.mailbox, int64(len(m.raw)), &goimap.AppendOptions{Flags: m.flags, Time: m.date})
		if _, err := cmd.Write(m.raw); err != nil {
			return fmt.Errorf("appending to %s: %w", m.mailbox, err)
		}
		if err := cmd.Close(); err != nil {
			return fmt.Errorf("appending to %s: %w", m.mailbox, err)
		}
		if _, err := cmd.Wait(); err != nil {
			return fmt.Errorf("appending to %s: %w", m.mailbox, err)
		}
	}
	return client.Logout().Wait()
}
