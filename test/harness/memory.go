//go:build linux

package harness

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// Memory is go-imap's IMAP server in memory. It knows little beyond IMAP4rev1: no CONDSTORE, no SASL-IR.
type Memory struct {
	Certificates
	IMAP, IMAPS int // ports on 127.0.0.1
}

// Memory starts a server in memory with an account for user. The server ends with the test.
func (r *Run) Memory(t testing.TB, user, password string) *Memory {
	t.Helper()
	certs, err := NewCertificates(r.TempDir(t), NextYear(), "localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(certs.Cert, certs.Key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	account := imapmemserver.NewUser(user, password)
	if err := account.Create("INBOX", nil); err != nil {
		t.Fatal(err)
	}
	mem := imapmemserver.New()
	mem.AddUser(account)
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return mem.NewSession(), nil, nil
		},
		Caps:         imap.CapSet{imap.CapIMAP4rev1: {}},
		TLSConfig:    config,
		InsecureAuth: true,
		Logger:       log.New(io.Discard, "", 0),
	})
	t.Cleanup(func() { server.Close() })
	m := &Memory{Certificates: certs}
	for _, l := range []struct {
		port   *int
		secure bool
	}{{&m.IMAP, false}, {&m.IMAPS, true}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*l.port = ln.Addr().(*net.TCPAddr).Port
		if l.secure {
			ln = tls.NewListener(ln, config)
		}
		go server.Serve(ln)
	}
	return m
}

// Dial returns a signed-in client.
func (m *Memory) Dial(t testing.TB, user string) *Client { return dial(t, m.IMAPS, user, Password) }

func dial(t testing.TB, port int, user, password string) *Client {
	t.Helper()
	c, err := imapclient.DialTLS(local(port), &imapclient.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(user, password).Wait(); err != nil {
		t.Fatal(err)
	}
	return &Client{c, t}
}
