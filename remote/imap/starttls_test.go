package imap

import (
	"strings"
	"testing"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/remotetest"
)

func TestSTARTTLSNeedsAnAnswerThatNobodyHasAddedTo(t *testing.T) {
	const hello, yes = "* OK hello\r\n", "S OK go on\r\n"
	for name, c := range map[string]struct {
		says []string
		want error
	}{
		"as it should be":  {[]string{hello, yes}, nil},
		"in any case":      {[]string{"* ok hello\r\n", "s ok go on\r\n"}, nil},
		"other lines":      {[]string{hello, "* CAPABILITY X\r\n" + yes}, nil},
		"refused":          {[]string{hello, "S NO not here\r\n"}, remote.ErrCertificate},
		"unknown":          {[]string{hello, "S BAD what\r\n"}, remote.ErrCertificate},
		"an answer added":  {[]string{hello, yes + "* OK hi\r\n"}, remote.ErrCertificate},
		"PREAUTH":          {[]string{"* PREAUTH hi\r\n"}, remote.ErrServer},
		"BYE":              {[]string{"* BYE busy\r\n"}, remote.ErrUnreachable},
		"an endless line":  {[]string{strings.Repeat("x", 9000)}, remote.ErrServer},
		"an endless reply": {[]string{hello, "* " + strings.Repeat("x", 9000)}, remote.ErrServer},
	} {
		t.Run(name, func(t *testing.T) { remotetest.Upgrade(t, startTLS, c.says, c.want, "* OK") })
	}
}
