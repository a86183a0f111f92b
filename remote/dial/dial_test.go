package dial

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mailfs/mailfs/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate returns a self-signed certificate for a name that ends to be valid at a time.
func certificate(t *testing.T, name string, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}

// listen serves each connection with serve until the test ends.
func listen(t *testing.T, serve func(net.Conn)) Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu    sync.Mutex
		conns []net.Conn
		wg    sync.WaitGroup
	)
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return Server{Protocol: "imap", Host: "localhost", Port: l.Addr().(*net.TCPAddr).Port, Timeout: 5 * time.Minute}
}

// greet signs in by reading the greeting, which it returns.
func greet(_ context.Context, c net.Conn) (string, error) {
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	return line, Classify(err)
}

func overTLS(cert tls.Certificate, version uint16) func(net.Conn) {
	return func(c net.Conn) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: version, MaxVersion: version})
		if s.Handshake() == nil {
			io.WriteString(s, "hello\r\n")
			io.Copy(io.Discard, s)
		}
	}
}

// begin is the upgrade of a protocol that greets with "hello" and answers BEGIN with "yes".
func begin(c *ClearText) (string, error) {
	if greeting, err := c.Line(); err != nil {
		return "", err
	} else if greeting != "hello" {
		return "", fmt.Errorf("%w: %q", remote.ErrServer, greeting)
	}
	if err := c.Send("BEGIN"); err != nil {
		return "", err
	}
	answer, err := c.Line()
	if err == nil && answer != "yes" {
		err = fmt.Errorf("%w: %q", remote.ErrCertificate, answer)
	}
	return "hello inside TLS", err
}

// afterBegin serves a connection with a greeting, the answer to BEGIN, and then TLS.
func afterBegin(cert tls.Certificate, greeting, answer string) func(net.Conn) {
	return func(c net.Conn) {
		io.WriteString(c, greeting)
		if _, err := bufio.NewReader(io.LimitReader(c, 7)).ReadString('\n'); err != nil { // nothing of TLS
			return
		}
		io.WriteString(c, answer)
		overTLS(cert, tls.VersionTLS13)(c)
	}
}

func TestOnlyASafeConnectionIsHandedOn(t *testing.T) {
	good, roots := certificate(t, "localhost", time.Now().Add(time.Hour))
	foreign, foreignRoots := certificate(t, "mail.example.org", time.Now().Add(time.Hour))
	old, oldRoots := certificate(t, "localhost", time.Now().Add(-time.Hour))
	const hello, yes = "hello\r\n", "yes\r\n"
	stall := func(c net.Conn) { io.Copy(io.Discard, c) }
	for _, c := range []struct {
		name     string
		serve    func(net.Conn)
		implicit bool
		roots    *x509.CertPool
		want     error // nil: the greeting arrives
	}{
		{"TLS", overTLS(good, tls.VersionTLS13), true, roots, nil},
		{"TLS 1.2", overTLS(good, tls.VersionTLS12), true, roots, nil},
		{"TLS 1.1", overTLS(good, tls.VersionTLS11), true, roots, remote.ErrCertificate},
		{"unknown authority", overTLS(good, tls.VersionTLS13), true, foreignRoots, remote.ErrCertificate},
		{"other host", overTLS(foreign, tls.VersionTLS13), true, foreignRoots, remote.ErrCertificate},
		{"expired", overTLS(old, tls.VersionTLS13), true, oldRoots, remote.ErrCertificate},
		{"no TLS", func(c net.Conn) { io.WriteString(c, hello); stall(c) }, true, roots, remote.ErrCertificate},
		{"closed in the handshake", func(c net.Conn) { io.ReadFull(c, make([]byte, 10)) }, true, roots, remote.ErrUnreachable},
		{"stalled handshake", stall, true, roots, remote.ErrTimeout},
		{"upgrade", afterBegin(good, hello, yes), false, roots, nil},
		{"upgrade refused", afterBegin(good, hello, "no\r\n"), false, roots, remote.ErrCertificate},
		{"upgrade with more than the answer", afterBegin(good, hello, yes+"hello\r\n"), false, roots, remote.ErrCertificate},
		{"upgrade with unknown authority", afterBegin(good, hello, yes), false, foreignRoots, remote.ErrCertificate},
		{"upgrade with an endless line", afterBegin(good, strings.Repeat("x", 9000), yes), false, roots, remote.ErrServer},
		{"upgrade of a connection that ends", func(net.Conn) {}, false, roots, remote.ErrUnreachable},
		{"upgrade stalled", stall, false, roots, remote.ErrTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := listen(t, c.serve)
			s.ImplicitTLS, s.RootCAs = c.implicit, c.roots
			if errors.Is(c.want, remote.ErrTimeout) {
				s.Timeout = 200 * time.Millisecond
			}
			d := New(s)
			begun := time.Now()
			greeting, err := Connect(t.Context(), d, begin, greet)
			if !errors.Is(err, c.want) || err == nil && !strings.HasPrefix(greeting, "hello") {
				t.Fatalf("got %q, %v, want %v", greeting, err, c.want)
			}
			if s.Timeout < time.Second && time.Since(begun) > time.Minute {
				t.Errorf("it took %v", time.Since(begun))
			}
			if n := d.Stats().Connections; n != 0 {
				t.Errorf("%d connections are up", n)
			}
		})
	}
}

func TestAServerThatIsNotThereIsUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for name, s := range map[string]Server{
		"refused":      {Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port},
		"unknown host": {Host: "no-such-host.invalid", Port: 993},
	} {
		t.Run(name, func(t *testing.T) {
			s.Protocol, s.ImplicitTLS, s.Timeout = "imap", true, 5*time.Second
			_, err := Connect(t.Context(), New(s), begin, greet)
			if !errors.Is(err, remote.ErrUnreachable) && (name == "refused" || !errors.Is(err, remote.ErrTimeout)) {
				t.Fatalf("error is %v", err)
			}
		})
	}
}

func TestConnectWaitsAfterAFailure(t *testing.T) {
	s := listen(t, func(c net.Conn) { io.WriteString(c, "* OK hello\r\n") })
	s.InTheClear = true
	d := New(s)
	refuse := func(context.Context, net.Conn) (string, error) { return "", fmt.Errorf("%w: no", remote.ErrLogin) }
	for range 3 {
		if _, err := Connect(t.Context(), d, begin, refuse); !errors.Is(err, remote.ErrLogin) {
			t.Fatalf("error is %v", err)
		}
	}
	if n := d.Stats().Dials; n != 1 {
		t.Fatalf("%d connections were tried", n)
	}
	d.Forget()
	if greeting, err := Connect(t.Context(), d, begin, greet); err != nil || greeting != "* OK hello\r\n" {
		t.Fatalf("%q, %v", greeting, err)
	}
}

func TestACancelledConnectSaysNothingAboutTheServer(t *testing.T) {
	s := listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	s.InTheClear, s.Timeout = true, time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	d := New(s)
	_, err := Connect(ctx, d, begin, func(ctx context.Context, c net.Conn) (string, error) {
		cancel()
		return greet(ctx, c)
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	// The next Connect need not wait.
	_, err = Connect(t.Context(), d, begin, func(context.Context, net.Conn) (string, error) { return "", remote.ErrServer })
	if !errors.Is(err, remote.ErrServer) {
		t.Fatalf("error is %v", err)
	}
}
