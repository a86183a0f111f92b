package test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// mailfs check names each step and its outcome, with a Dovecot in order and with Dovecots that fail in one way each.
func TestCheckTellsEachStepAndWhichOneFailed(t *testing.T) {
	t.Parallel()
	d := dovecot
	c := d.Dial(t, "checked")
	c.Make("Archive")
	c.Put("INBOX", harness.Letters(60, 3)...)
	old := run.Dovecot(t, harness.DovecotOptions{NotAfter: time.Now().Add(-24 * time.Hour)})
	soon := run.Dovecot(t, harness.DovecotOptions{NotAfter: time.Now().Add(3 * 24 * time.Hour)})
	other := run.Dovecot(t, harness.DovecotOptions{Hosts: []string{"mail.example.com"}})
	cram := run.Dovecot(t, harness.DovecotOptions{Mechanisms: []string{"cram-md5"}})
	scram256 := run.Dovecot(t, harness.DovecotOptions{Mechanisms: []string{"scram-sha-256"}})
	scram1 := run.Dovecot(t, harness.DovecotOptions{Mechanisms: []string{"scram-sha-1", "plain"}})
	pop3 := func(port int) string { return fmt.Sprintf("pop3://checked@localhost:%d", port) }
	for _, try := range []struct {
		name     string
		args     []string
		password string
		code     int
		says     string // a pattern, in which . also stands for line ends
	}{
		{"imaps", append(trust(), imaps("checked")), harness.Password, 0,
			`tls +ok.*TLS 1\.3, certificate for localhost, 127\.0\.0\.1 by mailfs test authority.*login +ok.*PLAIN; mailfs uses CONDSTORE, ESEARCH.*2 mailboxes, 3 messages in INBOX`},
		{"imap, STARTTLS", append(trust(), fmt.Sprintf("imap://checked@localhost:%d", d.IMAP)), harness.Password, 0,
			`greeting +ok.*starttls +ok.*tls +ok.*login +ok.*3 messages`},
		{"imap in the clear", []string{"--tls=off", inTheClear("checked", d.IMAP)}, harness.Password, 0, `login +ok.*3 messages`},
		{"pop3s", append(trust(), strings.Replace(pop3(d.POP3S), "pop3:", "pop3s:", 1)), harness.Password, 0, `tls +ok.*login +ok.*3 messages`},
		{"pop3, STLS", append(trust(), pop3(d.POP3)), harness.Password, 0, `starttls +ok.*tls +ok.*login +ok.*3 messages`},
		{"CRAM-MD5", append([]string{"--ca-file", cram.CA}, fmt.Sprintf("imaps://x@localhost:%d", cram.IMAPS)), harness.Password, 0,
			`sign-in with CRAM-MD5.*login +ok.*1 mailbox`},
		{"CRAM-MD5 in the clear", []string{"--tls=off", inTheClear("x", cram.IMAP)}, harness.Password, 0, `login +ok.*with CRAM-MD5.*1 mailbox`},
		{"CRAM-MD5, POP3", []string{"--tls=off", pop3(cram.POP3)}, harness.Password, 0, `login +ok.*with CRAM-MD5.*0 messages`},
		{"wrong password, CRAM-MD5", []string{"--tls=off", pop3(cram.POP3)}, wrongPassword, 1, `login +FAILED.*login refused for "checked"`},
		{"SCRAM-SHA-256", append([]string{"--ca-file", scram256.CA}, fmt.Sprintf("imaps://x@localhost:%d", scram256.IMAPS)), harness.Password, 0,
			`sign-in with SCRAM-SHA-256.*login +ok.*with SCRAM-SHA-256.*1 mailbox`},
		{"SCRAM-SHA-256, POP3", []string{"--ca-file", scram256.CA, pop3(scram256.POP3)}, harness.Password, 0, `login +ok.*with SCRAM-SHA-256.*0 messages`},
		{"SCRAM-SHA-1 in the clear", []string{"--tls=off", inTheClear("x", scram1.IMAP)}, harness.Password, 0, `login +ok.*with SCRAM-SHA-1.*1 mailbox`},
		{"wrong password, SCRAM-SHA-256", []string{"--ca-file", scram256.CA, pop3(scram256.POP3)}, wrongPassword, 1,
			`login +FAILED.*login refused for "checked"`},
		{"wrong password, SCRAM-SHA-1", []string{"--tls=off", inTheClear("x", scram1.IMAP)}, wrongPassword, 1, `login +FAILED.*login refused for "x"`},
		{"nobody signs in", append(trust(), fmt.Sprintf("imaps://localhost:%d", d.IMAPS)), harness.Password, 0, `login +- .*not tried`},
		{"a certificate that ends soon", []string{"--ca-file", soon.CA, fmt.Sprintf("imaps://x@localhost:%d", soon.IMAPS)}, harness.Password, 0,
			`tls +ok.*!.*expires on .*in 2 days.*1 mailbox`},
		{"wrong password", append(trust(), imaps("checked")), wrongPassword, 1, `login +FAILED.*login refused for "checked"`},
		{"wrong password, POP3", append(trust(), pop3(d.POP3)), wrongPassword, 1, `login +FAILED.*login refused for "checked"`},
		{"expired certificate", []string{"--ca-file", old.CA, fmt.Sprintf("imaps://x@localhost:%d", old.IMAPS)}, harness.Password, 1,
			`connect +ok.*tls +FAILED.*expired on`},
		{"wrong host", []string{"--ca-file", other.CA, pop3(other.POP3)}, harness.Password, 1, `starttls +ok.*tls +FAILED.*is for mail\.example\.com`},
		{"unknown authority", []string{imaps("checked")}, harness.Password, 1, `connect +ok.*tls +FAILED.*--ca-file`},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			res := run.Run(t, harness.Command{Args: append([]string{"check"}, try.args...), Env: []string{"MAILFS_PASSWORD=" + try.password}})
			if res.Code != try.code || res.Stderr != "" {
				t.Errorf("exit status %d, want %d\n%s", res.Code, try.code, res.Stderr)
			}
			if !regexp.MustCompile(`(?s)` + try.says).MatchString(res.Stdout) {
				t.Errorf("it says\n%swant %s", res.Stdout, try.says)
			}
			if failed := strings.Count(res.Stdout, "FAILED"); failed != try.code {
				t.Errorf("%d steps failed:\n%s", failed, res.Stdout)
			}
			holdsNoSecret(t, res, harness.Password, wrongPassword)
		})
	}
}

// go-imap's server knows little beyond IMAP4rev1.
func TestCheckNeedsNoMoreThanIMAP4rev1(t *testing.T) {
	t.Parallel()
	const secret = "of the memory"
	m := run.Memory(t, "me", secret)
	for _, try := range []struct {
		args     []string
		password string
		code     int
		says     string
	}{
		{[]string{"--ca-file", m.CA, fmt.Sprintf("imaps://me@localhost:%d", m.IMAPS)}, secret, 0, `tls +ok.*greeting +ok.*login +ok.*0 messages`},
		{[]string{"--ca-file", m.CA, fmt.Sprintf("imap://me@localhost:%d", m.IMAP)}, secret, 0, `greeting +ok.*starttls +ok.*tls +ok.*login +ok`},
		{[]string{"--tls=off", inTheClear("me", m.IMAP)}, secret, 0, `login +ok.*1 mailbox, 0 messages in INBOX`},
		{[]string{"--tls=off", inTheClear("me", m.IMAP)}, wrongPassword, 1, `capabilities +ok.*login +FAILED.*login refused for "me"`},
		{[]string{fmt.Sprintf("imap://me@localhost:%d", m.IMAP)}, secret, 1, `starttls +ok.*tls +FAILED.*--ca-file`},
	} {
		res := run.Run(t, harness.Command{Args: append([]string{"check"}, try.args...), Env: []string{"MAILFS_PASSWORD=" + try.password}})
		if res.Code != try.code || res.Stderr != "" || !regexp.MustCompile(`(?s)`+try.says).MatchString(res.Stdout) {
			t.Errorf("check %v: exit status %d, want %d and %s\n%s%s", try.args, res.Code, try.code, try.says, res.Stdout, res.Stderr)
		}
		holdsNoSecret(t, res, secret, wrongPassword)
	}
}

// A name server that does not answer is reported within --timeout.
func TestCheckReportsASilentNameServer(t *testing.T) {
	t.Parallel()
	needRoot(t)
	socket, err := net.ListenPacket("udp", "127.0.53.1:53") // an address that only this test uses
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	file := filepath.Join(run.TempDir(t), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 127.0.53.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	cmd := exec.Command("unshare", "--mount", "sh", "-c",
		letGo+`; mount --bind "$1" "$(readlink -f /etc/resolv.conf)" && exec "$2" check --timeout 1s imaps://mail.example.com`,
		"sh", file, run.Binary)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = harness.Finish(t, harness.Patience, cmd)
	if took := time.Since(began); took > inTime {
		t.Errorf("it took %s", took)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 ||
		!regexp.MustCompile(`resolve +FAILED.*no answer from the name server within 1s`).Match(out.Bytes()) {
		t.Errorf("%v\n%s", err, &out)
	}
}

// A server that stops to answer, at whichever step, is reported within --timeout.
func TestCheckReportsAServerThatFreezes(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"AUTHENTICATE", "LIST", "STATUS"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			p := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
			p.FreezeWhen(when)
			began := time.Now()
			res := run.Run(t, harness.Command{Args: []string{"check", "--tls=off", "--timeout=5s", inTheClear("frozen", p.Port)},
				Env: []string{"MAILFS_PASSWORD=" + harness.Password}})
			step := "mailboxes"
			if when == "AUTHENTICATE" {
				step = "login"
			}
			if res.Code != 1 || !regexp.MustCompile(step+` +FAILED.*within 5s`).MatchString(res.Stdout) {
				t.Errorf("exit status %d\n%s%s", res.Code, res.Stdout, res.Stderr)
			}
			if took := time.Since(began); took > inTime {
				t.Errorf("it took %s", took)
			}
		})
	}
}
