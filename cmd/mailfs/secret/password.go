// Package secret finds the passwords and tokens with which accounts sign in: in the environment, from commands, in the system's
// keyring, on the terminal and in the browser.
package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
	"github.com/mailfs/mailfs/remote"
)

// ErrNoPassword: an account has no password, and there is no terminal to ask for it.
var ErrNoPassword = fmt.Errorf("%w: there is no password, and no terminal to ask for one; set %s, keep it in the keyring "+
	"with mailfs login, or give a command that prints it (--password-command, or password_command in the configuration)",
	remote.ErrLogin, process.PasswordVariable)

// maxPassword is how much of a command's output is kept, in bytes.
const maxPassword = 64 << 10

// runCommand runs a command with the shell and returns the first line of its output, without the end of the line. kind is
// what that is: "password" or "token". The errors wrap remote.ErrLogin. They show the command's standard error, never its output.
func runCommand(ctx context.Context, kind, command string) (string, error) {
	limited := ctx
	if deadline, ok := ctx.Deadline(); ok { // the command gets 9/10 of the time; in the rest the error can name the command
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, time.Until(deadline)*9/10)
		defer cancel()
	}
	cmd := exec.CommandContext(limited, "sh", "-c", command)
	cmd.Env = process.Environment()
	cmd.WaitDelay = 50 * time.Millisecond // a process that the command left behind may hold the output open
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
	case errors.Is(err, exec.ErrWaitDelay): // the command ended well; what it left in the background goes on
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

// newPassword takes the password of an account from the environment, or asks for it.
func newPassword(ctx context.Context, a *config.Account) (string, error) {
	password := os.Getenv(process.PasswordVariable)
	os.Unsetenv(process.PasswordVariable)
	if password != "" {
		return password, nil
	}
	password, err := Ask(ctx, "Password for "+a.Label()+": ", true)
	switch {
	case errors.Is(err, ErrNoTerminal):
		return "", fmt.Errorf("there is no terminal to ask for the password; set %s", process.PasswordVariable)
	case err == nil && password == "":
		return "", errors.New("the password is empty; nothing was changed")
	}
	return password, err
}

// FillPasswords finds the password of each account that has neither a command nor OAuth: in the environment, in the keyring or on
// the terminal. If there is a single account and no password for it, the error is ErrNoPassword. One of several accounts stays
// without a password, and its sign-in fails.
func FillPasswords(ctx context.Context, accounts []config.Account, warn func(string)) error {
	fromEnvironment := os.Getenv(process.PasswordVariable)
	os.Unsetenv(process.PasswordVariable)

	var without []*config.Account // that have neither a command nor OAuth
	for i := range accounts {
		if a := &accounts[i]; a.PasswordCommand == "" && a.TokenCommand == "" && a.OAuth == nil {
			without = append(without, &accounts[i])
		}
	}
	switch {
	case fromEnvironment == "":
	case len(accounts) == 1:
		accounts[0].SetPassword(fromEnvironment)
	case len(without) == 1:
		without[0].SetPassword(fromEnvironment)
	case len(without) > 1:
		warn(process.PasswordVariable + " is not used: it could be for any of several accounts; write password_command in the configuration")
	}

	for _, a := range without {
		if a.HasPassword {
			continue
		}
		if _, err := readKeyring(ctx, keyringPassword, a.Label()); err == nil {
			continue // each sign-in reads the keyring again
		} else if !errors.Is(err, errNotKept) && !errors.Is(err, ErrNoKeyring) {
			warn(err.Error())
		}
		password, err := Ask(ctx, "Password for "+a.Label()+": ", true)
		switch {
		case errors.Is(err, ErrNoTerminal) && len(accounts) == 1:
			return ErrNoPassword
		case errors.Is(err, ErrNoTerminal):
		case err != nil:
			return err
		case password == "":
			return fmt.Errorf("%s: the password is empty", a.Label())
		default:
			a.SetPassword(password)
		}
	}
	return nil
}
