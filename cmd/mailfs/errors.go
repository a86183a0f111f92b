package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/secret"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// statusError ends the process with an exit status. With err nil nothing is printed.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

// accountError is an error of one account, with what a line about it has to name.
type accountError struct {
	name    string // in the configuration; empty for an account that was given as a URL
	server  dial.Server
	timeout time.Duration
	step    string // of dial.Step, at which the connection failed; empty when unknown
	advice  string // what the user can do when the server refuses the login
	err     error
}

// failed is an error of an account, with what a line about it has to name.
func failed(a *config.Account, err error) *accountError {
	e := &accountError{name: a.Name, server: a.Server(), timeout: time.Duration(a.Timeout), advice: "check user and password", err: err}
	switch {
	case a.HasPassword:
	case a.PasswordCommand != "":
		e.advice = "check what the password command prints"
	case a.TokenCommand != "":
		e.advice = "check what the token command prints"
	case a.OAuth != nil:
		e.advice = "sign in again with mailfs login " + a.Called()
	}
	return e
}

func (e *accountError) Error() string { return line(e) }
func (e *accountError) Unwrap() error { return e.err }

// maxLine is the longest line for people, in bytes: what servers say is of any length.
const maxLine = 500

// line turns an error into one line for people. It says what happened and, where that helps, what to do.
func line(err error) string {
	var a *accountError
	text := ""
	if errors.As(err, &a) {
		text = fmt.Sprintf("%s: %s", a.server.Address(), a.explain())
		if a.name != "" {
			text = "account " + a.name + ": " + text
		}
	} else {
		text = err.Error()
	}
	return oneLine(text)
}

// oneLine makes one line of text, of at most maxLine bytes, without control characters: a terminal would act upon them.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsControl(r) }), " ")
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "") + "..."
	}
	return text
}

// explain says in a sentence what happened to an account, for a reader of mail who knows no protocol.
func (e *accountError) explain() string {
	err := e.err
	switch {
	case errors.Is(err, remote.ErrCertificate):
		return e.explainTLS()
	case errors.Is(err, secret.ErrNoPassword):
		return after(secret.ErrNoPassword, remote.ErrLogin)
	case errors.Is(err, remote.ErrLogin):
		reason := after(err, remote.ErrLogin)
		text := join(fmt.Sprintf("login refused for %q", e.server.User), reason)
		if e.advice != "" && (reason == "" || strings.HasPrefix(reason, "the server says")) {
			text += "; " + e.advice
		}
		return text
	case errors.Is(err, remote.ErrTimeout):
		return e.explainSilence()
	}
	for _, s := range sentences {
		if errors.Is(err, s.err) {
			return join(s.text, after(err, s.err))
		}
	}
	if errors.Is(err, remote.ErrUnreachable) || errors.Is(err, remote.ErrLost) {
		return e.explainNetwork()
	}
	return join("mailfs failed", err.Error()) // not one of remote.Errors, which an account promises
}

// sentences say what happened where the connection works. The first that fits counts; the rest of the error's text follows
// it.
var sentences = []struct {
	err  error
	text string
}{
	{remote.ErrUnavailable, "the server can't do this now; try again later"},
	{remote.ErrServer, "the server answered with an error"},
	{remote.ErrUnsupported, "the server can't do what mailfs needs"},
	{remote.ErrForbidden, "the server does not let this user open the mailbox"},
	{remote.ErrNoMailbox, "the mailbox is not on the server any more"},
	{remote.ErrNoMessage, "the message is not on the server any more"},
	{remote.ErrStale, "the mailbox was deleted and made again on the server; try again"},
	{remote.ErrTooComplex, "the message has too many parts or too long a header"},
	{remote.ErrQuery, "the search can't be understood"},
	{remote.ErrClosed, "mailfs has closed the connections of this account"},
}

// explainSilence says why no answer may have come, by the step at which that happened.
func (e *accountError) explainSilence() string {
	protocol := e.server.Protocol
	switch {
	case e.step == dial.StepResolve:
		return fmt.Sprintf("no answer from the name server within %s; check the network", e.timeout)
	case e.step == dial.StepTLS && e.server.ImplicitTLS:
		return fmt.Sprintf("connected, but no answer to TLS within %s; if the server upgrades with STARTTLS, write %s:// instead "+
			"of %[2]ss://", e.timeout, protocol)
	case e.step == dial.StepGreeting && !e.server.ImplicitTLS:
		return fmt.Sprintf("connected, but no greeting within %s; if the server speaks TLS from the first byte, write %ss:// "+
			"instead of %[2]s://", e.timeout, protocol)
	case e.step != "" && e.step != dial.StepConnect:
		return fmt.Sprintf("the server stopped answering: nothing came within %s; try again later, or wait longer with --timeout", e.timeout)
	}
	return fmt.Sprintf("no answer within %s; check host and port (a firewall may drop the connection without an answer), or wait longer "+
		"with --timeout", e.timeout)
}

func (e *accountError) explainTLS() string {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		roots     x509.SystemRootsError
		record    tls.RecordHeaderError
	)
	switch err := e.err; {
	case errors.As(err, &authority):
		return "certificate signed by an authority this machine doesn't know; if you trust it, give it with --ca-file"
	case errors.As(err, &hostname):
		return e.explainNames(hostname.Certificate)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(invalid.Cert.NotBefore):
		return fmt.Sprintf("the certificate is not valid before %s; check this machine's clock",
			invalid.Cert.NotBefore.Format(time.DateOnly))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the certificate expired on %s; check this machine's clock, or ask the server's administrator",
			invalid.Cert.NotAfter.Format(time.DateOnly))
	case errors.As(err, &invalid):
		return "the certificate can't be used: " + strings.TrimPrefix(invalid.Error(), "x509: ")
	case errors.As(err, &roots):
		return "this machine has no certificates to trust; install ca-certificates, or give one with --ca-file"
	case errors.As(err, &record):
		return fmt.Sprintf("no TLS on this port; if the server upgrades with STARTTLS, write %s:// instead of %ss://",
			e.server.Protocol, e.server.Protocol)
	}
	switch said := tlsError(e.err); said {
	case "handshake failure", "insufficient security level", "server chose an unconfigured cipher suite":
		return "the server and mailfs have no cipher in common: the server may offer only the key exchange RSA or DHE, which mailfs " +
			"does not use; ask the server's administrator for ECDHE (TLS 1.2) or TLS 1.3"
	case "protocol version not supported":
		return "the server does not speak TLS 1.2 or newer, which mailfs needs; ask the server's administrator"
	case "":
		text := join("the connection is not safe", after(e.err, remote.ErrCertificate))
		if !e.server.ImplicitTLS {
			text += fmt.Sprintf(" (%ss:// speaks TLS from the first byte; --tls=off would send mail and password in the "+
				"clear)", e.server.Protocol)
		}
		return text
	default:
		return "the server refuses TLS: " + said
	}
}

// tlsError returns what the server's alert says, or why crypto/tls gave the handshake up, in the words of crypto/tls without
// its prefix; empty for another error. An alert is of a type that crypto/tls does not export.
func tlsError(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	_, reason, _ := strings.Cut(err.Error(), "tls: server chose an ")
	if reason != "" {
		return "server chose an " + reason
	}
	if strings.Contains(err.Error(), "tls: server selected unsupported protocol version") {
		return "protocol version not supported"
	}
	return ""
}

// explainNames says why a certificate is not one for the host.
func (e *accountError) explainNames(c *x509.Certificate) string {
	host := e.server.Host
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	ask := "; ask the server's administrator for one that names " + host
	switch {
	case len(names) == 0 && c.Subject.CommonName != "":
		return fmt.Sprintf("the certificate names no host: %q stands only in its subject, which no longer counts", c.Subject.CommonName) + ask
	case len(names) == 0:
		return "the certificate names no host" + ask
	case slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, host) }):
		return fmt.Sprintf("the certificate has %s as the name of a host, not as an address; write a name into the URL, or ask the "+
			"server's administrator for one with the address", host)
	}
	return "the certificate is for " + namesOf(names) + ", not for " + host + "; check the host in the URL"
}

// namesOf lists the hosts that a certificate is for.
func namesOf(names []string) string {
	if len(names) > 5 {
		return strings.Join(names[:5], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

func (e *accountError) explainNetwork() string {
	var dns *net.DNSError
	switch err := e.err; {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "unknown host; check its spelling in the URL"
	case errors.As(err, &dns):
		return "the name of the host can't be looked up (" + dns.Err + "); check the network"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: nothing listens there; check host and port"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETDOWN):
		return "there is no route to this host; check the network"
	case errors.Is(err, remote.ErrLost), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return e.explainEnd()
	default:
		return join("the server can't be reached", after(err, remote.ErrUnreachable))
	}
}

// explainEnd says at which step the server ended the connection, and repeats the reason where the server gave one.
func (e *accountError) explainEnd() string {
	text := "the server ended the connection"
	if e.step == dial.StepMailboxes {
		text += " when it was asked for the mailboxes"
	}
	said := after(e.err, remote.ErrLost)
	switch {
	case strings.HasPrefix(said, "the server says"):
		return join(text, said) + "; try again later"
	case e.step == dial.StepMailboxes:
		return text + "; try again later, or tell the server's administrator"
	}
	return text + "; check the port, or try again later"
}

// after returns the text of an error that follows the text of the sentinel, which the error wraps, perhaps more than once.
func after(err, sentinel error) string {
	_, text, found := strings.Cut(err.Error(), sentinel.Error())
	if !found {
		return err.Error()
	}
	for again := true; again; {
		text, again = strings.CutPrefix(strings.TrimLeft(text, ": "), sentinel.Error())
	}
	return text
}

// join appends the reason to a sentence, unless the reason is empty.
func join(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + reason
}
