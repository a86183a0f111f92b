package pop3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	client "github.com/knadh/go-pop3"

	"github.com/mailfs/mailfs/remote"
)

// errInUse says that another session holds the maildrop, which ends by itself.
var errInUse = fmt.Errorf("%w: another session holds the maildrop", remote.ErrUnreachable)

// signIn takes over a connection that begins with the server's greeting. Whoever gives it the connection closes it when
// that fails.
func (a *Account) signIn(ctx context.Context, raw net.Conn) (*session, error) {
	s := &session{conn: newConn(raw, a.dialer.Server.Timeout), window: 1, opened: time.Now()}
	stop := context.AfterFunc(ctx, func() { s.conn.cut(time.Unix(1, 0)) })
	defer stop()
	err := s.greet()
	if err == nil {
		err = s.capa()
	}
	if err == nil {
		err = a.authenticate(ctx, s)
	}
	if errors.Is(err, remote.ErrLost) { // nothing was going on that could be lost
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
		return fmt.Errorf("%w: the server greets with %q", errInUse, shorten(err.Error()))
	default:
		return fmt.Errorf("%w: the server greets with %q", remote.ErrUnreachable, shorten(err.Error()))
	}
}

func (a *Account) authenticate(ctx context.Context, s *session) error {
	server := &a.dialer.Server
	if server.Password == nil {
		return fmt.Errorf("%w: there is no password", remote.ErrLogin)
	}
	password, err := server.Password(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w: %w", remote.ErrLogin, err)
	}
	if strings.ContainsAny(server.User, "\r\n\x00") {
		return fmt.Errorf("%w: the user name holds a line break or a NUL byte, which POP3 can't say", remote.ErrLogin)
	}
	if strings.ContainsAny(password, "\r\n\x00") {
		return fmt.Errorf("%w: the password holds a line break or a NUL byte, which POP3 can't say", remote.ErrLogin)
	}
	if slices.Contains(s.capabilities["SASL"], sasl.Plain) {
		// Without the initial response, which older servers do not take (RFC 5034, section 4, against RFC 1734). So a
		// refusal here is one of the mechanism, not of the password.
		start := &exchange{command: "AUTH " + sasl.Plain, challenge: true}
		if err := s.ask(start); err != nil {
			return err
		}
		if start.challenged {
			_, response, err := sasl.NewPlainClient("", server.User, password).Start()
			if err != nil {
				return fmt.Errorf("%w: %w", remote.ErrLogin, err)
			}
			return s.present(base64.StdEncoding.EncodeToString(response), password)
		}
	}
	user := &exchange{command: "USER " + server.User}
	if err := s.ask(user); err != nil {
		return err
	}
	if user.refused {
		return notSignedIn(user.said, password)
	}
	return s.present("PASS "+password, password)
}

// present sends what proves who we are.
func (s *session) present(command, password string) error {
	x := &exchange{command: command}
	if err := s.ask(x); err != nil {
		return err
	}
	if x.refused {
		return notSignedIn(x.said, password)
	}
	return nil
}

// notSignedIn tells why the server refused: only a refusal of user and password is ErrLogin, since that is not tried
// again soon.
func notSignedIn(said, password string) error {
	if password != "" {
		said = strings.ReplaceAll(said, password, "***") // some servers repeat what they do not like
	}
	says := shorten(said)
	switch c := code(said); {
	case locked(said):
		return fmt.Errorf("%w: the server says %q", errInUse, says)
	case strings.HasPrefix(c, "SYS/"), c == "LOGIN-DELAY": // RFC 3206, section 4; RFC 2449, section 8.1.1
		return fmt.Errorf("%w: the server says %q", remote.ErrUnreachable, says)
	default:
		return fmt.Errorf("%w: the server says %q", remote.ErrLogin, says)
	}
}

// locked tells whether a refusal is for the lock on the maildrop: by its code (RFC 2449, section 8.1.2), or by its
// words where it has none.
func locked(said string) bool {
	if c := code(said); c != "" {
		return c == "IN-USE"
	}
	said = strings.ToLower(said)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(said, w) })
	}
	return has("lock", "in use", "busy", "another", "already") && has("maildrop", "mail drop", "mailbox", "session") &&
		!has("account", "password")
}
