package dial

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"

	"github.com/mailfs/mailfs/remote"
)

// The mechanisms of SASL that go-sasl has no client for.
const (
	cramMD5 = "CRAM-MD5" // RFC 2195
	xoauth2 = "XOAUTH2"  // Google's and Microsoft's, older than OAUTHBEARER
)

// client makes the client of a mechanism.
func (s *Server) client(mechanism, secret string) (*proofClient, error) {
	switch mechanism {
	case sasl.Plain:
		if strings.Contains(secret, "\x00") {
			return nil, fmt.Errorf("%w: the password holds a NUL byte, which can't be sent", remote.ErrLogin)
		}
		return &proofClient{Client: sasl.NewPlainClient("", s.User, secret), proof: 0}, nil
	case sasl.Login:
		return &proofClient{Client: &loginClient{answers: []string{s.User, secret}}, proof: 2}, nil
	case scramSHA256, scramSHA1:
		scram, err := newSCRAM(mechanism, s.User, secret)
		if err != nil {
			return nil, err
		}
		return &proofClient{Client: scram, proof: 1}, nil
	case cramMD5:
		return &proofClient{Client: &cramClient{s.User, secret}, proof: 1}, nil
	default:
		return &proofClient{Client: &bearerClient{mechanism: mechanism, server: s, token: secret}, proof: 0}, nil
	}
}

// proofClient carries out a mechanism, and knows whether the server has been given something by which it can find the
// password wrong.
type proofClient struct {
	sasl.Client
	proof   int   // which answer holds the proof: 0 is the initial response
	answers int   // that were given, not counting the initial response
	err     error // why Client could not go on: the server's challenge is none of the mechanism
}

// proofGiven tells whether the server can have found the password wrong.
func (c *proofClient) proofGiven() bool { return c.answers >= c.proof }

func (c *proofClient) Next(challenge []byte) ([]byte, error) {
	answer, err := c.Client.Next(challenge)
	if err != nil {
		c.err = err
		return nil, err
	}
	c.answers++
	return answer, nil
}

// loginClient is the mechanism LOGIN, which was never standardised: the server asks for the name, then for the password,
// in words of its own.
type loginClient struct{ answers []string }

func (*loginClient) Start() (string, []byte, error) { return sasl.Login, nil, nil }

func (c *loginClient) Next([]byte) ([]byte, error) {
	if len(c.answers) == 0 {
		return nil, errTooMuch
	}
	answer := c.answers[0]
	c.answers = c.answers[1:]
	return []byte(answer), nil
}

var errTooMuch = errors.New("the server asks for more than the mechanism has to say")

// cramClient is CRAM-MD5 of RFC 2195: the client sends a digest of the challenge that needs the password.
type cramClient struct{ user, password string }

func (*cramClient) Start() (string, []byte, error) { return cramMD5, nil, nil }

func (c *cramClient) Next(challenge []byte) ([]byte, error) {
	digest := hmac.New(md5.New, []byte(c.password))
	digest.Write(challenge)
	return []byte(c.user + " " + hex.EncodeToString(digest.Sum(nil))), nil
}

// bearerClient is OAUTHBEARER of RFC 7628 or its ancestor XOAUTH2. A server that refuses the token says why in a
// challenge first.
type bearerClient struct {
	mechanism string
	server    *Server
	token     string
	refused   bool
}

func (c *bearerClient) Start() (string, []byte, error) { return c.mechanism, c.response(), nil }

func (c *bearerClient) response() []byte {
	if c.mechanism == xoauth2 {
		return fmt.Appendf(nil, "user=%s\x01auth=Bearer %s\x01\x01", c.server.User, c.token)
	}
	// The name is escaped (RFC 5801, section 4).
	user := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(c.server.User)
	return fmt.Appendf(nil, "n,a=%s,\x01host=%s\x01port=%d\x01auth=Bearer %s\x01\x01", user, c.server.Host, c.server.Port,
		c.token)
}

// Next acknowledges the server's reason for refusing the token (RFC 7628, section 3.2.3); the server then ends the exchange.
func (c *bearerClient) Next([]byte) ([]byte, error) {
	if c.refused {
		return nil, errTooMuch
	}
	c.refused = true
	return []byte{1}, nil
}
