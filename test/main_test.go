// Package test tries mailfs as its users do: the built program, its command line, real mounts, real servers.
package test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// run and dovecot serve all tests of the package, since both take a while to make. Every test has a user of its own
// there, named after it.
var (
	run     *harness.Run
	dovecot *harness.Dovecot
)

// inTime is how long something may take that --timeout bounds at some seconds. A busy machine does not break it, and a wait
// does that goes by the default of --timeout, 30 seconds.
const inTime = 25 * time.Second

const oddPassword = `"\ %s{3} ü`

// bytesFrom is a password of every byte from first on that can be sent: no NUL, CR or LF.
func bytesFrom(first int) string {
	var b strings.Builder
	for c := first; c < 256; c++ {
		if c != '\r' && c != '\n' {
			b.WriteByte(byte(c))
		}
	}
	return b.String()
}

func TestMain(m *testing.M) {
	if os.Getenv(leaveEnv) != "" {
		os.Exit(leave())
	}
	os.Exit(tests(m))
}

func tests(m *testing.M) (code int) {
	var err error
	if run, err = harness.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := run.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	dovecot, err = run.StartDovecot(harness.DovecotOptions{
		Passwords: map[string]string{"bytes": bytesFrom(' '), "quotes": oddPassword},
		Namespace: "separator = /\n  mailbox Sent {\n    special_use = \\Sent\n  }",
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer dovecot.Stop()
	return m.Run()
}

// imaps is the URL of a user's account on the shared Dovecot, to be mounted with trust.
func imaps(user string) string {
	return fmt.Sprintf("imaps://%s@localhost:%d", user, dovecot.IMAPS)
}

// inTheClear is the URL of a user's account at some port of this machine.
func inTheClear(user string, port int) string {
	return fmt.Sprintf("imap://%s@127.0.0.1:%d", user, port)
}

// trust makes the program accept the shared Dovecot's certificate.
func trust() []string { return []string{"--ca-file", dovecot.CA} }
