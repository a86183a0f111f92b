package imap

import (
	"fmt"
	"strings"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// startTLS is STARTTLS of RFC 9051, section 6.2.1.
func startTLS(c *dial.ClearText) (greeting string, err error) {
	said, err := c.Line()
	if err != nil {
		return "", err
	}
	switch upper := strings.ToUpper(said); {
	case strings.HasPrefix(upper, "* BYE"):
		return "", fmt.Errorf("%w: the server greets with %q", remote.ErrUnreachable, remote.Shorten(said))
	case !strings.HasPrefix(upper, "* OK"):
		// A PREAUTH in the clear can be anybody's (RFC 9051, section 7.1.4).
		return "", fmt.Errorf("%w: the server greets with %q before TLS", remote.ErrServer, remote.Shorten(said))
	}
	if err := c.Send("S STARTTLS"); err != nil {
		return "", err
	}
	for said = "*"; strings.HasPrefix(said, "*"); {
		if said, err = c.Line(); err != nil {
			return "", err
		}
	}
	if !strings.HasPrefix(strings.ToUpper(said), "S OK") {
		return "", fmt.Errorf("%w: the server refuses STARTTLS: %q", remote.ErrCertificate, remote.Shorten(said))
	}
	return "* OK TLS begun", nil
}
