// Package test tries mailfs as users do: the built program, its command line, real mounts, real servers.
package test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// run and dovecot serve all tests of the package, since both take seconds to start. Every test has a user of its own on
// that Dovecot.
var (
	run     *harness.Run
	dovecot *harness.Dovecot
)

// inTime bounds the time of a call whose --timeout is a few seconds. No busy machine breaks the bound, but a wait does that
// takes the default of --timeout, 30 seconds, in place of the one given.
const inTime = 25 * time.Second

const oddPassword = `"\ %s{3} ü`

// bytesFrom returns a password of all bytes from first on, without CR and LF, which no protocol can send.
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

// imaps returns the URL of a user's account on the shared Dovecot, to be mounted with trust.
func imaps(user string) string {
	return fmt.Sprintf("imaps://%s@localhost:%d", user, dovecot.IMAPS)
}

// inTheClear returns the URL of a user's account at a port of this machine, for IMAP without TLS at first.
func inTheClear(user string, port int) string {
	return fmt.Sprintf("imap://%s@127.0.0.1:%d", user, port)
}

// trust returns the arguments with which mailfs accepts the shared Dovecot's certificate.
func trust() []string { return []string{"--ca-file", dovecot.CA} }
