package pop3

import (
	"fmt"
	"strings"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// startTLS is STLS of RFC 2595, section 4.
func startTLS(c *dial.ClearText) (greeting string, err error) {
	said, err := c.Line()
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(said, "+OK") {
		return "", fmt.Errorf("%w: the server greets with %q", remote.ErrServer, remote.Shorten(said))
	}
	if err := c.Send("STLS"); err != nil {
		return "", err
	}
	if said, err = c.Line(); err != nil {
		return "", err
	}
	if !strings.HasPrefix(said, "+OK") {
		return "", fmt.Errorf("%w: the server refuses STLS: %q", remote.ErrCertificate, remote.Shorten(said))
	}
	return "+OK TLS begun", nil
}
