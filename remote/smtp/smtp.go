// Package smtp tries whether signing in works on a server for sending mail (RFC 5321, RFC 6409). It sends no mail. The client
// is go-smtp.
package smtp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"

	client "github.com/emersion/go-smtp"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// extensions are those that are reported where the server has them, besides AUTH and SIZE. go-smtp can only be asked for
// single ones.
var extensions = []string{"8BITMIME", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES", "PIPELINING", "REQUIRETLS", "SMTPUTF8"}

// Try signs in, or only says EHLO where the server has no User, and ends the connection. It returns the number of bytes of the
// largest message that the server takes (RFC 1870), 0 where it does not tell. Every error wraps one of [remote.Errors].
func Try(ctx context.Context, d *dial.Dialer) (limit int64, err error) {
	c, err := dial.Connect(ctx, d, startTLS, func(ctx context.Context, conn net.Conn) (*client.Client, error) {
		// go-smtp sets deadlines of its own, so that the connection is closed when ctx ends.
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		c := client.NewClient(conn)
		c.CommandTimeout = d.Server.Timeout
		return c, signIn(ctx, c, d)
	})
	if err != nil {
		return 0, err
	}
	if size, ok := c.MaxMessageSize(); ok {
		limit = int64(size)
	}
	if c.Quit() != nil {
		c.Close()
	}
	return limit, nil
}

// signIn says EHLO, and signs in where the server has a User.
func signIn(ctx context.Context, c *client.Client, d *dial.Dialer) error {
	server := &d.Server
	server.Step(dial.Step{Name: dial.StepCapabilities})
	if err := c.Hello(clientName); err != nil {
		return refused(err, remote.ErrUnreachable)
	}
	var capabilities []string
	for _, name := range append([]string{"AUTH", "SIZE"}, extensions...) {
		if ok, arguments := c.Extension(name); ok {
			capabilities = append(capabilities, strings.TrimSpace(name+" "+arguments))
		}
	}
	server.Step(dial.Step{Name: dial.StepCapabilities, Done: true, Capabilities: capabilities})
	if server.User == "" {
		return nil
	}
	server.Step(dial.Step{Name: dial.StepLogin})
	_, mechanisms := c.Extension("AUTH")
	in, err := d.SignIn(ctx, dial.Offer{Mechanisms: strings.Fields(mechanisms)}, func(in *dial.SignIn) error { return prove(c, in) })
	if err != nil {
		return err
	}
	server.Step(dial.Step{Name: dial.StepLogin, Done: true, Mechanism: in.Mechanism, Refused: in.Refused})
	return nil
}

// prove carries out one way to sign in.
func prove(c *client.Client, in *dial.SignIn) error {
	err := c.Auth(in.Client)
	no, answered := errors.AsType[*client.SMTPError](err)
	base, garbled := errors.AsType[base64.CorruptInputError](err)
	switch {
	case err == nil:
		return in.Proven()
	case answered:
		no.Message = in.Redact(no.Message)
		about, certain := in.AboutMechanism(no.Message)
		switch no.Code {
		case 500, 502, 504: // RFC 5321, section 4.2.4; RFC 4954, section 4
			about, certain = true, true
		case 501, 503:
			about = true
		}
		if about && no.Code/100 == 5 {
			return in.Unable(fmt.Sprintf("%d %s", no.Code, no.Message), certain)
		}
		return refused(err, remote.ErrLogin)
	case garbled:
		return in.Nonsense(base, false) // go-smtp has cancelled the exchange
	case in.Failed():
		return in.Nonsense(err, false)
	}
	return in.Broken(dial.Classify(err))
}

// refused wraps an error of go-smtp in one of package remote: in why where the server refuses for good, in ErrUnreachable
// where it refuses for now (4yz of RFC 5321, section 4.2.1).
func refused(err, why error) error {
	no, ok := errors.AsType[*client.SMTPError](err)
	if !ok {
		return dial.Classify(err)
	}
	if no.Code/100 == 4 {
		why = remote.ErrUnreachable
	}
	return fmt.Errorf("%w: the server says %q", why, fmt.Sprintf("%d %s", no.Code, remote.Shorten(no.Message)))
}
