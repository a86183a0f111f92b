package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
)

// rsaCertificate makes a self-signed certificate with an RSA key, and returns it in PEM as well. change changes the template.
func rsaCertificate(t *testing.T, change func(*x509.Certificate)) (tls.Certificate, []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// speaking is a server with a configuration of TLS that sends nothing after the handshake.
func speaking(c *tls.Config) func(net.Conn) {
	return func(conn net.Conn) {
		if secure := tls.Server(conn, c); secure.Handshake() == nil {
			silent(secure)
		}
	}
}

func TestWhatServerAndMailfsDoNotShareInTLSIsSaid(t *testing.T) {
	cert, ca := rsaCertificate(t, func(c *x509.Certificate) { c.DNSNames = []string{"localhost"} })
	certs := []tls.Certificate{cert}
	const noCipher = "the server and mailfs have no cipher in common: the server may offer only the key exchange RSA or DHE"
	for _, c := range []struct {
		name   string
		config *tls.Config
		want   string
	}{
		{"only RSA key exchange", &tls.Config{Certificates: certs, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_CBC_SHA}}, noCipher},
		{"only 3DES", &tls.Config{Certificates: certs, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA}}, "the server and mailfs have no cipher in common"},
		{"only TLS 1.1", &tls.Config{Certificates: certs, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
			"the server does not speak TLS 1.2 or newer, which mailfs needs"},
		{"another refusal", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }},
			"the server refuses TLS: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, a := range []config.Account{
				{URL: "imaps://u@" + listen(t, speaking(c.config)), Roots: ca},
				{URL: "imap://u@" + listen(t, func(conn net.Conn) {
					upgrading(cert, []string{"* OK hi\r\n", "TAG OK go on\r\n"}, func(secure net.Conn) {
						speaking(c.config)(secure.(*tls.Conn).NetConn())
					})(conn)
				}), Roots: ca},
			} {
				if got, address := failingLine(t, a); !strings.HasPrefix(got, address+": "+c.want) {
					t.Errorf("the line is\n%s\nwant\n%s", got, c.want)
				}
			}
		})
	}
}

func TestACertificateForAnotherHostIsSaidWithoutContradiction(t *testing.T) {
	for _, c := range []struct {
		name, host string
		change     func(*x509.Certificate)
		want       string
	}{
		{"the host only in the subject", "localhost", func(c *x509.Certificate) { c.Subject.CommonName = "localhost" },
			`the certificate names no host: "localhost" stands only in its subject, which no longer counts; ask the server's administrator ` +
				"for one that names localhost"},
		{"something else in the subject", "localhost", func(c *x509.Certificate) { c.Subject.CommonName = "Mail" },
			`the certificate names no host: "Mail" stands only in its subject`},
		{"no name at all", "localhost", func(c *x509.Certificate) { c.Subject = pkix.Name{Organization: []string{"Example"}} },
			"the certificate names no host; ask the server's administrator for one that names localhost"},
		{"only an address of mail", "localhost", func(c *x509.Certificate) { c.EmailAddresses = []string{"me@localhost"} },
			"the certificate names no host; ask"},
		{"an address as a name", "127.0.0.1", func(c *x509.Certificate) { c.DNSNames = []string{"127.0.0.1"} },
			"the certificate has 127.0.0.1 as the name of a host, not as an address"},
		{"a name, not the address", "127.0.0.1", func(c *x509.Certificate) { c.DNSNames = []string{"localhost"} },
			"the certificate is for localhost, not for 127.0.0.1; check the host in the URL"},
		{"an address, not the name", "localhost", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} },
			"the certificate is for 127.0.0.1, not for localhost; check the host in the URL"},
		{"many names", "localhost", func(c *x509.Certificate) { c.DNSNames = strings.Fields("a.x b.x c.x d.x e.x f.x") },
			"the certificate is for a.x, b.x, c.x, d.x, e.x and others, not for localhost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert, ca := rsaCertificate(t, c.change)
			address := listen(t, speaking(&tls.Config{Certificates: []tls.Certificate{cert}}))
			address = c.host + strings.TrimPrefix(address, "localhost")
			if got, _ := failingLine(t, config.Account{URL: "imaps://u@" + address, Roots: ca}); !strings.HasPrefix(got, address+": "+c.want) {
				t.Errorf("the line is\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
