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

// Server says where a mail server is, how its connections are secured, and who signs in.
type Server struct {
	// Protocol is the scheme of the URL without its "s": "imap", "pop3" or "smtp".
	Protocol string
	// ImplicitTLS begins TLS with the first byte (RFC 8314, section 3). Without it, the server is asked for TLS with STARTTLS
	// or STLS, and a server that refuses is an error.
	ImplicitTLS bool
	Host        string // name or address
	Port        int
	User        string // empty where nobody signs in

	// InTheClear makes connections without TLS, whatever ImplicitTLS says.
	InTheClear bool
	// RootCAs are the certificates that are trusted; nil stands for those of the system.
	RootCAs *x509.CertPool
	// Timeout bounds connecting and signing in as a whole, and afterwards every wait for bytes from the server.
	Timeout time.Duration
	// Password returns the password; it is called for each sign-in. nil: there is none.
	Password func(context.Context) (string, error)
	// Token, where it is not nil, is called in place of Password and returns an OAuth access token (RFC 6749, section 1.4).
	Token func(context.Context) (string, error)
	// Refused, where it is not nil, is called when the server has refused the password or the token. It tells whether
	// Password or Token would now return another one.
	Refused func() bool
	// Trace, where it is not nil, is called for each step of making a connection, from any goroutine.
	Trace func(Step)
}

// schemes are the URL schemes, with what they say of a server.
var schemes = map[string]struct {
	protocol string
	implicit bool // TLS
	port     int  // registered for the scheme
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

// ASCIIHost returns a host as DNS and certificates write it: an internationalised name as A-labels (RFC 5891, section 4.4).
// It fails where the host can't be a domain name.
func ASCIIHost(host string) (string, error) {
	if !strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) {
		return host, nil // an address, too, and a name that only a local network knows
	}
	return idna.Lookup.ToASCII(host)
}

// Address returns host and port as net.Dial takes them.
func (s *Server) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// String returns the URL of the server. It never holds a password.
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

// Loopback tells whether the host is this machine by its name or address: nobody on the network can then read a connection in
// the clear.
func (s *Server) Loopback() bool {
	if strings.EqualFold(s.Host, "localhost") {
		return true
	}
	ip := net.ParseIP(s.Host)
	return ip != nil && ip.IsLoopback()
}
