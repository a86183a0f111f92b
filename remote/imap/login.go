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
	in, err := a.dialer.SignIn(ctx, dial.Offer{Mechanisms: before.AuthMechanisms(), Own: own}, s.prove)
	if err != nil {
		return err
	}
	// go-imap asks anew when the answer to the login did not tell the capabilities, but not before the login returns.
	if s.caps = s.client.Caps(); maps.Equal(s.caps, before) {
		if s.caps, err = s.client.Capability().Wait(); err != nil {
			return s.atSignIn(err)
		}
	}
	server.Step(dial.Step{Name: dial.StepLogin, Done: true, Mechanism: in.Mechanism, Refused: in.Refused, Capabilities: names(s.caps)})
	return s.haveCaps()
}

// prove carries out one way to sign in.
func (s *session) prove(in *dial.SignIn) error {
	var err error
	switch {
	case in.Client != nil:
		err = s.client.Authenticate(in.Client)
	case strings.Contains(in.Secret, "\x00"):
		return fmt.Errorf("%w: the password holds a NUL byte, which IMAP can't carry", remote.ErrLogin)
	default:
		err = s.client.Login(in.User, in.Secret).Wait()
	}
	no, refused := errors.AsType[*goimap.Error](err)
	switch {
	case err == nil:
		return in.Proven()
	case refused:
		return refusedLogin(no, in)
	case in.Client != nil && (in.Failed() || s.alive()):
		return in.Nonsense(err, true) // go-imap can't cancel the exchange
	case busy(s.conn.Ending().Bye):
		return s.atSignIn(err)
	}
	return in.Broken(s.atSignIn(err))
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

// refusedLogin tells a wrong password from a mechanism that the server can't carry out, and from a server that can't sign in
// now (RFC 5530, section 3). The server's words are repeated without the password, which some of them hold.
func refusedLogin(no *goimap.Error, in *dial.SignIn) error {
	said := in.Redact(no.Text)
	about, certain := in.AboutMechanism(said)
	why := remote.ErrLogin
	switch code := goimap.ResponseCode(strings.ToUpper(string(no.Code))); code {
	case goimap.ResponseCodeUnavailable, goimap.ResponseCodeInUse, goimap.ResponseCodeLimit,
		goimap.ResponseCodeServerBug, "THROTTLED":
		why = remote.ErrUnreachable
	case goimap.ResponseCodeAuthenticationFailed, goimap.ResponseCodeAuthorizationFailed, goimap.ResponseCodeExpired,
		goimap.ResponseCodePrivacyRequired, goimap.ResponseCodeContactAdmin:
	default:
		switch {
		case busy(said):
			why = remote.ErrUnreachable
		case no.Type == goimap.StatusResponseTypeBad, about:
			return in.Unable(said, certain)
		}
	}
	return fmt.Errorf("%w: the server says %q", why, remote.Shorten(said))
}

// busy tells whether a server says that it has too much to do to sign anybody in now.
func busy(said string) bool {
	said = strings.ToLower(said)
	return strings.Contains(said, "too many") || strings.Contains(said, "throttled")
}
