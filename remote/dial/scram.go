package dial

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/mailfs/mailfs/remote"
)

// The mechanisms of RFC 5802 and RFC 7677, without channel binding.
const (
	scramSHA1   = "SCRAM-SHA-1"
	scramSHA256 = "SCRAM-SHA-256"
)

// scramHashes are the hash functions of the mechanisms.
var scramHashes = map[string]scram.HashGeneratorFcn{scramSHA1: scram.SHA1, scramSHA256: scram.SHA256}

// scramMost is how many rounds of hashing a server may demand, which take about a second.
const scramMost = 2_000_000

// scramClient is SCRAM: client and server prove to each other that they know the password, which is not sent.
type scramClient struct {
	mechanism string
	*scram.ClientConversation
}

func newSCRAM(mechanism, user, password string) (*scramClient, error) {
	hash := scramHashes[mechanism]
	client, err := hash.NewClient(user, password, "")
	if err != nil { // name or password hold what RFC 4013 forbids; the server then knows them unprepared, if at all
		client, err = hash.NewClientUnprepped(user, password, "")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", remote.ErrLogin, err)
	}
	return &scramClient{mechanism, client.NewConversation()}, nil
}

func (c *scramClient) Start() (string, []byte, error) {
	first, err := c.Step("")
	return c.mechanism, []byte(first), err
}

var scramCount = regexp.MustCompile(`(?:^|,)i=([0-9]+)`)

func (c *scramClient) Next(challenge []byte) ([]byte, error) {
	if count := scramCount.FindSubmatch(challenge); count != nil {
		if n, err := strconv.Atoi(string(count[1])); err != nil || n > scramMost {
			return nil, fmt.Errorf("the server wants the password hashed %.20s times, which is too often", count[1])
		}
	}
	answer, err := c.Step(string(challenge))
	reason, refused := strings.CutPrefix(string(challenge), "e=")
	switch {
	case err == nil:
		return []byte(answer), nil
	case refused && !slices.Contains(scramUnable, reason):
		return nil, fmt.Errorf("%w: the server says %q", remote.ErrLogin, remote.Shorten(reason))
	case strings.HasPrefix(string(challenge), "v="):
		return nil, errUnproven
	}
	return nil, err
}

// scramUnable are the errors of a server that are not about user and password (RFC 5802, section 7).
var scramUnable = []string{"invalid-encoding", "extensions-not-supported", "channel-bindings-dont-match",
	"server-does-support-channel-binding", "channel-binding-not-supported", "unsupported-channel-binding-type"}

var errUnproven = fmt.Errorf("%w: the server has not shown that it knows the password", remote.ErrLogin)

// Proven returns ErrLogin where the mechanism demands a proof of the server too, and the server has given none although it
// accepted the client.
func (in *SignIn) Proven() error {
	if p := in.proof(); p != nil {
		if c, ok := p.Client.(*scramClient); ok && !c.Valid() {
			return errUnproven
		}
	}
	return nil
}
