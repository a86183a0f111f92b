package remote

import "errors"

// What can happen to mail, in the mail's words. Errors of the protocols wrap one of these; package fs turns them into an
// errno, cmd into a line for people.
var (
	// ErrUnreachable: the server can't be reached (name, route, refused connection, broken TLS), or was a moment ago.
	ErrUnreachable = errors.New("server can't be reached")
	// ErrLost: the connection ended in the middle of something. It wraps into ErrUnreachable for whom it is the end.
	ErrLost = errors.New("connection lost")
	// ErrTimeout: no answer within the timeout.
	ErrTimeout = errors.New("no answer in time")
	// ErrLogin: the server refused user and password, or there is no password.
	ErrLogin = errors.New("login refused")
	// ErrCertificate: the server's certificate is not trusted, or TLS can't be had. Nothing secret was sent.
	ErrCertificate = errors.New("connection is not safe")
	// ErrNoMessage: the message is not on the server (any more).
	ErrNoMessage = errors.New("no such message")
	// ErrNoMailbox: the mailbox is not on the server (any more).
	ErrNoMailbox = errors.New("no such mailbox")
	// ErrForbidden: the mailbox is there, but not for this user.
	ErrForbidden = errors.New("not allowed by the server")
	// ErrStale: the mailbox was made anew under the same name (other UIDVALIDITY).
	ErrStale = errors.New("mailbox was replaced on the server")
	// ErrServer: the server answered NO or BAD, or what can't be understood.
	ErrServer = errors.New("server answered with an error")
	// ErrUnsupported: the server can't do this.
	ErrUnsupported = errors.New("not supported by the server")
	// ErrTooComplex: the message has more parts, deeper ones, or a longer header than is dealt with.
	ErrTooComplex = errors.New("message is too complex")
	// ErrQuery: a search can't be understood.
	ErrQuery = errors.New("not a query")
	// ErrClosed: the account was closed.
	ErrClosed = errors.New("account is closed")
)
