package dial

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"

	"github.com/mailfs/mailfs/remote"
)

// The steps from a URL to a connection that is signed in, in their order, and the first step after it. A host that is an
// address is not looked up. The greeting comes before STARTTLS; with implicit TLS it comes after TLS.
const (
	StepResolve      = "resolve"
	StepConnect      = "connect"
	StepGreeting     = "greeting"
	StepStartTLS     = "starttls"
	StepTLS          = "tls"
	StepCapabilities = "capabilities"
	StepLogin        = "login"
	StepMailboxes    = "mailboxes" // reported by POP3, whose session lists the mailbox as it begins; never as done
)

// Step tells that a step begins or, with Done, that it went well. A connection has failed at the step that began and was
// not done, or, where there is none, at the last step.
type Step struct {
	Name string
	Done bool

	// The results of a step that is done; the names of the steps that have each are before the colon.
	Addresses    []string             // resolve: of the host; connect: of the machine that answers, with its port
	Said         string               // greeting: the server's words
	TLS          *tls.ConnectionState // tls
	Capabilities []string             // capabilities: before signing in; login: after it, where the server tells
	Mechanism    string               // login: the mechanism of SASL, or the protocol's own command
	Refused      []Refused            // login: the mechanisms that the server could not carry out before
}

// Step reports a step to the server's Trace, if it has one.
func (s *Server) Step(step Step) {
	if s.Trace != nil {
		s.Trace(step)
	}
}

// traceNetwork returns a context in which package net reports looking up and connecting as steps.
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

// traceGreeting returns a connection that reports the first line it receives as the greeting.
func (s *Server) traceGreeting(conn net.Conn) net.Conn {
	if s.Trace == nil {
		return conn
	}
	s.Step(Step{Name: StepGreeting})
	return &greetingConn{Conn: conn, server: s}
}

// maxGreeting bounds, in bytes, the part of a greeting that is reported.
const maxGreeting = 1024

type greetingConn struct {
	net.Conn
	server   *Server
	line     []byte // received of the greeting so far
	reported bool
}

func (c *greetingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.reported {
		c.line = append(c.line, p[:n]...)
		if line, _, ended := bytes.Cut(c.line, []byte("\n")); ended || len(c.line) > maxGreeting {
			c.server.Step(Step{Name: StepGreeting, Done: true, Said: remote.Shorten(string(bytes.TrimSpace(line)))})
			c.reported, c.line = true, nil
		}
	}
	return n, err
}
