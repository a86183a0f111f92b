package dial

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"

	"github.com/mailfs/mailfs/remote"
)

// The mechanisms of SASL that go-sasl has no client for.
const (
	cramMD5 = "CRAM-MD5" // RFC 2195
	xoauth2 = "XOAUTH2"  // Google's and Microsoft's, older than OAUTHBEARER
)

// SignIn is a way to sign in, ready to be carried out by a protocol.
type SignIn struct {
	// Mechanism is the name of a SASL mechanism, or of the protocol's own command.
	Mechanism string
	// Client carries out the SASL mechanism. It is nil for the protocol's own command, which takes User and Secret.
	Client sasl.Client
	User   string
	Secret string // the password or the token
}

// SignIn chooses how to sign in, among the SASL mechanisms that the server offers and the protocol's own command, own (empty
// where the server doesn't take it), and calls Password or Token. Over TLS the password itself is sent, since every server
// can check that, in whatever form it stores passwords; without TLS a mechanism that does not show the password comes first.
// The errors wrap one of [remote.Errors]: remote.ErrLogin, unless Password or Token return another.
func (s *Server) SignIn(ctx context.Context, offered []string, own string) (*SignIn, error) {
	ways, ask := []string{sasl.Plain, scramSHA256, scramSHA1, own, sasl.Login, cramMD5}, s.Password
	switch {
	case s.Token != nil:
		ways, ask, own = []string{sasl.OAuthBearer, xoauth2}, s.Token, ""
	case s.InTheClear:
		ways = []string{scramSHA256, scramSHA1, cramMD5, sasl.Plain, own, sasl.Login}
	}
	if ask == nil {
		return nil, fmt.Errorf("%w: there is no password", remote.ErrLogin)
	}
	i := slices.IndexFunc(ways, func(way string) bool {
		return way != "" && (way == own || slices.ContainsFunc(offered, func(m string) bool {
			return strings.EqualFold(m, way)
		}))
	})
	if i < 0 {
		what := "a password"
		if s.Token != nil {
			what = "a token"
		}
		offers := "nothing else"
		if len(offered) > 0 {
			offers = "only " + strings.Join(offered, ", ")
		}
		return nil, fmt.Errorf("%w: the server takes no sign-in with %s here, it offers %s", remote.ErrLogin, what, offers)
	}
	secret, err := ask(ctx)
	switch {
	case known(err): // also ErrTimeout, where a command for the password was too slow: the error says so
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", remote.ErrLogin, err)
	}
	in := &SignIn{Mechanism: ways[i], User: s.User, Secret: secret}
	switch in.Mechanism {
	case own:
	case sasl.Plain:
		if strings.Contains(secret, "\x00") {
			return nil, fmt.Errorf("%w: the password holds a NUL byte, which can't be sent", remote.ErrLogin)
		}
		in.Client = sasl.NewPlainClient("", s.User, secret)
	case sasl.Login:
		in.Client = &loginClient{answers: []string{s.User, secret}}
	case scramSHA256, scramSHA1:
		client, err := newSCRAM(in.Mechanism, s.User, secret)
		if err != nil {
			return nil, err
		}
		in.Client = client
	case cramMD5:
		in.Client = &cramClient{s.User, secret}
	default:
		in.Client = &bearerClient{mechanism: in.Mechanism, server: s, token: secret}
	}
	return in, nil
}

// Redact replaces the password and the token in a server's answer: some servers repeat the command that they refuse.
func (in *SignIn) Redact(said string) string {
	if in.Secret == "" {
		return said
	}
	encode := base64.StdEncoding.EncodeToString
	secrets := []string{encode([]byte("\x00" + in.User + "\x00" + in.Secret))}
	if bearer, ok := in.Client.(*bearerClient); ok {
		secrets = append(secrets, encode(bearer.response()))
	}
	for _, secret := range append(secrets, encode([]byte(in.Secret)), in.Secret) {
		said = strings.ReplaceAll(said, secret, "***")
	}
	return said
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
