package imap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
	"github.com/mailfs/mailfs/remote/imap/wire"
)

// signIn makes a session of a connection that the server has just accepted.
func (a *Account) signIn(ctx context.Context, inner net.Conn) (*session, error) {
	s := &session{}
	s.conn = wire.New(inner, wire.Options{
		Timeout: a.dialer.Server.Timeout,
		Names:   &a.names,
		Slow:    func(far bool, rate float64) { a.pool.slowLine(s, far, rate) },
		Trip:    &a.pool.trip,
		Log:     a.log,
	})
	defer s.conn.BeginSignIn()()
	s.client = imapclient.New(s.conn, nil)
	s.conn.SetReader(s.client.Closed())
	stop := context.AfterFunc(ctx, func() { s.conn.Shut(context.Cause(ctx)) })
	defer stop()
	if err := a.authenticate(ctx, s); err != nil {
		s.conn.Shut(remote.ErrClosed)
		<-s.client.Closed()
		return nil, err
	}
	if s.caps.Has(goimap.CapID) {
		// NetEase opens no mailbox for a client that has not sent ID (RFC 2971). The answer does not matter: nobody waits for it.
		s.client.ID(&goimap.IDData{Name: "mailfs"})
	}
	return s, nil
}

// authenticate waits for the greeting, signs in, and learns the capabilities of the server.
func (a *Account) authenticate(ctx context.Context, s *session) error {
	if err := s.client.WaitGreeting(); err != nil {
		if no, ok := errors.AsType[*goimap.Error](err); ok {
			return fmt.Errorf("%w: the server greets with %q", remote.ErrUnreachable, remote.Shorten(no.Text))
		}
		return s.atSignIn(err)
	}
	server := &a.dialer.Server
	server.Step(dial.Step{Name: dial.StepCapabilities})
	if s.client.State() == goimap.ConnStateAuthenticated { // PREAUTH
		s.caps = s.client.Caps()
		server.Step(dial.Step{Name: dial.StepCapabilities, Done: true, Capabilities: names(s.caps)})
		server.Step(dial.Step{Name: dial.StepLogin, Done: true, Mechanism: "PREAUTH", Capabilities: names(s.caps)})
		return s.haveCaps()
	}
	before := s.client.Caps()
	s.caps = before
	if err := s.haveCaps(); err != nil {
		return err
	}
	server.Step(dial.Step{Name: dial.StepCapabilities, Done: true, Capabilities: names(before)})
	server.Step(dial.Step{Name: dial.StepLogin})
	own := "LOGIN"
	if before.Has(goimap.CapLoginDisabled) {
		own = ""
	}
	if own == "" && len(before.AuthMechanisms()) == 0 {
		return fmt.Errorf("%w: the server offers no way to sign in here (LOGINDISABLED)", remote.ErrLogin)
	}
	in, err := server.SignIn(ctx, before.AuthMechanisms(), own)
	if err != nil {
		return err
	}
	if in.Client != nil {
		if err = s.client.Authenticate(in.Client); err == nil {
			err = in.Proven()
		}
	} else if strings.Contains(in.Secret, "\x00") {
		return fmt.Errorf("%w: the password holds a NUL byte, which IMAP can't carry", remote.ErrLogin)
	} else {
		err = s.client.Login(in.User, in.Secret).Wait()
	}
	if no, ok := errors.AsType[*goimap.Error](err); ok {
		return refusedLogin(no, in)
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
	server.Step(dial.Step{Name: dial.StepLogin, Done: true, Mechanism: in.Mechanism, Capabilities: names(s.caps)})
	return s.haveCaps()
}

// names returns capabilities in order.
func names(caps goimap.CapSet) []string {
	list := make([]string, 0, len(caps))
	for c := range caps {
		list = append(list, string(c))
	}
	slices.Sort(list)
	return list
}

// haveCaps returns an error if the server's capabilities are not known.
func (s *session) haveCaps() error {
	if s.caps != nil {
		return nil
	}
	return s.atSignIn(errors.New("no answer to CAPABILITY"))
}

// atSignIn is fault for a connection on which signing in has failed: there is no command that could be tried again.
func (s *session) atSignIn(err error) error {
	err = s.fault(err)
	if errors.Is(err, remote.ErrLost) {
		return fmt.Errorf("%w: while signing in: %w", remote.ErrUnreachable, err)
	}
	return err
}

// refusedLogin tells a wrong password from a server that can't do it now (RFC 5530, section 3). The server's words are
// repeated without the password, which some of them hold.
func refusedLogin(no *goimap.Error, in *dial.SignIn) error {
	said := in.Redact(no.Text)
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
	return fmt.Errorf("%w: the server says %q", why, remote.Shorten(said))
}
