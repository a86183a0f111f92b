package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/secret"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// makeCertificate makes a self-signed certificate, and returns it in PEM as well.
func makeCertificate(t *testing.T, host string, from, to time.Time) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, ca
}

// listen opens a port on this machine and serves each connection with a function.
func listen(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return fmt.Sprintf("localhost:%d", l.Addr().(*net.TCPAddr).Port)
}

// says is a server that sends a greeting, and the same answer to everything.
func says(greeting, answer string) func(net.Conn) {
	return func(conn net.Conn) {
		io.WriteString(conn, greeting)
		for b := make([]byte, 4096); ; {
			if _, err := conn.Read(b); err != nil {
				return
			}
			io.WriteString(conn, answer)
		}
	}
}

func silent(conn net.Conn) { io.Copy(io.Discard, conn) }

// speakTLS is a server that sends nothing after the TLS handshake.
func speakTLS(c tls.Certificate) func(net.Conn) {
	return func(conn net.Conn) {
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c}})
		if secure.Handshake() == nil {
			silent(secure)
		}
	}
}

// failingLine connects to an account, which must fail, and returns the line that says why, and the address of the server.
func failingLine(t *testing.T, a config.Account) (text, address string) {
	t.Helper()
	server, err := dial.ParseURL(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	a.User, a.Connections = server.User, 1
	if a.Timeout == 0 {
		a.Timeout = config.Duration(20 * time.Second)
	}
	opened := open(&a, dial.New(secret.Server(&a)), slog.New(slog.DiscardHandler))
	defer opened.Close()
	if err = opened.Connect(context.Background()); err == nil {
		t.Fatal("it connects")
	}
	return line(failed(&a, err)), server.Address()
}

func TestAFailedConnectionIsExplainedInOneLine(t *testing.T) {
	const able = "* OK [CAPABILITY IMAP4rev1] hi\r\n"
	now, hour := time.Now(), time.Hour
	good, _ := makeCertificate(t, "localhost", now.Add(-hour), now.Add(hour))
	old, oldCA := makeCertificate(t, "localhost", now.Add(-48*hour), now.Add(-24*hour))
	young, youngCA := makeCertificate(t, "localhost", now.Add(24*hour), now.Add(48*hour))
	other, otherCA := makeCertificate(t, "mail.example.com", now.Add(-hour), now.Add(hour))
	day := func(d time.Time) string { return d.UTC().Format(time.DateOnly) }

	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := fmt.Sprintf("localhost:%d", closed.Addr().(*net.TCPAddr).Port)
	closed.Close()

	for _, c := range []struct {
		name    string
		account config.Account
		want    string // after the address
	}{
		{"unknown authority", config.Account{URL: "imaps://u@" + listen(t, speakTLS(good))},
			"certificate signed by an authority this machine doesn't know; if you trust it, give it with --ca-file"},
		{"expired", config.Account{URL: "imaps://u@" + listen(t, speakTLS(old)), Roots: oldCA},
			"the certificate expired on " + day(now.Add(-24*hour)) +
				"; check this machine's clock, or ask the server's administrator"},
		{"not yet", config.Account{URL: "imaps://u@" + listen(t, speakTLS(young)), Roots: youngCA},
			"the certificate is not valid before " + day(now.Add(24*hour)) + "; check this machine's clock"},
		{"another host", config.Account{URL: "pop3s://u@" + listen(t, speakTLS(other)), Roots: otherCA},
			"the certificate is for mail.example.com, not for localhost; check the host in the URL"},
		{"no TLS", config.Account{URL: "imaps://u@" + listen(t, says("* OK hi\r\n", ""))},
			"no TLS on this port; if the server upgrades with STARTTLS, write imap:// instead of imaps://"},
		{"no STARTTLS", config.Account{URL: "imap://u@" + listen(t, says("* OK hi\r\n", "S BAD what?\r\n"))},
			`the connection is not safe: the server refuses STARTTLS: "S BAD what?" (imaps:// speaks TLS from the first byte; ` +
				`--tls=off would send mail and password in the clear)`},
		{"nobody listens", config.Account{URL: "imaps://u@" + nobody},
			"connection refused: nothing listens there; check host and port"},
		{"unknown host", config.Account{URL: "imaps://u@no-such-host.invalid"},
			"unknown host; check its spelling in the URL"},
		{"silent", config.Account{URL: "imap://u@" + listen(t, silent), Connection: config.Connection{TLS: "off", Timeout: config.Duration(200 * time.Millisecond)}},
			"no answer within 200ms; check host and port (a firewall may drop the connection without an answer), or wait longer with --timeout"},
		{"hangs up", config.Account{URL: "imap://u@" + listen(t, func(net.Conn) {}), Connection: config.Connection{TLS: "off"}},
			"the server ended the connection; check the port, or try again later"},
		{"wrong password", config.Account{URL: "pop3://u@" + listen(t, says("+OK hi\r\n", "-ERR no\r\n")), Connection: config.Connection{TLS: "off"},
			HasPassword: true, Password: []byte("hunter2")},
			`login refused for "u": the server says "no"; check user and password`},
		{"wrong password of a command", config.Account{URL: "pop3://u@" + listen(t, says("+OK hi\r\n", "-ERR no\r\n")),
			Connection: config.Connection{TLS: "off", PasswordCommand: "echo hunter2"}}, `login refused for "u": the server says "no"; check what the password command prints`},
		{"no password", config.Account{URL: "imap://u@" + listen(t, says(able, "")), Connection: config.Connection{TLS: "off"}},
			"there is no password, and no terminal to ask for one; set MAILFS_PASSWORD, keep it in the keyring with mailfs login, or " +
				"give a command that prints it (--password-command, or password_command in the configuration)"},
		{"failing command", config.Account{URL: "imap://u@" + listen(t, says(able, "")),
			Connection: config.Connection{TLS: "off", PasswordCommand: "echo hunter2; echo locked >&2; exit 3"}},
			`login refused for "u": the password command failed (exit status 3): locked`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, address := failingLine(t, c.account)
			if want := address + ": " + c.want; !strings.HasPrefix(got, want) {
				t.Errorf("the line is\n%s\nwant\n%s", got, want)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("the password shows: %s", got)
			}
		})
	}
}

func TestEveryErrorOfRemoteHasASentenceOfItsOwn(t *testing.T) {
	sentence := func(err error) string {
		return (&accountError{server: dial.Server{Protocol: "imap", Host: "h", User: "u"}, err: err}).explain()
	}
	unknown, _, _ := strings.Cut(sentence(errors.New("reason")), ": reason")
	others := map[string]error{}
	for _, err := range remote.Errors() {
		got := sentence(err)
		if strings.HasPrefix(got, unknown) {
			t.Errorf("%q has the sentence of an error that nobody knows: %s", err, got)
		}
		if other := others[got]; other != nil {
			t.Errorf("%q and %q have the same sentence: %s", err, other, got)
		}
		others[got] = err
		reason := fmt.Errorf("%w: the server says \"because\"", err)
		if err != remote.ErrTimeout && !strings.Contains(sentence(reason), `: the server says "because"`) {
			t.Errorf("what the server says is lost: %s", sentence(reason))
		}
	}
}

// The line is of bounded length.
func TestAnyErrorOfAServerBecomesOneLine(t *testing.T) {
	a := config.Account{Name: "work", URL: "imaps://u@h", User: "u"}
	err := fmt.Errorf("%w: first\r\nsecond\x1b[31m\x00%s", remote.ErrServer, strings.Repeat("ä", 5000))
	got := line(failed(&a, err))
	if !strings.HasPrefix(got, "account work: h:993: the server answered with an error: first second [31m") {
		t.Errorf("it begins %q", got[:100])
	}
	if strings.ContainsAny(got, "\r\n\x1b\x00\uFFFD") || len(got) > maxLine+3 {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
