package dial

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"

	"github.com/mailfs/mailfs/remote"
)

// The steps on the way to a connection that is signed in, in their order, and the first one after it. A host that is an
// address is not looked up; the greeting comes before STARTTLS and after TLS from the first byte.
const (
	StepResolve      = "resolve"
	StepConnect      = "connect"
	StepGreeting     = "greeting"
	StepStartTLS     = "starttls"
	StepTLS          = "tls"
	StepCapabilities = "capabilities"
	StepLogin        = "login"
	StepMailboxes    = "mailboxes" // begun by a protocol that lists them as part of signing in; never done
)

// Step tells that a step begins or, with Done, that it went well. A step that begins and is never done is where a
// connection failed; so is the last one that was done, when what it brought was no good.
type Step struct {
	Name string
	Done bool

	// What came of it, where it has that.
	Addresses    []string             // resolve: of the host; connect: the one that answers, with its port
	Said         string               // greeting: the server's words
	TLS          *tls.ConnectionState // tls
	Capabilities []string             // capabilities: before signing in; login: after it, where the server tells
	Mechanism    string               // login: of SASL, or the protocol's own command
}

// Step reports a step to the server's Trace, if it has one.
func (s *Server) Step(step Step) {
	if s.Trace != nil {
		s.Trace(step)
	}
}

// traceNetwork has what package net does in ctx reported.
func (s *Server) traceNetwork(ctx context.Context) context.Context {
	if s.Trace == nil {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { s.Step(Step{Name: StepResolve}) },
		DNSDone: func(i httptrace.DNSDoneInfo) {
			if i.Err != nil {
				return
			}
			var addresses []string
			for _, a := range i.Addrs {
				addresses = append(addresses, a.String())
			}
			s.Step(Step{Name: StepResolve, Done: true, Addresses: addresses})
		},
		ConnectStart: func(_, _ string) { s.Step(Step{Name: StepConnect}) },
		ConnectDone: func(_, address string, err error) {
			if err == nil {
				s.Step(Step{Name: StepConnect, Done: true, Addresses: []string{address}})
			}
		},
	})
}

// traceGreeting has the first line that comes over a connection reported as the greeting.
func (s *Server) traceGreeting(conn net.Conn) net.Conn {
	if s.Trace == nil {
		return conn
	}
	s.Step(Step{Name: StepGreeting})
	return &greetingConn{Conn: conn, server: s}
}

type greetingConn struct {
	net.Conn
	server *Server
	line   []byte
	heard  bool
}

func (c *greetingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.heard {
		c.line = append(c.line, p[:n]...)
		if line, _, ended := bytes.Cut(c.line, []byte("\n")); ended || len(c.line) > 1024 {
			c.server.Step(Step{Name: StepGreeting, Done: true, Said: remote.Shorten(string(bytes.TrimSpace(line)))})
			c.heard, c.line = true, nil
		}
	}
	return n, err
}
