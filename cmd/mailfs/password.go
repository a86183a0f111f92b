package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/mailfs/mailfs/cmd/mailfs/process"
	"github.com/mailfs/mailfs/remote"
)

// errNoPassword says what to do where nobody can be asked.
var errNoPassword = fmt.Errorf("%w: there is no password, and no terminal to ask for one; set %s, keep it in the keyring "+
	"with mailfs login, or give a command that prints it (--password-command, or password_command in the configuration)",
	remote.ErrLogin, process.PasswordVariable)

// maxPassword is how much of a command's output is kept, in bytes.
const maxPassword = 64 << 10

// runPasswordCommand runs a command with the shell and returns the first line of its output, any bytes but the line's
// end: the password or the token, as kind says. Its errors wrap remote.ErrLogin and show what the command wrote to its standard error, never its output.
func runPasswordCommand(ctx context.Context, kind, command string) (string, error) {
	limited := ctx
	if deadline, ok := ctx.Deadline(); ok { // some of the time is left, to say that it was this that took too long
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, time.Until(deadline)*9/10)
		defer cancel()
	}
	cmd := exec.CommandContext(limited, "sh", "-c", command)
	cmd.Env = process.Environment()
	cmd.WaitDelay = 50 * time.Millisecond // for what it left behind that holds its output open
	out, complaint := process.LimitedBuffer{Left: maxPassword}, process.LimitedBuffer{Left: process.MaxComplaint}
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	said := strings.TrimSpace(string(complaint.Kept))
	if len(said) > 200 {
		said = strings.ToValidUTF8(said[:200], "") + "..."
	}
	if said != "" {
		said = ": " + said
	}
	var exit *exec.ExitError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return "", ctx.Err()
	case limited.Err() != nil:
		return "", fmt.Errorf("%w: the %s command did not end in time%s", remote.ErrLogin, kind, said)
	case errors.Is(err, exec.ErrWaitDelay): // it ended well, and what it left in the background goes on
	case errors.As(err, &exit):
		return "", fmt.Errorf("%w: the %s command failed (%s)%s", remote.ErrLogin, kind, exit, said)
	case err != nil:
		return "", fmt.Errorf("%w: the %s command could not be run: %w", remote.ErrLogin, kind, err)
	}
	first, _, ended := bytes.Cut(out.Kept, []byte("\n"))
	if ended {
		first = bytes.TrimSuffix(first, []byte("\r"))
	}
	if len(first) == 0 {
		return "", fmt.Errorf("%w: the %s command printed no %[2]s%s", remote.ErrLogin, kind, said)
	}
	return string(first), nil
}

// ask prints a question on the terminal and returns the line that is typed, which shows unless it is secret. It returns
// errNoTerminal where there is none.
func ask(ctx context.Context, question string, secret bool) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", errNoTerminal
	}
	defer tty.Close()
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", errNoTerminal
	}
	fmt.Fprint(tty, question)
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // a read of a terminal knows no context; the process ends soon after it was given up
		var a answer
		if secret {
			var b []byte
			b, a.err = term.ReadPassword(fd)
			a.text = string(b)
			fmt.Fprintln(tty)
		} else {
			a.text, a.err = readLine(tty)
		}
		answered <- a
	}()
	select {
	case a := <-answered:
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return "", fmt.Errorf("asking on the terminal: %w", a.err)
		}
		return a.text, nil
	case <-ctx.Done():
		term.Restore(fd, before) // or the shell would go on without echo
		fmt.Fprintln(tty)
		return "", ctx.Err()
	}
}

var errNoTerminal = errors.New("there is no terminal")

// readLine reads one line byte by byte, so that nothing of the next one is taken.
func readLine(r io.Reader) (string, error) {
	var text []byte
	for b := make([]byte, 1); ; {
		n, err := r.Read(b)
		if n == 1 && b[0] == '\n' {
			return strings.TrimSuffix(string(text), "\r"), nil
		}
		text = append(text, b[:n]...)
		if err != nil {
			return string(text), err
		}
	}
}

// fillPasswords finds the password of each account that has no other source than the environment, the keyring or the
// terminal. A single account without any is an error; one of several stays without, and is refused when it signs in.
func fillPasswords(ctx context.Context, accounts []account, warn func(string)) error {
	fromEnvironment := os.Getenv(process.PasswordVariable)
	os.Unsetenv(process.PasswordVariable)

	var without []*account // without a command
	for i := range accounts {
		if a := &accounts[i]; a.PasswordCommand == "" && a.TokenCommand == "" && a.OAuth == nil {
			without = append(without, &accounts[i])
		}
	}
	switch {
	case fromEnvironment == "":
	case len(accounts) == 1:
		accounts[0].setPassword(fromEnvironment)
	case len(without) == 1:
		without[0].setPassword(fromEnvironment)
	case len(without) > 1:
		warn(process.PasswordVariable + " is not used: nobody can tell for which of the accounts it is; write password_command")
	}

	for _, a := range without {
		if a.HasPassword {
			continue
		}
		if _, err := readKeyring(ctx, keyringPassword, a.label()); err == nil {
			continue // it is asked at each sign-in
		} else if !errors.Is(err, errNotKept) && !errors.Is(err, errNoKeyring) {
			warn(err.Error())
		}
		password, err := ask(ctx, "Password for "+a.who()+": ", true)
		switch {
		case errors.Is(err, errNoTerminal) && len(accounts) == 1:
			return a.failed(errNoPassword)
		case errors.Is(err, errNoTerminal):
		case err != nil:
			return err
		case password == "":
			return fmt.Errorf("%s: an empty password is none", a.who())
		default:
			a.setPassword(password)
		}
	}
	return nil
}
