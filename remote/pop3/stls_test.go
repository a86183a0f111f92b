package pop3

import (
	"testing"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/remotetest"
)

func TestSTLSNeedsAnAnswerThatNobodyHasAddedTo(t *testing.T) {
	const hello, yes = "+OK hello\r\n", "+OK go on\r\n"
	for name, c := range map[string]struct {
		says []string
		want error
	}{
		"as it should be": {[]string{hello, yes}, nil},
		"refused":         {[]string{hello, "-ERR what?\r\n"}, remote.ErrCertificate},
		"an answer added": {[]string{hello, yes + "+OK hi\r\n"}, remote.ErrCertificate},
		"not welcome":     {[]string{"-ERR busy\r\n"}, remote.ErrServer},
	} {
		t.Run(name, func(t *testing.T) { remotetest.Upgrade(t, startTLS, c.says, c.want, "+OK") })
	}
}
