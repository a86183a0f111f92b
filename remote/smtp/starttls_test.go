package smtp

import (
	"testing"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/remotetest"
)

func TestSTARTTLSNeedsAnAnswerThatNobodyHasAddedTo(t *testing.T) {
	const hello, able, yes = "220-well\r\n220 hello\r\n", "250-mail\r\n250 STARTTLS\r\n", "220 go on\r\n"
	for name, c := range map[string]struct {
		says []string
		want error
	}{
		"as it should be": {[]string{hello, able, yes}, nil},
		"refused":         {[]string{hello, able, "502 what?\r\n"}, remote.ErrCertificate},
		"an answer added": {[]string{hello, able, yes + "250 hi\r\n"}, remote.ErrCertificate},
		"not welcome":     {[]string{"554 go away\r\n"}, remote.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) { remotetest.Upgrade(t, startTLS, c.says, c.want, "220") })
	}
}
