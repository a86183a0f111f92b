package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// credentials gives an account's password or token at each sign-in, from wherever the account has it.
type credentials struct {
	account *account

	mu      sync.Mutex // guards what follows, and has one token renewed at a time: a refresh token may be good only once
	given   string
	refused bool          // the server refused the password that the account came with
	token   *oauth2.Token // the last one
	used    bool          // by more than one sign-in
}

// signingIn adds to a server what it needs of an account to sign in.
func (a *account) signingIn(s *dial.Server) {
	c := &credentials{account: a}
	s.Refused = c.again
	switch {
	case a.HasPassword:
		s.Password = c.password
	case a.TokenCommand != "":
		s.Token = func(ctx context.Context) (string, error) { return runPasswordCommand(ctx, "token", a.TokenCommand) }
	case a.OAuth != nil:
		s.Token = c.access
	default:
		s.Password = c.password
	}
}

// password returns the password. One that the server refused gives way to one that came into the keyring since.
func (c *credentials) password(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.account
	var err error
	switch {
	case a.HasPassword:
		c.given = string(a.Password)
		if c.refused {
			if newer, err := readKeyring(ctx, keyringPassword, a.label()); err == nil {
				c.given = newer
			}
		}
	case a.PasswordCommand != "":
		c.given, err = runPasswordCommand(ctx, "password", a.PasswordCommand)
	default:
		c.given, err = readKeyring(ctx, keyringPassword, a.label())
		if errors.Is(err, errNotKept) || errors.Is(err, errNoKeyring) {
			err = errNoPassword
		} else if err != nil {
			err = fmt.Errorf("%w: %w", remote.ErrLogin, err)
		}
	}
	return c.given, err
}

// access returns an access token: the last one, or a new one when that expires.
func (c *credentials) access(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != nil && !expiresSoon(c.token) {
		c.used = true
		return c.token.AccessToken, nil
	}
	token, err := c.account.renew(ctx)
	if err != nil {
		return "", err
	}
	c.token, c.used = token, false
	return token.AccessToken, nil
}

// again tells, after a refusal, whether another sign-in would try something else.
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
		newer, err := readKeyring(ctx, keyringPassword, c.account.label())
		return err == nil && newer != c.given
	}
	return false
}

// called is what the account is called on a command line.
func (a *account) called() string {
	if a.Name != "" {
		return a.Name
	}
	return a.label()
}
