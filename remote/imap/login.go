package imap

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"github.com/mailfs/mailfs/remote"
)

// signIn waits for the greeting and signs in, on a connection that the server has just accepted.
func (a *Account) signIn(ctx context.Context, inner net.Conn) (*session, error) {
	s := &session{conn: newConn(inner, a.dialer.Server.Timeout, &a.names)}
	s.conn.begin()
	defer s.conn.done()
	s.client = imapclient.New(s.conn, nil)
	s.conn.parsing <- s.client.Closed()
	stop := context.AfterFunc(ctx, func() { s.conn.shut(context.Cause(ctx)) })
	defer stop()
	if err := a.authenticate(ctx, s); err != nil {
		s.conn.shut(remote.ErrClosed)
		<-s.client.Closed()
		return nil, err
	}
	return s, nil
}

func (a *Account) authenticate(ctx context.Context, s *session) error {
	if err := s.client.WaitGreeting(); err != nil {
		if no, ok := errors.AsType[*goimap.Error](err); ok {
			return fmt.Errorf("%w: the server greets with %q", remote.ErrUnreachable, shorten(no.Text))
		}
		return s.atSignIn(err)
	}
	if s.client.State() == goimap.ConnStateAuthenticated { // PREAUTH
		s.caps = s.client.Caps()
		return s.haveCaps()
	}
	before := s.client.Caps()
	s.caps = before
	if err := s.haveCaps(); err != nil {
		return err
	}
	server := &a.dialer.Server
	plain := before.Has(goimap.AuthCap(sasl.Plain))
	if !plain && before.Has(goimap.CapLoginDisabled) {
		return fmt.Errorf("%w: the server offers no way to sign in with a password here (LOGINDISABLED)", remote.ErrLogin)
	}
	if server.Password == nil {
		return fmt.Errorf("%w: there is no password", remote.ErrLogin)
	}
	password, err := server.Password(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", remote.ErrLogin, err)
	}
	if strings.Contains(password, "\x00") {
		return fmt.Errorf("%w: the password holds a NUL byte, which IMAP can't carry", remote.ErrLogin)
	}
	if plain {
		err = s.client.Authenticate(sasl.NewPlainClient("", server.User, password))
	} else {
		err = s.client.Login(server.User, password).Wait()
	}
	if no, ok := errors.AsType[*goimap.Error](err); ok {
		return refusedLogin(no, server.User, password)
	}
	if err != nil {
		return s.atSignIn(err)
	}
	// go-imap asks anew when the answer to the login did not tell the capabilities, but not before the login returns.
	if s.caps = s.client.Caps(); maps.Equal(s.caps, before) {
		if s.caps, err = s.client.Capability().Wait(); err != nil {
			return s.atSignIn(err)
		}
	}
	return s.haveCaps()
}

// haveCaps returns why the server's capabilities are not known, if so.
func (s *session) haveCaps() error {
	if s.caps != nil {
		return nil
	}
	return s.atSignIn(errors.New("no answer to CAPABILITY"))
}

// atSignIn is fault for a connection that never came to be one.
func (s *session) atSignIn(err error) error {
	err = s.fault(err)
	if errors.Is(err, remote.ErrLost) {
		return fmt.Errorf("%w: while signing in: %w", remote.ErrUnreachable, err)
	}
	return err
}

// refusedLogin tells a wrong password from a server that can't do it now (RFC 5530, section 3). The server's words are
// repeated without the password, which some of them hold.
func refusedLogin(no *goimap.Error, user, password string) error {
	said := no.Text
	for _, secret := range []string{
		base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password)),
		base64.StdEncoding.EncodeToString([]byte(password)),
		password,
	} {
		if secret != "" {
			said = strings.ReplaceAll(said, secret, "***")
		}
	}
	why := remote.ErrLogin
	switch no.Code {
	case goimap.ResponseCodeUnavailable, goimap.ResponseCodeInUse, goimap.ResponseCodeLimit,
		goimap.ResponseCodeServerBug, "THROTTLED":
		why = remote.ErrUnreachable
	default:
		if strings.Contains(strings.ToLower(said), "too many") {
			why = remote.ErrUnreachable
		}
	}
	return fmt.Errorf("%w: the server says %q", why, shorten(said))
}
