package secret

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/zalando/go-keyring"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
)

// The services under which the system's keyring keeps entries, one for each server and user.
const (
	keyringPassword = "mailfs"       // a password
	keyringRefresh  = "mailfs OAuth" // a refresh token (RFC 6749, section 1.5)
)

// ErrNoKeyring: this session has no keyring.
var ErrNoKeyring = errors.New("there is no keyring in this session (no D-Bus session bus with a Secret Service, as GNOME Keyring " +
	"or KWallet are); use password_command or token_command in the configuration")

// errNotKept: the keyring has no such entry.
var errNotKept = keyring.ErrNotFound

// readKeyring returns what the keyring keeps for an account.
func readKeyring(ctx context.Context, kind, label string) (secret string, err error) {
	err = withKeyring(ctx, func() error {
		secret, err = keyring.Get(kind, label)
		return err
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// writeKeyring keeps a secret for an account, in place of an earlier one.
func writeKeyring(ctx context.Context, kind, label, secret string) error {
	return withKeyring(ctx, func() error { return keyring.Set(kind, label, secret) })
}

// clearKeyring removes what the keyring keeps for an account.
func clearKeyring(ctx context.Context, kind, label string) error {
	return withKeyring(ctx, func() error { return keyring.Delete(kind, label) })
}

// withKeyring runs one operation on the keyring and waits for it until ctx ends. The operation can't be cancelled: it lasts until
// the keyring answers, which may have to ask the user to be unlocked.
func withKeyring(ctx context.Context, do func() error) error {
	if !HasKeyring() {
		return ErrNoKeyring
	}
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, errNotKept) {
			return fmt.Errorf("the keyring can't be used: %w", err)
		}
		return err
	case <-ctx.Done():
		return fmt.Errorf("the keyring does not answer (it may have to be unlocked): %w", ctx.Err())
	}
}

// HasKeyring tells whether there may be a keyring. Without this check godbus would start a session bus where there is none, and
// it would never end.
func HasKeyring() bool {
	if runtime.GOOS == "darwin" || os.Getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return true
	}
	_, err := os.Stat(filepath.Join("/run/user", strconv.Itoa(os.Getuid()), "bus"))
	return err == nil
}

// Forget removes all entries of an account from the keyring, and tells whether there were any.
func Forget(ctx context.Context, a *config.Account) (removed bool, err error) {
	for _, kind := range []string{keyringPassword, keyringRefresh} {
		switch err := clearKeyring(ctx, kind, a.Label()); {
		case err == nil:
			removed = true
		case !errors.Is(err, errNotKept):
			return removed, err
		}
	}
	return removed, nil
}
