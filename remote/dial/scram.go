package dial

import (
	"fmt"
	"regexp"
	"strconv"

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

// scramMost is how often a server may have the password hashed, which takes about a second then.
const scramMost = 2_000_000

// scramClient carries out SCRAM: both sides prove that they know the password, and nobody says it.
type scramClient struct {
	mechanism string
	*scram.ClientConversation
}

func newSCRAM(mechanism, user, password string) (*scramClient, error) {
	hash := scramHashes[mechanism]
	client, err := hash.NewClient(user, password, "")
	if err != nil { // it holds what RFC 4013 forbids; the server knows it as it is, if at all
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
	return []byte(answer), err
}

// Proven returns an error if the mechanism has the server prove itself too and it has not, although it took ours.
func (in *SignIn) Proven() error {
	if c, ok := in.Client.(*scramClient); ok && !c.Valid() {
		return fmt.Errorf("%w: the server has not shown that it knows the password", remote.ErrLogin)
	}
	return nil
}
