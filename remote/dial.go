package remote

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Dialer makes the connections of one account. After a failure it waits, longer each time and with jitter, before it
// tries again; calls until then fail at once with what went wrong.
type Dialer struct {
	Server Server

	in, out, dials, up atomic.Int64

	mu        sync.Mutex // guards what follows
	retry     *backoff.ExponentialBackOff
	failures  int // since the last success
	notBefore time.Time
	last      error
}

// A server that is away is tried again within this time; one that refuses the login within loginRetry, since many lock
// an account that is tried too often.
const (
	maxRetry   = 10 * time.Second
	loginRetry = time.Minute
)

// NewDialer returns a dialer for a server.
func NewDialer(s Server) *Dialer {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 250 * time.Millisecond
	b.MaxInterval = maxRetry
	return &Dialer{Server: s, retry: b}
}

// Connect dials and has signIn sign in on the connection, all within the server's timeout. The connection starts with
// the server's greeting; after STARTTLS, where the protocol has none, with one that stands in for it. Its errors wrap
// ErrUnreachable, ErrTimeout, ErrCertificate, or what signIn says.
func Connect[T any](ctx context.Context, d *Dialer, signIn func(context.Context, net.Conn) (T, error)) (T, error) {
	var none T
	d.mu.Lock()
	wait, last := time.Until(d.notBefore), d.last
	d.mu.Unlock()
	if wait > 0 && last != nil {
		return none, last
	}
	got, err := attempt(ctx, d, signIn)
	if err != nil && ctx.Err() != nil {
		return none, context.Cause(ctx) // says nothing about the server
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		var pause time.Duration
		if d.failures++; d.failures > 1 { // the first one may be an accident
			pause = d.retry.NextBackOff()
		}
		if errors.Is(err, ErrLogin) {
			pause = max(pause, loginRetry)
		}
		d.notBefore, d.last = time.Now().Add(pause), err
		return none, err
	}
	d.retry.Reset()
	d.last, d.failures = nil, 0
	return got, nil
}

// Forget makes the next Connect try at once, whatever failed before.
func (d *Dialer) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = nil
	d.retry.Reset()
}

func attempt[T any](ctx context.Context, d *Dialer, signIn func(context.Context, net.Conn) (T, error)) (T, error) {
	var none T
	limited, cancel := context.WithTimeout(ctx, d.Server.Timeout)
	defer cancel()
	got, err := signInOnce(ctx, limited, d, signIn)
	if errors.Is(err, ErrLogin) && limited.Err() == nil && d.Server.Refused != nil && d.Server.Refused() {
		got, err = signInOnce(ctx, limited, d, signIn)
	}
	if err != nil {
		return none, err
	}
	return got, nil
}

// signInOnce is one attempt, within the limited time of ctx.
func signInOnce[T any](ctx, limited context.Context, d *Dialer,
	signIn func(context.Context, net.Conn) (T, error)) (T, error) {
	var none T
	conn, err := d.dial(limited)
	if err != nil {
		return none, Classify(err)
	}
	// Signing in knows no context: ending the connection ends it.
	stop := context.AfterFunc(limited, func() { conn.SetDeadline(time.Unix(1, 0)) })
	got, err := signIn(limited, conn)
	if !stop() && err == nil {
		err = context.Cause(limited)
	}
	if err != nil {
		conn.Close()
		if limited.Err() != nil && ctx.Err() == nil && !errors.Is(err, ErrLogin) {
			return none, fmt.Errorf("%w while signing in", ErrTimeout)
		}
		return none, err
	}
	return got, nil
}

func (d *Dialer) dial(ctx context.Context) (net.Conn, error) {
	d.dials.Add(1)
	s := &d.Server
	raw, err := (&net.Dialer{}).DialContext(s.traceNetwork(ctx), "tcp", s.Address())
	if err != nil {
		return nil, err
	}
	endWhenUnconfirmed(raw, s.Timeout)
	d.up.Add(1)
	conn := net.Conn(&countingConn{Conn: raw, dialer: d, confirm: confirmer(raw)})
	if s.InTheClear {
		return s.traceGreeting(conn), nil
	}
	var greeting []byte
	if !s.ImplicitTLS {
		stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
		greeting, err = s.startTLS(conn)
		stop()
		if err != nil {
			conn.Close()
			return nil, err
		}
	}
	s.Step(Step{Name: StepTLS})
	secure := tls.Client(conn, &tls.Config{ServerName: s.Host, RootCAs: s.RootCAs, MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, handshakeError(ctx, err)
	}
	state := secure.ConnectionState()
	s.Step(Step{Name: StepTLS, Done: true, TLS: &state})
	if greeting != nil {
		return &greetedConn{Conn: secure, greeting: greeting}, nil
	}
	return s.traceGreeting(secure), nil
}

// handshakeError tells a connection that broke during the handshake from a server with which TLS can't be had.
func handshakeError(ctx context.Context, err error) error {
	var network net.Error // crypto/tls reports the server's alerts as one, too
	op, isOp := errors.AsType[*net.OpError](err)
	alert := isOp && (op.Op == "remote error" || op.Op == "local error")
	if ctx.Err() != nil || errors.Is(err, io.EOF) || errors.As(err, &network) && !alert {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCertificate, err)
}

// startTLS asks for TLS on a connection in the clear: STARTTLS of RFC 9051, section 6.2.1, STLS of RFC 2595, section 4,
// or STARTTLS of RFC 3207. It returns a greeting to stand in for the one it has read. Nothing that the server says in
// the clear is kept.
func (s *Server) startTLS(conn net.Conn) (greeting []byte, err error) {
	conn = s.traceGreeting(conn)
	r := bufio.NewReaderSize(conn, 4096)
	line := func() (string, error) {
		b, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return "", fmt.Errorf("%w: a line of more than 4096 bytes before TLS", ErrServer)
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return strings.TrimRight(string(b), "\r\n"), err
	}
	var answer string
	switch s.Protocol {
	case "imap":
		if answer, err = line(); err != nil {
			return nil, err
		}
		first := strings.ToUpper(answer)
		if strings.HasPrefix(first, "* BYE") {
			return nil, fmt.Errorf("%w: the server greets with %q", ErrUnreachable, shorten(answer))
		}
		if !strings.HasPrefix(first, "* OK") {
			// A PREAUTH in the clear can be anybody's (RFC 9051, section 7.1.4).
			return nil, fmt.Errorf("%w: the server greets with %q before TLS", ErrServer, shorten(answer))
		}
		s.Step(Step{Name: StepStartTLS})
		if _, err = io.WriteString(conn, "S STARTTLS\r\n"); err != nil {
			return nil, err
		}
		for answer = "*"; strings.HasPrefix(answer, "*"); {
			if answer, err = line(); err != nil {
				return nil, err
			}
		}
		if !strings.HasPrefix(strings.ToUpper(answer), "S OK") {
			return nil, fmt.Errorf("%w: the server refuses STARTTLS: %q", ErrCertificate, shorten(answer))
		}
		greeting = []byte("* OK TLS begun\r\n")
	case "pop3":
		if answer, err = line(); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(answer, "+OK") {
			return nil, fmt.Errorf("%w: the server greets with %q", ErrServer, shorten(answer))
		}
		s.Step(Step{Name: StepStartTLS})
		if _, err = io.WriteString(conn, "STLS\r\n"); err != nil {
			return nil, err
		}
		if answer, err = line(); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(answer, "+OK") {
			return nil, fmt.Errorf("%w: the server refuses STLS: %q", ErrCertificate, shorten(answer))
		}
		greeting = []byte("+OK TLS begun\r\n")
	case "smtp":
		reply := func() (string, error) { // the last line of one that may have several (RFC 5321, section 4.2.1)
			for {
				l, err := line()
				if err != nil || len(l) < 4 || l[3] != '-' {
					return l, err
				}
			}
		}
		if answer, err = reply(); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(answer, "220") {
			return nil, fmt.Errorf("%w: the server greets with %q", ErrUnreachable, shorten(answer))
		}
		s.Step(Step{Name: StepStartTLS})
		for _, command := range []string{"EHLO " + ClientName, "STARTTLS"} { // there is no STARTTLS before EHLO
			if _, err = io.WriteString(conn, command+"\r\n"); err != nil {
				return nil, err
			}
			if answer, err = reply(); err != nil {
				return nil, err
			}
		}
		if !strings.HasPrefix(answer, "220") {
			return nil, fmt.Errorf("%w: the server refuses STARTTLS: %q", ErrCertificate, shorten(answer))
		}
		greeting = []byte("220 TLS begun\r\n")
	default:
		return nil, fmt.Errorf("%w: no upgrade to TLS is known for %s", ErrUnsupported, s.Protocol)
	}
	if r.Buffered() > 0 { // sent ahead by somebody in between, to be taken for the server's words inside TLS
		return nil, fmt.Errorf("%w: more than the answer came before TLS began", ErrCertificate)
	}
	s.Step(Step{Name: StepStartTLS, Done: true})
	return greeting, nil
}

// ClientName is how mailfs calls itself in SMTP's EHLO. Which machine it runs on is nobody's business.
const ClientName = "localhost"

// shorten makes a server's words fit for an error: one line, at most 100 bytes, quoted by the caller.
func shorten(s string) string {
	if len(s) > 100 {
		s = s[:100] + "..."
	}
	return s
}

// Classify wraps an error of the network or of TLS into what it means for mail. Errors that are of this package already
// stay as they are.
func Classify(err error) error {
	var (
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
		invalid     x509.CertificateInvalidError
		record      tls.RecordHeaderError
		alert       tls.AlertError
		timeout     net.Error
	)
	switch {
	case err == nil:
		return nil
	case known(err):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid),
		errors.As(err, &record), errors.As(err, &alert):
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
}

// Stats returns what went through the dialer's connections.
func (d *Dialer) Stats() Stats {
	return Stats{BytesIn: d.in.Load(), BytesOut: d.out.Load(), Dials: d.dials.Load(), Connections: int(d.up.Load())}
}

// countingConn counts what crosses the network, below TLS.
type countingConn struct {
	net.Conn
	dialer  *Dialer
	confirm func() // what was received
	once    sync.Once
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.confirm()
	c.dialer.in.Add(int64(n))
	return n, err
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.dialer.out.Add(int64(n))
	return n, err
}

func (c *countingConn) Close() error {
	c.once.Do(func() { c.dialer.up.Add(-1) })
	return c.Conn.Close()
}

// greetedConn gives a greeting before what the connection has to say.
type greetedConn struct {
	net.Conn
	greeting []byte
}

func (c *greetedConn) Read(p []byte) (int, error) {
	if len(c.greeting) > 0 {
		n := copy(p, c.greeting)
		c.greeting = bytes.Clone(c.greeting[n:])
		return n, nil
	}
	return c.Conn.Read(p)
}
