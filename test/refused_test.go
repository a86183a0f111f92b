package test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

const wrongPassword = "not-the-password-4711"

// serve answers connections of one port of this machine until the end of the test.
func serve(t *testing.T, answer func(net.Conn)) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answer(conn)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// withCertificate serves TLS with a certificate, and an IMAP greeting after the handshake.
func withCertificate(t *testing.T, notAfter time.Time, hosts ...string) (port int, ca string) {
	t.Helper()
	certs, err := harness.NewCertificates(run.TempDir(t), notAfter, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(certs.Cert, certs.Key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	return serve(t, func(conn net.Conn) {
		secure := tls.Server(conn, config)
		io.WriteString(secure, "* OK hello\r\n")
		io.Copy(io.Discard, secure)
	}), certs.CA
}

// says serves a script: the greeting, then one of the answers for each line of the client.
func says(t *testing.T, greeting string, answers ...string) (port int) {
	return serve(t, func(conn net.Conn) {
		io.WriteString(conn, greeting)
		lines := bufio.NewScanner(conn)
		for _, a := range answers {
			if !lines.Scan() {
				return
			}
			tag, _, _ := strings.Cut(lines.Text(), " ")
			io.WriteString(conn, strings.ReplaceAll(a, "TAG", tag))
		}
		io.Copy(io.Discard, conn)
	})
}

// endsAtMailboxes serves IMAP until the client asks for the mailboxes. It answers with last and ends the connection.
func endsAtMailboxes(t *testing.T, last string) (port int) {
	return serve(t, func(conn net.Conn) {
		io.WriteString(conn, "* OK [CAPABILITY IMAP4rev1] hi\r\n")
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			tag, command, _ := strings.Cut(lines.Text(), " ")
			switch {
			case strings.HasPrefix(command, "LIST"):
				io.WriteString(conn, last)
				return
			case strings.HasPrefix(command, "CAPABILITY"):
				io.WriteString(conn, "* CAPABILITY IMAP4rev1\r\n")
			}
			io.WriteString(conn, tag+" OK done\r\n")
		}
	})
}

func TestMountRefusesInOneLineThatSaysWhy(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().(*net.TCPAddr).Port
	closed.Close()
	expired, expiredCA := withCertificate(t, time.Now().Add(-24*time.Hour), "localhost")
	other, otherCA := withCertificate(t, harness.NextYear(), "mail.example.com")
	silent := serve(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	dir := run.TempDir(t)
	empty, notTOML := filepath.Join(dir, "empty.pem"), filepath.Join(dir, "config.toml")
	odd := filepath.Join(dir, "odd.toml")
	for name, content := range map[string]string{
		empty: "", notTOML: "[account.x\nurl=", odd: "[account.x]\nurl = \"imaps://u@localhost\"\npasswort = \"x\"\n",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u := dovecot
	const signIn = `login|password|sign`
	at := func(scheme string, port int) string { return fmt.Sprintf("%s://refused@localhost:%d", scheme, port) }
	for _, try := range []struct {
		name string
		args []string
		says string // a pattern that the line on standard error must match
	}{
		{"wrong password, imaps", append(trust(), imaps("refused")), signIn},
		{"wrong password, STARTTLS", append(trust(), inTheClear("refused", u.IMAP)), signIn},
		{"wrong password, clear", []string{"--tls=off", inTheClear("refused", u.IMAP)}, signIn},
		{"wrong password, pop3s", append(trust(), at("pop3s", u.POP3S)), signIn},
		{"wrong password, clear POP3", []string{"--tls=off", at("pop3", u.POP3)}, signIn},
		{"unknown authority", []string{imaps("refused")}, `--ca-file`},
		{"unknown authority, STARTTLS", []string{inTheClear("refused", u.IMAP)}, `--ca-file`},
		{"unknown authority, pop3s", []string{at("pop3s", u.POP3S)}, `--ca-file`},
		{"unknown authority, STLS", []string{at("pop3", u.POP3)}, `--ca-file`},
		{"expired certificate", []string{"--ca-file", expiredCA, at("imaps", expired)}, `expired`},
		{"another host's certificate", []string{"--ca-file", otherCA, at("imaps", other)}, `mail\.example\.com`},
		{"no STARTTLS", []string{at("imap", says(t, "* OK hi\r\n", "TAG BAD what?\r\n"))}, `STARTTLS`},
		{"no STLS", []string{at("pop3", says(t, "+OK hi\r\n", "-ERR what?\r\n"))}, `STLS`},
		{"something injected before TLS", append(trust(), at("imap",
			says(t, "* OK hi\r\n", "TAG OK begin\r\nX OK and more\r\n"))), `TLS`},
		{"signed in before TLS", []string{at("imap", says(t, "* PREAUTH hi\r\n"))}, `TLS`},
		{"no login in the clear", []string{"--tls=off", at("imap",
			says(t, "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n"))}, `login|LOGIN|sign`},
		{"TLS on a port without", append(trust(), at("imaps", u.IMAP)), `TLS`},
		{"no TLS on a port with", append(trust(), "--timeout", "2s", at("imap", u.IMAPS)), `TLS|answer`},
		{"a server that says nothing", []string{"--timeout", "1s", "--tls=off", at("imap", silent)}, `answer|time`},
		{"a server that speaks of something else", []string{"--tls=off", at("imap",
			says(t, "220 mail ESMTP\r\n", "500 what?\r\n"))}, `.`},
		{"too many connections", []string{"--tls=off", at("imap", says(t, "* BYE too many\r\n"))}, `too many`},
		{"an end instead of the mailboxes", []string{"--tls=off", at("imap", endsAtMailboxes(t, ""))}, `asked for the mailboxes; try`},
		{"a BYE instead of the mailboxes", []string{"--tls=off", at("imap", endsAtMailboxes(t, "* BYE disk on fire\r\n"))},
			`asked for the mailboxes: .*disk on fire`},
		{"nobody listens", []string{at("imaps", nobody)}, `refuse`},
		{"unknown host", []string{"--timeout", "5s", "imaps://u@no-such-host.invalid"}, `no-such-host\.invalid`},
		{"no scheme", []string{"mail.example.com"}, `imaps://`},
		{"unknown scheme", []string{"https://u@mail.example.com"}, `imaps://`},
		{"smtp", []string{"smtps://u@mail.example.com"}, `(?i)smtp`},
		{"no host", []string{"imaps://u@"}, `host`},
		{"bad port", []string{"imaps://u@localhost:99999"}, `port|URL`},
		{"bad percent", []string{"imaps://u%zz@localhost"}, `URL`},
		{"a path", []string{"imaps://u@localhost/INBOX"}, `URL`},
		{"password in the URL", []string{"imaps://u:" + wrongPassword + "@localhost"}, `MAILFS_PASSWORD`},
		{"password with an odd character in the URL", []string{"imaps://u:" + wrongPassword + "%@localhost"}, `.`},
		{"missing CA file", []string{"--ca-file", filepath.Join(dir, "nothing.pem"), imaps("refused")}, `nothing\.pem`},
		{"CA file without a certificate", []string{"--ca-file", empty, imaps("refused")}, `empty\.pem`},
		{"missing configuration", []string{"--config", filepath.Join(dir, "nothing.toml")}, `nothing\.toml`},
		{"broken configuration", []string{"--config", notTOML}, `config\.toml`},
		{"unknown key", []string{"--config", odd}, `passwort`},
		{"unknown option", []string{"-o", "nonsense=1", imaps("refused")}, `nonsense`},
		{"asked to write", []string{"-o", "rw", imaps("refused")}, `read`},
		{"unknown flag", []string{"--nonsense", imaps("refused")}, `nonsense`},
		{"nonsense of a size", []string{"--memory", "lots", imaps("refused")}, `memory|lots`},
		{"nonsense of a time", []string{"--refresh", "-3s", imaps("refused")}, `refresh|-3s`},
		{"nonsense of a mode", []string{"--file-mode", "0999", imaps("refused")}, `mode|0999`},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			point := run.TempDir(t)
			args := append([]string{"mount"}, try.args...)
			res := run.Run(t, harness.Command{Args: append(args, point), Env: []string{"MAILFS_PASSWORD=" + wrongPassword}})
			checkRefusal(t, res, try.says)
			if harness.Mounted(point) != 0 {
				t.Error("something is mounted")
			}
		})
	}
}

func checkRefusal(t *testing.T, res harness.Result, says string) {
	t.Helper()
	if res.Code == 0 {
		t.Error("exit status 0")
	}
	if strings.Count(res.Stderr, "\n") != 1 || !strings.HasSuffix(res.Stderr, "\n") {
		t.Errorf("not one line on standard error: %q", res.Stderr)
	}
	if !strings.HasPrefix(res.Stderr, "mailfs: ") || !regexp.MustCompile(says).MatchString(res.Stderr) {
		t.Errorf("it says %q, nothing of %s", res.Stderr, says)
	}
	for _, bad := range []string{wrongPassword, harness.Password, "goroutine", "panic", "0x", "%!"} {
		if strings.Contains(res.Stdout+res.Stderr, bad) {
			t.Errorf("%q in %q", bad, res.Stdout+res.Stderr)
		}
	}
}

func TestMountPointThatIsNoDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := run.TempDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, point := range []string{filepath.Join(dir, "nothing"), file} {
		res := run.Run(t, harness.Command{Args: append(append([]string{"mount"}, trust()...), imaps("nopoint"), point),
			Env: []string{"MAILFS_PASSWORD=" + harness.Password}})
		checkRefusal(t, res, regexp.QuoteMeta(point))
	}
}

// Without a password and without a terminal, mailfs can't ask for one.
func TestMountWithoutPasswordAndTerminalIsRefused(t *testing.T) {
	t.Parallel()
	args := append(append([]string{"mount"}, trust()...), imaps("nopassword"), run.TempDir(t))
	res := run.Run(t, harness.Command{Args: args})
	checkRefusal(t, res, `MAILFS_PASSWORD`)
}
