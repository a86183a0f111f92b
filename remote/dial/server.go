package dial

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/idna"
)

// Server says where an account is, how to speak to it, and as whom.
type Server struct {
	// Protocol is "imap", "pop3" or "smtp".
	Protocol string
	// ImplicitTLS speaks TLS from the first byte (RFC 8314, section 3); otherwise the connection is upgraded with
	// STARTTLS or STLS, and given up where the server offers none.
	ImplicitTLS bool
	Host        string
	Port        int
	User        string

	// InTheClear does without TLS altogether, whatever the scheme.
	InTheClear bool
	// RootCAs are the certificates to trust; nil trusts those of the system.
	RootCAs *x509.CertPool
	// Timeout bounds connecting and signing in as a whole, and afterwards every wait for a sign of life.
	Timeout time.Duration
	// Password is asked for each sign-in and is not kept.
	Password func(context.Context) (string, error)
	// Token is asked instead where it is not nil: an OAuth access token (RFC 6749, section 1.4).
	Token func(context.Context) (string, error)
	// Refused, where it is not nil, is told that the server refused what Password or Token gave, and says whether they
	// would give something else if they were asked at once.
	Refused func() bool
	// Trace, where it is not nil, follows connections being made, from whatever goroutine makes them.
	Trace func(Step)
}

// schemes are the URL schemes and their registered ports.
var schemes = map[string]struct {
	protocol string
	implicit bool
	port     int
}{
	"imaps": {"imap", true, 993}, "imap": {"imap", false, 143},
	"pop3s": {"pop3", true, 995}, "pop3": {"pop3", false, 110},
	"smtps": {"smtp", true, 465}, "smtp": {"smtp", false, 587},
}

var errPort = errors.New("the port in the URL must be a number from 1 to 65535")

// ParseURL reads the address of an account, as in imaps://me%40example.org@mail.example.org:993. Its errors never repeat
// the URL: it may hold a password, which is refused.
func ParseURL(raw string) (Server, error) {
	u, err := url.Parse(raw)
	if err != nil {
		if strings.Contains(err.Error(), "invalid port") {
			return Server{}, errPort
		}
		return Server{}, errors.New("the URL can't be understood; write SCHEME://USER@HOST[:PORT], with @ in USER as %40 and a space as %20")
	}
	scheme, ok := schemes[strings.ToLower(u.Scheme)]
	if !ok {
		return Server{}, errors.New("the URL must begin with imaps://, imap://, pop3s:// or pop3:// (smtps:// or smtp:// for check), " +
			"as in imaps://me%40example.org@mail.example.org")
	}
	if _, has := u.User.Password(); has {
		return Server{}, errors.New("a password in the URL can be read by every user of this machine (arguments are public); " +
			"put it into MAILFS_PASSWORD, use --password-command, or let mailfs ask for it")
	}
	if strings.Contains(u.Host, "@") || u.Opaque != "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return Server{}, errors.New("the URL must be SCHEME://USER@HOST[:PORT] and nothing after it; write @ in USER as %40 and / as %2F")
	}
	s := Server{Protocol: scheme.protocol, ImplicitTLS: scheme.implicit, Host: u.Hostname(), Port: scheme.port, User: u.User.Username()}
	if s.Host == "" {
		return Server{}, errors.New("the URL names no host; write SCHEME://USER@HOST[:PORT]")
	}
	if s.Host, err = ASCIIHost(s.Host); err != nil {
		return Server{}, errors.New("the host in the URL is no domain name")
	}
	if p := u.Port(); p != "" {
		s.Port, err = strconv.Atoi(p)
		if err != nil || s.Port < 1 || s.Port > 65535 {
			return Server{}, errPort
		}
	}
	if strings.ContainsAny(s.User, "\r\n\x00") {
		return Server{}, errors.New("the user name in the URL contains a line break or a NUL byte")
	}
	return s, nil
}

// ASCIIHost returns a host's name as DNS and certificates have it: an internationalised one as A-labels (RFC 5891,
// section 4.4). It fails for one that can't be such a name.
func ASCIIHost(host string) (string, error) {
	if !strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) {
		return host, nil // also an address, or a name that only a local network knows
	}
	return idna.Lookup.ToASCII(host)
}

// Address is host and port as net.Dial takes them.
func (s *Server) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// String is the URL of the server, which never holds a password.
func (s *Server) String() string {
	scheme := s.Protocol
	if s.ImplicitTLS {
		scheme += "s"
	}
	u := url.URL{Scheme: scheme, Host: s.Address()}
	if s.User != "" {
		u.User = url.User(s.User)
	}
	return u.String()
}

// Loopback tells whether the host is this machine by its name or address, so that speaking in the clear shows nothing to
// anyone.
func (s *Server) Loopback() bool {
	if strings.EqualFold(s.Host, "localhost") {
		return true
	}
	ip := net.ParseIP(s.Host)
	return ip != nil && ip.IsLoopback()
}
