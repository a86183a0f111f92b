package main

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/mailfs/mailfs/remote"
)

const secret = "correct horse+battery"

// script answers as written: the first line is the greeting, each of the others is the answer to a line. TAG stands for
// the first word of that line. What comes after the last one is never answered.
func script(answers ...string) func(net.Conn) {
	return func(conn net.Conn) {
		io.WriteString(conn, answers[0])
		lines := bufio.NewScanner(conn)
		for _, a := range answers[1:] {
			if !lines.Scan() {
				return
			}
			tag, _, _ := strings.Cut(lines.Text(), " ")
			io.WriteString(conn, strings.ReplaceAll(a, "TAG", tag))
		}
		io.Copy(io.Discard, conn)
	}
}

// secured serves over TLS.
func secured(c tls.Certificate, serve func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) { serve(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c}})) }
}

// upgrading serves in the clear until STARTTLS or STLS is answered, then over TLS.
func upgrading(c tls.Certificate, clear []string, serve func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		io.WriteString(conn, clear[0])
		lines := bufio.NewReader(conn)
		for _, a := range clear[1:] {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			tag, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			io.WriteString(conn, strings.ReplaceAll(a, "TAG", tag))
		}
		serve(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c}}))
	}
}

// memoryServer is go-imap's server with three messages in INBOX, one more mailbox, and the user me.
func memoryServer(t *testing.T) (url string) {
	t.Helper()
	user := imapmemserver.NewUser("me", secret)
	for _, box := range []string{"INBOX", "Archive"} {
		if err := user.Create(box, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := user.Append("INBOX", strings.NewReader("Subject: x\r\n\r\n"), &imap.AppendOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	memory := imapmemserver.New()
	memory.AddUser(user)
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return memory.NewSession(), nil, nil
		},
		InsecureAuth: true,
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return "imap://me@" + l.Addr().String()
}

// pemFile writes certificates where --ca-file finds them.
func pemFile(t *testing.T, pem []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runCheck runs check with the password in the environment. It makes sure that the password shows nowhere.
func runCheck(t *testing.T, args ...string) (stdout string, status int) {
	t.Helper()
	cmd := command(t, append([]string{"check"}, args...)...)
	cmd.Env = append(cmd.Env, passwordVariable+"="+secret)
	stdout, stderr, status := runCommand(t, cmd)
	for _, s := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte("\x00me\x00" + secret))} {
		if strings.Contains(stdout+stderr, s) {
			t.Errorf("the password shows:\n%s%s", stdout, stderr)
		}
	}
	if stderr != "" {
		t.Errorf("it complains: %s", stderr)
	}
	if strings.Contains(stdout, "\x1b") {
		t.Errorf("it paints what is no terminal: %q", stdout)
	}
	return stdout, status
}

func TestCheck(t *testing.T) {
	t.Parallel()
	now, day := time.Now(), 24*time.Hour
	good, goodCA := makeCertificate(t, "localhost", now.Add(-day), now.Add(300*day))
	soon, soonCA := makeCertificate(t, "localhost", now.Add(-day), now.Add(5*day+time.Hour))
	old, oldCA := makeCertificate(t, "localhost", now.Add(-9*day), now.Add(-day))
	other, otherCA := makeCertificate(t, "mail.example.com", now.Add(-day), now.Add(300*day))
	ca := pemFile(t, goodCA)
	pop3 := script("+OK hi\r\n", "+OK\r\nUSER\r\nUIDL\r\nTOP\r\n.\r\n", "+OK\r\n", "+OK\r\n", "+OK 2 20\r\n", "+OK\r\n1 a\r\n2 b\r\n.\r\n",
		"+OK\r\n1 10\r\n2 10\r\n.\r\n", "+OK\r\n", "+OK\r\n")
	smtp := script("220 hi\r\n", "250-mail\r\n250-SIZE 26214400\r\n250 AUTH PLAIN LOGIN\r\n", "235 welcome\r\n", "221 bye\r\n")
	imapBefore := []string{"* OK hi\r\n", "TAG OK go on\r\n"}
	imap := script("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] in TLS\r\n", "TAG OK [CAPABILITY IMAP4rev1] in\r\n",
		"* LIST () \"/\" INBOX\r\nTAG OK\r\n", "* STATUS INBOX (MESSAGES 7)\r\nTAG OK\r\n", "TAG OK bye\r\n")
	unanswered := func(failed string) []string { return []string{"\n  " + failed, "FAILED", "within 300ms"} }
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   []string // in this order
	}{
		{"memory server", []string{"--tls=off", memoryServer(t)}, 0,
			[]string{"connect", "greeting", "capabilities", "sign-in with PLAIN", "login", "ok", "with PLAIN", "2 mailboxes, 3 messages"}},
		{"memory server, nobody signs in", []string{"--tls=off", strings.Replace(memoryServer(t), "me@", "", 1)}, 0,
			[]string{"capabilities", "ok", "login", "not tried: the URL names no user"}},
		{"imaps", []string{"--ca-file", ca, "imaps://me@" + listen(t, secured(good, imap))}, 0,
			[]string{"resolve", "127.0.0.1", "connect", "tls", "TLS 1.3, certificate for localhost by localhost, until ", "greeting",
				"in TLS", "1 mailbox, 7 messages in INBOX"}},
		{"imap, STARTTLS", []string{"--ca-file", ca, "imap://me@" + listen(t, upgrading(good, imapBefore,
			script("", "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\nTAG OK\r\n", "TAG OK [CAPABILITY IMAP4rev1] in\r\n",
				"* LIST () \"/\" INBOX\r\nTAG OK\r\n", "* STATUS INBOX (MESSAGES 7)\r\nTAG OK\r\n", "TAG OK bye\r\n")))}, 0,
			[]string{"greeting", "* OK hi", "starttls", "ok", "tls", "TLS 1.3", "capabilities", "login", "ok", "7 messages"}},
		{"a certificate that ends soon", []string{"--ca-file", pemFile(t, soonCA), "imaps://me@" + listen(t, secured(soon, imap))}, 0,
			[]string{"tls", "ok", "!", "the certificate ends on", "in 5 days", "mailboxes"}},
		{"pop3s", []string{"--ca-file", ca, "pop3s://me@" + listen(t, secured(good, pop3))}, 0,
			[]string{"tls", "ok", "sign-in with USER; mailfs uses TOP, UIDL", "login", "with USER", "1 mailbox, 2 messages"}},
		{"pop3, STLS", []string{"--ca-file", ca, "pop3://me@" + listen(t, upgrading(good, []string{"+OK hi\r\n", "+OK go on\r\n"},
			script("", "+OK\r\nUSER\r\n.\r\n", "+OK\r\n", "+OK\r\n", "+OK 0 0\r\n", "+OK\r\n.\r\n", "+OK\r\n.\r\n", "+OK\r\n")))}, 0,
			[]string{"starttls", "ok", "login", "ok", "0 messages"}},
		{"smtps", []string{"--ca-file", ca, "smtps://me@" + listen(t, secured(good, smtp))}, 0,
			[]string{"tls", "ok", "greeting", "220 hi", "sign-in with PLAIN, LOGIN", "login", "with PLAIN", "messages of up to 25 MiB"}},
		{"smtp, STARTTLS", []string{"--ca-file", ca, "smtp://me@" + listen(t, upgrading(good,
			[]string{"220-well\r\n220 hi\r\n", "250-mail\r\n250 STARTTLS\r\n", "220 go on\r\n"},
			script("", "250-mail\r\n250 AUTH CRAM-MD5\r\n", "334 PDE+\r\n", "235 welcome\r\n", "221 bye\r\n")))}, 0,
			[]string{"greeting", "starttls", "ok", "tls", "login", "with CRAM-MD5", "no limit of size"}},
		{"smtp, nobody signs in", []string{"--tls=off", "smtp://" + listen(t, smtp)}, 0,
			[]string{"capabilities", "ok", "login", "not tried", "messages of up to 25 MiB"}},

		{"unknown authority", []string{"imaps://me@" + listen(t, secured(good, imap))}, 1, []string{"connect", "ok", "tls", "FAILED", "--ca-file"}},
		{"expired", []string{"--ca-file", pemFile(t, oldCA), "smtps://me@" + listen(t, secured(old, smtp))}, 1,
			[]string{"tls", "FAILED", "expired on"}},
		{"another host", []string{"--ca-file", pemFile(t, otherCA), "pop3s://me@" + listen(t, secured(other, pop3))}, 1,
			[]string{"tls", "FAILED", "is for mail.example.com"}},
		{"TLS on a port without", []string{"imaps://me@" + listen(t, script("* OK hi\r\n"))}, 1,
			[]string{"tls", "FAILED", "write imap:// instead"}},
		{"no STARTTLS", []string{"imap://me@" + listen(t, script("* OK hi\r\n", "TAG BAD what?\r\n"))}, 1,
			[]string{"starttls", "FAILED", "refuses STARTTLS"}},
		{"no STARTTLS in SMTP", []string{"smtp://me@" + listen(t, script("220 hi\r\n", "250 mail\r\n", "502 what?\r\n"))}, 1,
			[]string{"starttls", "FAILED", "refuses STARTTLS", "502 what?"}},
		{"greeting of refusal", []string{"--tls=off", "imap://me@" + listen(t, script("* BYE too many\r\n"))}, 1,
			[]string{"greeting", "FAILED", "too many"}},
		{"refused by SMTP", []string{"--tls=off", "smtp://me@" + listen(t, script("554 not you\r\n"))}, 1, []string{"FAILED", "554 not you"}},
		{"wrong password", []string{"--tls=off", "imap://me@" + listen(t, script("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n",
			"TAG NO [AUTHENTICATIONFAILED] not "+base64.StdEncoding.EncodeToString([]byte("\x00me\x00"+secret))+"\r\n"))}, 1,
			[]string{"login", "FAILED", `login refused for "me": the server says "not ***"`}},
		{"wrong password, POP3", []string{"--tls=off", "pop3://me@" + listen(t, script("+OK hi\r\n", "-ERR\r\n", "+OK\r\n",
			"-ERR no user me with "+secret+"\r\n"))}, 1, []string{"login", "FAILED", `login refused for "me"`, "***"}},
		{"wrong password, SMTP", []string{"--tls=off", "smtp://me@" + listen(t, script("220 hi\r\n", "250-mail\r\n250 AUTH PLAIN\r\n",
			"535 5.7.8 not "+secret+"\r\n", "500 what\r\n"))}, 1, []string{"login", "FAILED", `login refused for "me"`, "***"}},
		{"nothing to sign in with", []string{"--tls=off", "smtp://me@" + listen(t, script("220 hi\r\n", "250-mail\r\n250 AUTH GSSAPI\r\n"))}, 1,
			[]string{"login", "FAILED", "it offers only GSSAPI"}},
		{"no LIST", []string{"--tls=off", "imap://me@" + listen(t, script("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n",
			"TAG OK [CAPABILITY IMAP4rev1] in\r\n", "TAG NO not today\r\n"))}, 1, []string{"login", "ok", "mailboxes", "FAILED", "not today"}},
		{"unknown host", []string{"imaps://me@no-such-host.invalid"}, 1, []string{"resolve", "FAILED", "unknown host"}},

		{"silent at TLS", []string{"--timeout=300ms", "imaps://me@" + listen(t, silent)}, 1,
			append(unanswered("tls"), "write imap:// instead")},
		{"silent at the greeting", []string{"--timeout=300ms", "imap://me@" + listen(t, silent)}, 1,
			append(unanswered("greeting"), "write imaps://")},
		{"silent at the greeting in TLS", []string{"--timeout=300ms", "--ca-file", ca, "imaps://me@" + listen(t, secured(good,
			func(conn net.Conn) { conn.(*tls.Conn).Handshake(); silent(conn) }))}, 1, unanswered("greeting")},
		{"silent at STARTTLS", []string{"--timeout=300ms", "imap://me@" + listen(t, script("* OK hi\r\n"))}, 1, unanswered("starttls")},
		{"silent at STLS", []string{"--timeout=300ms", "pop3://me@" + listen(t, script("+OK hi\r\n"))}, 1, unanswered("starttls")},
		{"silent after EHLO", []string{"--timeout=300ms", "smtp://me@" + listen(t, script("220 hi\r\n"))}, 1, unanswered("starttls")},
		{"silent at TLS after STARTTLS", []string{"--timeout=300ms", "imap://me@" + listen(t, script(imapBefore...))}, 1, unanswered("tls")},
		{"silent at CAPABILITY", []string{"--timeout=300ms", "--tls=off", "imap://me@" + listen(t, script("* OK hi\r\n"))}, 1,
			unanswered("capabilities")},
		{"silent at CAPA", []string{"--timeout=300ms", "--tls=off", "pop3://me@" + listen(t, script("+OK hi\r\n"))}, 1,
			unanswered("capabilities")},
		{"silent at EHLO", []string{"--timeout=300ms", "--tls=off", "smtp://me@" + listen(t, script("220 hi\r\n"))}, 1,
			unanswered("capabilities")},
		{"silent at the login", []string{"--timeout=300ms", "--tls=off", "imap://me@" + listen(t,
			script("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n"))}, 1, unanswered("login")},
		{"silent at PASS", []string{"--timeout=300ms", "--tls=off", "pop3://me@" + listen(t, script("+OK hi\r\n", "-ERR\r\n", "+OK\r\n"))}, 1,
			unanswered("login")},
		{"silent at AUTH", []string{"--timeout=300ms", "--tls=off", "smtp://me@" + listen(t,
			script("220 hi\r\n", "250-mail\r\n250 AUTH PLAIN\r\n"))}, 1, unanswered("login")},
		{"silent at LIST", []string{"--timeout=300ms", "--tls=off", "imap://me@" + listen(t,
			script("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n", "TAG OK [CAPABILITY IMAP4rev1] in\r\n"))}, 1,
			unanswered("mailboxes")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			stdout, status := runCheck(t, c.args...)
			if status != c.status {
				t.Errorf("exit status %d, want %d", status, c.status)
			}
			rest := stdout
			for _, s := range c.says {
				_, after, ok := strings.Cut(rest, s)
				if !ok {
					t.Errorf("nothing of %q in its place in\n%s", s, stdout)
					break
				}
				rest = after
			}
			if c.status == 0 && strings.Contains(stdout, "FAILED") || strings.Count(stdout, "FAILED") > 1 {
				t.Errorf("more failed than should:\n%s", stdout)
			}
			if c.args[0] == "--timeout=300ms" && time.Since(began) > 10*time.Second {
				t.Errorf("it took %s", time.Since(began))
			}
		})
	}
}

func TestCheckForPrograms(t *testing.T) {
	t.Parallel()
	cert, ca := makeCertificate(t, "localhost", time.Now().Add(-time.Hour), time.Now().Add(72*time.Hour))
	refusing := listen(t, secured(cert, script("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n", "TAG NO no\r\n")))
	home := t.TempDir()
	config := fmt.Sprintf("tls = \"off\"\n[account.good]\nurl = %q\npassword_command = \"echo '%s'\"\n"+
		"[account.bad]\nurl = \"imaps://me@%s\"\ntls = \"auto\"\nca_file = %q\npassword_command = \"echo '%s'\"\n",
		memoryServer(t), secret, refusing, pemFile(t, ca), secret)
	if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, status := runCheck(t, "--json", "--config", filepath.Join(home, "config.toml"))
	if status != 1 {
		t.Errorf("exit status %d", status)
	}
	var reports []checkReport
	if err := json.Unmarshal([]byte(stdout), &reports); err != nil || len(reports) != 2 {
		t.Fatalf("%v, %d reports:\n%s", err, len(reports), stdout)
	}
	good, bad := reports[0], reports[1]
	last := good.Steps[len(good.Steps)-1]
	if !good.OK || good.Account != "good" || last.Name != remote.StepMailboxes || last.Messages == nil || *last.Messages != 3 {
		t.Errorf("the good one: %s", stdout)
	}
	last = bad.Steps[len(bad.Steps)-1]
	if bad.OK || bad.Account != "bad" || last.Name != "login" || last.OK || !strings.HasPrefix(last.Error, "login refused") {
		t.Errorf("the bad one: %s", stdout)
	}
	for _, s := range bad.Steps {
		if s.Name == "tls" && (s.TLS == nil || s.TLS.Version != "TLS 1.3" || !strings.Contains(s.Warning, "in 2 days")) {
			t.Errorf("TLS: %s", stdout)
		}
	}
	// A single account of the file, by its name.
	if stdout, status := runCheck(t, "--config", filepath.Join(home, "config.toml"), "good"); status != 0 || !strings.HasPrefix(stdout, "good, imap://me@") {
		t.Errorf("exit status %d: %s", status, stdout)
	}
}
