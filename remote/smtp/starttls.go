package smtp

import (
	"fmt"
	"strings"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// clientName is how mailfs calls itself in EHLO. A server need not know which machine it runs on.
const clientName = "localhost"

// startTLS is STARTTLS of RFC 3207.
func startTLS(c *dial.ClearText) (greeting string, err error) {
	reply := func() (string, error) { // the last line of a reply, which may have several (RFC 5321, section 4.2.1)
		for {
			line, err := c.Line()
			if err != nil || len(line) < 4 || line[3] != '-' {
				return line, err
			}
		}
	}
	said, err := reply()
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(said, "220") {
		return "", fmt.Errorf("%w: the server greets with %q", remote.ErrUnreachable, remote.Shorten(said))
	}
	for _, command := range []string{"EHLO " + clientName, "STARTTLS"} { // a server takes STARTTLS only after EHLO
		if err := c.Send(command); err != nil {
			return "", err
		}
		if said, err = reply(); err != nil {
			return "", err
		}
	}
	if !strings.HasPrefix(said, "220") {
		return "", fmt.Errorf("%w: the server refuses STARTTLS: %q", remote.ErrCertificate, remote.Shorten(said))
	}
	return "220 TLS begun", nil
}
