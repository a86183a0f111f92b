package remote

import (
	"errors"
	"slices"
	"strings"
)

// Every error of a protocol wraps one of these. Package fs turns them into an errno, cmd/mailfs into a line for people; the
// tests of both go through [Errors].
var (
	// ErrUnreachable: the server can't be reached (name, route, refused connection, broken TLS), or could not a moment ago.
	ErrUnreachable = kind("server can't be reached")
	// ErrLost: the connection ended in the middle of a command. [Retry] makes it ErrUnreachable if that happens twice.
	ErrLost = kind("connection lost")
	// ErrTimeout: no answer within the timeout.
	ErrTimeout = kind("no answer in time")
	// ErrLogin: the server refused user and password, or there is no password.
	ErrLogin = kind("login refused")
	// ErrCertificate: the server's certificate is not trusted, or the server has no TLS. Nothing secret was sent.
	ErrCertificate = kind("connection is not safe")
	// ErrNoMessage: the message is not on the server (any more).
	ErrNoMessage = kind("no such message")
	// ErrNoMailbox: the mailbox is not on the server (any more).
	ErrNoMailbox = kind("no such mailbox")
	// ErrForbidden: the mailbox is there, but this user may not open it.
	ErrForbidden = kind("not allowed by the server")
	// ErrStale: the mailbox was made anew under the same name (its UIDVALIDITY is another one).
	ErrStale = kind("mailbox was replaced on the server")
	// ErrServer: the server answered NO or BAD, or something that can't be understood.
	ErrServer = kind("server answered with an error")
	// ErrUnavailable: the server says that it can't do this now, and might later.
	ErrUnavailable = kind("server can't do this now")
	// ErrUnsupported: the protocol or the server can't do this.
	ErrUnsupported = kind("not supported by the server")
	// ErrTooComplex: the message has more parts, deeper ones, or a longer header than mailfs reads.
	ErrTooComplex = kind("message is too complex")
	// ErrQuery: the words of a search can't be understood.
	ErrQuery = kind("not a query")
	// ErrClosed: the account was closed.
	ErrClosed = kind("account is closed")
)

// kinds holds every error that kind has made. It is constant once the package is initialised.
var kinds []error

// kind makes one of the errors above.
func kind(text string) error {
	err := errors.New(text)
	kinds = append(kinds, err)
	return err
}

// Errors returns the errors above, all of them.
func Errors() []error { return slices.Clone(kinds) }

// Shorten makes a server's words fit for an error or the log: one printable line, at most 200 bytes.
func Shorten(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "..."
	}
	return s
}
