package pop3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	client "github.com/knadh/go-pop3"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// errInUse says that another session holds the maildrop. It is worth trying again.
var errInUse = fmt.Errorf("%w: another session holds the maildrop", remote.ErrUnreachable)

// signIn makes a session of a connection that begins with the server's greeting. When it fails, the caller closes the
// connection.
func (a *Account) signIn(ctx context.Context, raw net.Conn) (*session, error) {
	s := &session{conn: newConn(raw, a.dialer.Server.Timeout), window: 1, opened: time.Now()}
	stop := context.AfterFunc(ctx, func() { s.conn.cut(time.Unix(1, 0)) })
	defer stop()
	err := s.greet()
	server := &a.dialer.Server
	if err == nil {
		server.Step(dial.Step{Name: dial.StepCapabilities})
		err = s.capa()
	}
	if err == nil {
		server.Step(dial.Step{Name: dial.StepCapabilities, Done: true, Capabilities: s.capabilityNames()})
		err = a.authenticate(ctx, s)
	}
	if errors.Is(err, remote.ErrLost) && !dial.Another(err) { // nothing was going on that could be lost
		err = fmt.Errorf("%w: %v", remote.ErrUnreachable, err)
	}
	if err != nil {
		return nil, err
	}
	if s.has("PIPELINING") && !a.serial {
		s.window = window
	}
	return s, nil
}

// greet reads the greeting.
func (s *session) greet() error {
	x := &exchange{}
	s.conn.expect(x)
	lib, err := client.New(client.Opt{Dialer: s.conn}).NewConn()
	switch {
	case err == nil:
		s.lib = lib
		return nil
	case !x.refused:
		return s.broken(x, err)
	case locked(err.Error()):
		return fmt.Errorf("%w: the server greets with %q", errInUse, remote.Shorten(err.Error()))
	default:
		return fmt.Errorf("%w: the server greets with %q", remote.ErrUnreachable, remote.Shorten(err.Error()))
	}
}

// authenticate signs in. Before that it says UTF8 where the server offers it (RFC 6856, section 2.1): a client that does not
// gets a notice in place of each message whose header is in UTF-8. A server that refuses UTF8 is signed in to all the same.
func (a *Account) authenticate(ctx context.Context, s *session) error {
	server := &a.dialer.Server
	offer := dial.Offer{Mechanisms: s.capabilities["SASL"], Own: "USER"}
	offer.OwnUnannounced = len(offer.Mechanisms) > 0 && !s.has("USER") // a server that names neither takes USER
	server.Step(dial.Step{Name: dial.StepLogin})
	if s.has("UTF8") {
		if err := s.ask(&exchange{command: "UTF8"}); err != nil {
			return err
		}
	}
	in, err := a.dialer.SignIn(ctx, offer, s.prove)
	if err != nil {
		return err
	}
	server.Step(dial.Step{Name: dial.StepLogin, Done: true, Mechanism: in.Mechanism, Refused: in.Refused})
	return nil
}

// prove carries out one way to sign in.
func (s *session) prove(in *dial.SignIn) error {
	if strings.ContainsAny(in.User, "\r\n\x00") {
		return fmt.Errorf("%w: the user name holds a line break or a NUL byte, which POP3 can't say", remote.ErrLogin)
	}
	if strings.ContainsAny(in.Secret, "\r\n\x00") {
		return fmt.Errorf("%w: the password holds a line break or a NUL byte, which POP3 can't say", remote.ErrLogin)
	}
	if in.Client != nil {
		return s.exchange(in)
	}
	user := &exchange{command: "USER " + in.User}
	if err := s.ask(user); err != nil {
		return err
	}
	if user.refused {
		return notSignedIn(user.said, in, false)
	}
	pass := &exchange{command: "PASS " + in.Secret}
	if err := s.ask(pass); err != nil {
		return err
	}
	if pass.refused {
		return notSignedIn(pass.said, in, false)
	}
	return nil
}

// exchange signs in with AUTH (RFC 5034).
func (s *session) exchange(in *dial.SignIn) error {
	mechanism, response, err := in.Client.Start()
	if err != nil {
		return fmt.Errorf("%w: %w", remote.ErrLogin, err)
	}
	// There is no initial response, which older servers do not take (RFC 5034, section 4, against RFC 1734). So a refusal
	// here is of the mechanism, not of the password.
	x := &exchange{command: "AUTH " + mechanism, challenge: true}
	if err := s.ask(x); err != nil {
		return in.Broken(err)
	}
	if x.refused {
		return notSignedIn(x.said, in, true)
	}
	for x.challenged {
		if response == nil {
			challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(x.said))
			if err != nil {
				return s.cancel(in, errors.New("the challenge of the server is not base64"))
			}
			if response, err = in.Client.Next(challenge); err != nil {
				return s.cancel(in, err)
			}
		}
		x = &exchange{command: base64.StdEncoding.EncodeToString(response), challenge: true}
		response = nil
		if err := s.ask(x); err != nil {
			return in.Broken(err)
		}
	}
	if x.refused {
		return notSignedIn(x.said, in, false)
	}
	return in.Proven()
}

// cancel cancels an exchange (RFC 5034, section 4) in which the server has said what err is about.
func (s *session) cancel(in *dial.SignIn, err error) error {
	x := &exchange{command: "*", challenge: true}
	ended := s.ask(x) != nil || !x.refused
	return in.Nonsense(err, ended)
}

// notSignedIn returns why the server refused. Only a refusal of user and password is ErrLogin, which is not tried again soon.
// early: the server has not been told anything but the mechanism.
func notSignedIn(said string, in *dial.SignIn, early bool) error {
	said = in.Redact(said)
	says := remote.Shorten(said)
	about, certain := in.AboutMechanism(said)
	switch c := code(said); {
	case locked(said):
		return fmt.Errorf("%w: the server says %q", errInUse, says)
	case strings.HasPrefix(c, "SYS/"), c == "LOGIN-DELAY": // RFC 3206, section 4; RFC 2449, section 8.1.1
		return fmt.Errorf("%w: the server says %q", remote.ErrUnreachable, says)
	case c != "AUTH" && (early || about): // RFC 3206, section 5
		return in.Unable(said, early || certain)
	default:
		return fmt.Errorf("%w: the server says %q", remote.ErrLogin, says)
	}
}

// locked tells whether a refusal is due to the lock on the maildrop: by its code (RFC 2449, section 8.1.2), or by its words
// where it has no code.
func locked(said string) bool {
	if c := code(said); c != "" {
		return c == "IN-USE"
	}
	return mentions(said, "lock", "in use", "busy", "another", "already") &&
		mentions(said, "maildrop", "mail drop", "mailbox", "session") && !mentions(said, "account", "password")
}
