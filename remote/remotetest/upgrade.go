package remotetest

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/mailfs/mailfs/remote/dial"
)

// Upgrade tries how a protocol asks for TLS: against a server that greets with the first text, answers each line with the
// next one, and begins TLS after the last. want is the error to expect; where it is nil, what comes after the upgrade must
// begin with greeting.
func Upgrade(t *testing.T, startTLS dial.Upgrade, says []string, want error, greeting string) {
	t.Helper()
	certificate := httptest.NewTLSServer(nil) // of which only the certificate is used
	defer certificate.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	defer served.Wait()
	defer l.Close()
	served.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		lines := bufio.NewReader(conn) // the client sends nothing ahead
		for i, text := range says {
			if i > 0 {
				if _, err := lines.ReadString('\n'); err != nil {
					return
				}
			}
			io.WriteString(conn, text)
		}
		secure := tls.Server(conn, &tls.Config{Certificates: certificate.TLS.Certificates})
		if secure.Handshake() == nil {
			io.Copy(io.Discard, secure)
		}
	})
	server := dial.Server{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Timeout: patience, RootCAs: x509.NewCertPool()}
	server.RootCAs.AddCert(certificate.Certificate())
	line, err := dial.Connect(t.Context(), dial.New(server), startTLS, func(_ context.Context, conn net.Conn) (string, error) {
		defer conn.Close()
		if _, secure := conn.(*tls.Conn); secure {
			return "", errors.New("the greeting in the clear has no other in its place")
		}
		return bufio.NewReader(conn).ReadString('\n')
	})
	if !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
	if err == nil && !strings.HasPrefix(line, greeting) {
		t.Errorf("the greeting is %q", line)
	}
}
