// Package dial makes connections to mail servers: it resolves, connects, begins TLS and proves who the user is (SASL). It
// knows no protocol: how a server is asked for TLS and how a proof is sent are functions of the protocols' packages.
package dial

import (
	"bytes"
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

// New returns the dialer for a server.
func New(s Server) *Dialer {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 250 * time.Millisecond
	b.MaxInterval = maxRetry
	return &Dialer{Server: s, retry: b}
}

// Connect dials, upgrades to TLS with startTLS where the server's URL says so, and has signIn sign in on the connection, all
// within the server's timeout. What signIn reads from the connection begins with the server's greeting, or with the one
// that startTLS returned. Its errors wrap ErrUnreachable, ErrTimeout, ErrCertificate, or what signIn says.
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
		return none, context.Cause(ctx) // says nothing about the server
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		var pause time.Duration
		if d.failures++; d.failures > 1 { // the first one may be an accident
			pause = d.retry.NextBackOff()
		}
		if errors.Is(err, remote.ErrLogin) {
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

// attempt is one attempt to connect. It signs in a second time where the user's password or token has changed meanwhile.
func attempt[T any](ctx context.Context, d *Dialer, startTLS Upgrade,
	signIn func(context.Context, net.Conn) (T, error)) (T, error) {
	var none T
	limited, cancel := context.WithTimeout(ctx, d.Server.Timeout)
	defer cancel()
	try := func() (T, error) {
		conn, err := d.dial(limited, startTLS)
		if err != nil {
			return none, Classify(err)
		}
		return signInWithin(ctx, limited, conn, signIn)
	}
	got, err := try()
	if errors.Is(err, remote.ErrLogin) && limited.Err() == nil && d.Server.Refused != nil && d.Server.Refused() {
		got, err = try()
	}
	if err != nil {
		return none, err
	}
	return got, nil
}

// signInWithin calls signIn, and ends the connection when limited, which is ctx with the server's timeout, ends before.
func signInWithin[T any](ctx, limited context.Context, conn net.Conn,
	signIn func(context.Context, net.Conn) (T, error)) (T, error) {
	var none T
	// Signing in knows no context: ending the connection ends it.
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

// dial makes a connection that is ready for signing in: over TLS, unless the server is to be spoken to in the clear.
func (d *Dialer) dial(ctx context.Context, startTLS Upgrade) (net.Conn, error) {
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

// handshakeError tells a connection that broke during the handshake from a server with which TLS can't be had.
func handshakeError(ctx context.Context, err error) error {
	var network net.Error // crypto/tls reports the server's alerts as one, too
	op, isOp := errors.AsType[*net.OpError](err)
	alert := isOp && (op.Op == "remote error" || op.Op == "local error")
	if ctx.Err() != nil || errors.Is(err, io.EOF) || errors.As(err, &network) && !alert {
		return err
	}
	return fmt.Errorf("%w: %w", remote.ErrCertificate, err)
}

// Stats returns what went through the dialer's connections.
func (d *Dialer) Stats() remote.Stats {
	return remote.Stats{BytesIn: d.in.Load(), BytesOut: d.out.Load(), Dials: d.dials.Load(), Connections: int(d.up.Load())}
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
