// Package dial makes connections to mail servers: it looks up the host, connects, begins TLS and chooses how to sign in
// (SASL). It knows no protocol: a protocol's package hands in the functions that ask for TLS and that sign in.
package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/mailfs/mailfs/remote"
)

// Dialer makes the connections of one account. After a failure there is a pause, longer each time and with jitter; a
// connection that is wanted during the pause fails at once with the error of the last attempt.
type Dialer struct {
	Server Server

	in, out atomic.Int64 // bytes received and sent, below TLS
	dials   atomic.Int64 // connections that were tried
	up      atomic.Int64 // connections that are up

	mu        sync.Mutex // guards what follows
	backOff   *backoff.ExponentialBackOff
	failures  int       // attempts since the last success
	notBefore time.Time // end of the pause
	last      error     // of the last attempt; nil after a success

	unable map[way]bool // the server could not carry out these ways to sign in, but another one; nil when there is none
}

const (
	// maxPause is the longest pause after a failure, before jitter.
	maxPause = 10 * time.Second
	// loginPause is the shortest pause after a refused login: many servers lock an account that is tried too often.
	loginPause = time.Minute
)

// New returns the dialer for a server.
func New(s Server) *Dialer {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 250 * time.Millisecond
	b.MaxInterval = maxPause
	return &Dialer{Server: s, backOff: b}
}

// Connect dials, asks for TLS with startTLS unless TLS is implicit or switched off, and calls signIn, all within the server's
// timeout. The first line that signIn reads is the server's greeting, or the one that startTLS returned. The errors wrap
// remote.ErrUnreachable, remote.ErrTimeout or remote.ErrCertificate, or are those of signIn.
func Connect[T any](ctx context.Context, d *Dialer, startTLS Upgrade,
	signIn func(context.Context, net.Conn) (T, error)) (T, error) {
	var none T
	d.mu.Lock()
	wait, last := time.Until(d.notBefore), d.last
	d.mu.Unlock()
	if wait > 0 && last != nil {
		return none, last
	}
	got, err := attempt(ctx, d, startTLS, signIn)
	if err != nil && ctx.Err() != nil {
		return none, context.Cause(ctx) // the caller's end says nothing about the server
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		var pause time.Duration
		if d.failures++; d.failures > 1 { // a single failure may be an accident
			pause = d.backOff.NextBackOff()
		}
		if errors.Is(err, remote.ErrLogin) {
			pause = max(pause, loginPause)
		}
		d.notBefore, d.last = time.Now().Add(pause), err
		return none, err
	}
	d.backOff.Reset()
	d.last, d.failures = nil, 0
	return got, nil
}

// Forget ends the pause after a failure: the next Connect tries at once.
func (d *Dialer) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = nil
	d.backOff.Reset()
}

// attempt connects and signs in. It does both again where the server has ended the connection over a mechanism and offers
// another one, and where the password or the token has changed meanwhile.
func attempt[T any](ctx context.Context, d *Dialer, startTLS Upgrade,
	signIn func(context.Context, net.Conn) (T, error)) (T, error) {
	var none T
	limited, cancel := context.WithTimeout(ctx, d.Server.Timeout)
	defer cancel()
	t := &tries{}
	try := func() (T, error) {
		for { // at most as often as there are mechanisms: none is tried twice
			conn, err := d.dial(limited, startTLS)
			if err != nil {
				return none, Classify(err)
			}
			got, err := signInWithin(ctx, context.WithValue(limited, triesKey{}, t), conn, signIn)
			if !Another(err) || limited.Err() != nil {
				return got, err
			}
		}
	}
	got, err := try()
	if errors.Is(err, remote.ErrLogin) && limited.Err() == nil && d.Server.Refused != nil && d.Server.Refused() {
		*t = tries{hides: t.hides} // what failed may have failed over the password
		got, err = try()
	}
	if err != nil {
		return none, err
	}
	return got, nil
}

// signInWithin calls signIn on a connection, and closes the connection where that fails. limited is ctx with the server's
// timeout; when it ends, signIn ends with an error.
func signInWithin[T any](ctx, limited context.Context, conn net.Conn,
	signIn func(context.Context, net.Conn) (T, error)) (T, error) {
	var none T
	// The libraries that sign in take no context; a deadline that has passed ends their reads and writes.
	stop := context.AfterFunc(limited, func() { conn.SetDeadline(time.Unix(1, 0)) })
	got, err := signIn(limited, conn)
	if !stop() && err == nil {
		err = context.Cause(limited)
	}
	if err != nil {
		conn.Close()
		if limited.Err() != nil && ctx.Err() == nil && !errors.Is(err, remote.ErrLogin) {
			return none, fmt.Errorf("%w while signing in", remote.ErrTimeout)
		}
		return none, err
	}
	return got, nil
}

// dial makes a connection that is ready for signing in, over TLS unless the server has InTheClear.
func (d *Dialer) dial(ctx context.Context, startTLS Upgrade) (net.Conn, error) {
	d.dials.Add(1)
	s := &d.Server
	raw, err := (&net.Dialer{}).DialContext(s.traceNetwork(ctx), "tcp", s.Address())
	if err != nil {
		return nil, err
	}
	endWhenUnacknowledged(raw, s.Timeout)
	d.up.Add(1)
	conn := net.Conn(&countingConn{Conn: raw, dialer: d, acknowledge: acknowledger(raw)})
	if s.InTheClear {
		return s.traceGreeting(conn), nil
	}
	var greeting []byte
	if !s.ImplicitTLS {
		stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
		greeting, err = s.upgrade(conn, startTLS)
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

// handshakeError returns the error of a TLS handshake: as it is where the connection broke or the time was over, else as
// ErrCertificate.
func handshakeError(ctx context.Context, err error) error {
	var network net.Error // the alerts of TLS are of this type, too
	op, isOp := errors.AsType[*net.OpError](err)
	alert := isOp && (op.Op == "remote error" || op.Op == "local error")
	if ctx.Err() != nil || errors.Is(err, io.EOF) || errors.As(err, &network) && !alert {
		return err
	}
	return fmt.Errorf("%w: %w", remote.ErrCertificate, err)
}

// Stats returns the counters of the dialer's connections. Bodies is 0.
func (d *Dialer) Stats() remote.Stats {
	return remote.Stats{BytesIn: d.in.Load(), BytesOut: d.out.Load(), Dials: d.dials.Load(), Connections: int(d.up.Load())}
}

// countingConn counts the bytes that cross the network, below TLS, for the dialer.
type countingConn struct {
	net.Conn
	dialer      *Dialer
	acknowledge func()    // has the system acknowledge at once what was received
	closed      sync.Once // the dialer counts the connection as ended
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.acknowledge()
	c.dialer.in.Add(int64(n))
	return n, err
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.dialer.out.Add(int64(n))
	return n, err
}

func (c *countingConn) Close() error {
	c.closed.Do(func() { c.dialer.up.Add(-1) })
	return c.Conn.Close()
}

// greetedConn is a connection on which a greeting is read before what the server sends.
type greetedConn struct {
	net.Conn
	greeting []byte // not read yet
}

func (c *greetedConn) Read(p []byte) (int, error) {
	if len(c.greeting) > 0 {
		n := copy(p, c.greeting)
		c.greeting = c.greeting[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
