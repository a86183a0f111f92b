package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// credentials gives an account's password or token at each sign-in.
type credentials struct {
	account *config.Account

	// mu guards what follows. It is held while a token is renewed: a refresh token may be good only once. Only sign-ins of the
	// account wait for it.
	mu      sync.Mutex
	given   string        // the last password that password returned
	refused bool          // the server has refused account.Password
	token   *oauth2.Token // the last one; nil before the first sign-in, and after a refusal
	used    bool          // more than one sign-in has used token
}

// Server returns the server of an account for package remote/dial, with the functions that give its password or token.
func Server(a *config.Account) dial.Server {
	s := a.Server()
	c := &credentials{account: a}
	s.Refused = c.again
	switch {
	case a.HasPassword:
		s.Password = c.password
	case a.TokenCommand != "":
		s.Token = func(ctx context.Context) (string, error) { return runCommand(ctx, "token", a.TokenCommand) }
	case a.OAuth != nil:
		s.Token = c.access
	default:
		s.Password = c.password
	}
	return s
}

// password returns the password. If the server has refused account.Password, a password that has come into the keyring since
// takes its place.
func (c *credentials) password(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.account
	var err error
	switch {
	case a.HasPassword:
		c.given = string(a.Password)
		if c.refused {
			if newer, err := readKeyring(ctx, keyringPassword, a.Label()); err == nil {
				c.given = newer
			}
		}
	case a.PasswordCommand != "":
		c.given, err = runCommand(ctx, "password", a.PasswordCommand)
	default:
		c.given, err = readKeyring(ctx, keyringPassword, a.Label())
		if errors.Is(err, errNotKept) || errors.Is(err, ErrNoKeyring) {
			err = ErrNoPassword
		} else if err != nil {
			err = fmt.Errorf("%w: %w", remote.ErrLogin, err)
		}
	}
	return c.given, err
}

// access returns an access token: the last one, or a new one if that has expired or soon will.
func (c *credentials) access(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != nil && !expiresSoon(c.token) {
		c.used = true
		return c.token.AccessToken, nil
	}
	token, err := renew(ctx, c.account)
	if err != nil {
		return "", err
	}
	c.token, c.used = token, false
	return token.AccessToken, nil
}

// again notes that the server has refused the sign-in, and tells whether another sign-in would use another password or token.
func (c *credentials) again() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != nil {
		c.token = nil
		return c.used
	}
	if c.account.HasPassword && c.given != "" {
		c.refused = true
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		newer, err := readKeyring(ctx, keyringPassword, c.account.Label())
		return err == nil && newer != c.given
	}
	return false
}

// Grant is what the user has given mailfs to sign in to an account with: a password, or by OAuth the permission to read mail.
type Grant struct {
	// Proof is what the server asks for: the password or an access token.
	Proof string
	// What names the grant in a line for people.
	What string

	kind, keep string // the service of the entry in the keyring, and its content
}

// Obtain asks for the password of an account, or has the user permit mailfs to read mail, in a browser. It prints to out what the
// user has to do.
func Obtain(ctx context.Context, out io.Writer, a *config.Account) (*Grant, error) {
	if a.OAuth != nil {
		refresh, access, err := authorize(ctx, a, out)
		return &Grant{Proof: access, What: "the permission", kind: keyringRefresh, keep: refresh}, err
	}
	password, err := newPassword(ctx, a)
	return &Grant{Proof: password, What: "the password", kind: keyringPassword, keep: password}, err
}

// Keep puts a grant into the keyring, in place of an earlier one.
func (g *Grant) Keep(ctx context.Context, a *config.Account) error {
	return writeKeyring(ctx, g.kind, a.Label(), g.keep)
}
