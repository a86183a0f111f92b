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
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/mailfs/mailfs/cmd/mailfs/process"
	"github.com/mailfs/mailfs/remote/dial"
)

const goodPassword = "correct horse+battery"

// script is a server with fixed answers. The first one is the greeting, each of the others answers one line of the client. TAG stands
// for the first word of that line, or of the command that the line continues. Lines after the last answer get none.
func script(answers ...string) func(net.Conn) {
	return func(conn net.Conn) {
		io.WriteString(conn, answers[0])
		lines := bufio.NewScanner(conn)
		tag := ""
		for i, a := range answers[1:] {
			if !lines.Scan() {
				return
			}
			if !strings.HasPrefix(answers[i], "+ ") {
				tag, _, _ = strings.Cut(lines.Text(), " ")
			}
			io.WriteString(conn, strings.ReplaceAll(a, "TAG", tag))
		}
		io.Copy(io.Discard, conn)
	}
}

// signIn is a script with a sign-in between before and after. exchange has in turns a line that the client must send, without the
// tag of IMAP, and the answer. The server ends the connection at any other line.
func signIn(before []string, exchange []string, after ...string) func(net.Conn) {
	return func(conn net.Conn) {
		io.WriteString(conn, before[0])
		lines := bufio.NewReader(conn)
		tag := ""
		answer := func(wanted, answer string) bool {
			line, err := lines.ReadString('\n')
			if err != nil {
				return false
			}
			line = strings.TrimRight(line, "\r\n")
			first, rest, _ := strings.Cut(line, " ")
			switch {
			case wanted == "", line == wanted:
			case rest == wanted:
				tag = first
			default:
				return false
			}
			if wanted == "" {
				tag = first
			}
			io.WriteString(conn, strings.ReplaceAll(answer, "TAG", tag))
			return true
		}
		for _, a := range before[1:] {
			if !answer("", a) {
				return
			}
		}
		for i := 0; i < len(exchange); i += 2 {
			if !answer(exchange[i], exchange[i+1]) {
				return
			}
		}
		for _, a := range after {
			if !answer("", a) {
				return
			}
		}
		io.Copy(io.Discard, conn)
	}
}

// secured is a server over TLS.
func secured(c tls.Certificate, serve func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) { serve(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c}})) }
}

// upgrading is a server in the clear until STARTTLS or STLS, then over TLS. clear are its answers before that.
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

// memoryServer starts go-imap's server with three messages in INBOX, one more mailbox, and the user me.
func memoryServer(t *testing.T) (url string) {
	t.Helper()
	user := imapmemserver.NewUser("me", goodPassword)
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

// pemFile writes certificates to a file for --ca-file.
func pemFile(t *testing.T, pem []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// base encodes a text in base64, as SASL does.
func base(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// runCheck runs mailfs check with the password in the environment. The test fails if the output shows the password.
func runCheck(t *testing.T, args ...string) (stdout string, status int) {
	t.Helper()
	cmd := command(t, append([]string{"check"}, args...)...)
	cmd.Env = append(cmd.Env, process.PasswordVariable+"="+goodPassword)
	stdout, stderr, status := runCommand(t, cmd)
	for _, s := range []string{goodPassword, base(goodPassword), base("\x00me\x00" + goodPassword)} {
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

func TestCheckSaysWhatCameOfEachStep(t *testing.T) {
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
	noAnswer := func(failed string) []string { return []string{"\n  " + failed, "FAILED", "within 3s"} }
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
			[]string{"tls", "ok", "!", "the certificate expires on", "in 5 days", "mailboxes"}},
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
			[]string{"greeting", "starttls", "ok", "tls", "login", "with CRAM-MD5", "no size limit"}},
		{"imap, SASL LOGIN", []string{"--tls=off", "imap://me@" + listen(t, signIn(
			[]string{"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=LOGIN] hi\r\n"},
			[]string{"AUTHENTICATE LOGIN", "+ VXNlcm5hbWU6\r\n", base("me"), "+ UGFzc3dvcmQ6\r\n", base(goodPassword), "TAG OK [CAPABILITY IMAP4rev1] in\r\n"},
			"* LIST () \"/\" INBOX\r\nTAG OK\r\n", "* STATUS INBOX (MESSAGES 7)\r\nTAG OK\r\n", "TAG OK bye\r\n"))}, 0,
			[]string{"sign-in with LOGIN", "login", "ok", "with LOGIN", "7 messages"}},
		{"pop3, SASL LOGIN", []string{"--tls=off", "pop3://me@" + listen(t, signIn(
			[]string{"+OK hi\r\n", "+OK\r\nSASL LOGIN\r\nUIDL\r\n.\r\n"},
			[]string{"AUTH LOGIN", "+ VXNlcm5hbWU6\r\n", base("me"), "+ UGFzc3dvcmQ6\r\n", base(goodPassword), "+OK in\r\n"},
			"+OK 0 0\r\n", "+OK\r\n.\r\n", "+OK\r\n.\r\n", "+OK\r\n"))}, 0, []string{"sign-in with LOGIN", "login", "ok", "with LOGIN", "0 messages"}},
		{"smtp, SASL LOGIN", []string{"--tls=off", "smtp://me@" + listen(t, signIn(
			[]string{"220 hi\r\n", "250-mail\r\n250 AUTH LOGIN\r\n"},
			[]string{"AUTH LOGIN", "334 VXNlcm5hbWU6\r\n", base("me"), "334 UGFzc3dvcmQ6\r\n", base(goodPassword), "235 in\r\n"},
			"221 bye\r\n"))}, 0, []string{"sign-in with LOGIN", "login", "ok", "with LOGIN", "no mail was sent"}},
		{"imap, a mechanism that can't be done", []string{"--tls=off", "imap://me@" + listen(t, signIn(
			[]string{"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n"},
			[]string{"AUTHENTICATE PLAIN", "TAG BAD unsupported mechanism\r\n", `LOGIN "me" "` + goodPassword + `"`, "TAG OK [CAPABILITY IMAP4rev1 QUOTA] in\r\n"},
			"* LIST () \"/\" INBOX\r\nTAG OK\r\n", "* STATUS INBOX (MESSAGES 7)\r\nTAG OK\r\n", "TAG OK bye\r\n"))}, 0,
			[]string{"login", "ok", `with LOGIN; the server refused PLAIN ("unsupported mechanism"); mailfs uses QUOTA`, "7 messages"}},
		{"smtp, mechanisms that can't be done", []string{"--tls=off", "smtp://me@" + listen(t, script("220 hi\r\n",
			"250-mail\r\n250 AUTH CRAM-MD5 PLAIN\r\n", "504 what\r\n", "500 what\r\n", "504 why\r\n", "500 what\r\n"))}, 1,
			[]string{"login", "FAILED", `login refused for "me": the server can't carry out CRAM-MD5 ("504 what"), PLAIN ("504 why")`}},
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
			"TAG NO [AUTHENTICATIONFAILED] not "+base("\x00me\x00"+goodPassword)+"\r\n"))}, 1,
			[]string{"login", "FAILED", `login refused for "me": the server says "not ***"`}},
		{"wrong password, POP3", []string{"--tls=off", "pop3://me@" + listen(t, script("+OK hi\r\n", "-ERR\r\n", "+OK\r\n",
			"-ERR no user me with "+goodPassword+"\r\n"))}, 1, []string{"login", "FAILED", `login refused for "me"`, "***"}},
		{"wrong password, SMTP", []string{"--tls=off", "smtp://me@" + listen(t, script("220 hi\r\n", "250-mail\r\n250 AUTH PLAIN\r\n",
			"535 5.7.8 not "+goodPassword+"\r\n", "500 what\r\n"))}, 1, []string{"login", "FAILED", `login refused for "me"`, "***"}},
		{"wrong password, SASL LOGIN", []string{"--tls=off", "smtp://me@" + listen(t, signIn(
			[]string{"220 hi\r\n", "250-mail\r\n250 AUTH LOGIN\r\n"},
			[]string{"AUTH LOGIN", "334 VXNlcm5hbWU6\r\n", base("me"), "334 UGFzc3dvcmQ6\r\n", base(goodPassword), "535 not " + base(goodPassword) + "\r\n"},
			"500 what\r\n"))}, 1,
			[]string{"login", "FAILED", `login refused for "me": the server says "535 not ***"`}},
		{"nothing to sign in with", []string{"--tls=off", "smtp://me@" + listen(t, script("220 hi\r\n", "250-mail\r\n250 AUTH GSSAPI\r\n"))}, 1,
			[]string{"login", "FAILED", "it offers only GSSAPI"}},
		{"no LIST", []string{"--tls=off", "imap://me@" + listen(t, script("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n",
			"TAG OK [CAPABILITY IMAP4rev1] in\r\n", "TAG NO not today\r\n"))}, 1, []string{"login", "ok", "mailboxes", "FAILED", "not today"}},
		{"unknown host", []string{"imaps://me@no-such-host.invalid"}, 1, []string{"resolve", "FAILED", "unknown host"}},

		{"silent at TLS", []string{"--timeout=3s", "imaps://me@" + listen(t, silent)}, 1,
			append(noAnswer("tls"), "write imap:// instead")},
		{"silent at the greeting", []string{"--timeout=3s", "imap://me@" + listen(t, silent)}, 1,
			append(noAnswer("greeting"), "write imaps://")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
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
		})
	}
}

// unanswered returns an address that accepts no connection: the backlog is full, so the kernel drops the first packet of others.
func unanswered(t *testing.T) (address string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address = fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 8 {
		conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("all connections are let in")
	return ""
}

// The server stops answering at each point of a conversation that would succeed.
func TestCheckNamesTheStepWhereAServerFallsSilent(t *testing.T) {
	t.Parallel()
	cert, ca := makeCertificate(t, "localhost", time.Now().Add(-time.Hour), time.Now().Add(300*24*time.Hour))
	caFile := pemFile(t, ca)
	const timeout = 2 * time.Second // a busy machine comes to each step within it
	type silence struct{ where, url, step string }
	silences := []silence{{"accepts nothing", "imaps://me@" + unanswered(t), "connect"}}
	for _, p := range []struct {
		scheme  string
		before  []string // in the clear, up to where TLS begins
		clear   []string // steps that each of these belongs to
		answers []string // to a client that signs in without TLS
		steps   []string // "": it does not matter any more
	}{
		{"imap", []string{"* OK hi\r\n", "TAG OK go on\r\n"}, []string{"greeting", "starttls"},
			[]string{"* OK hi\r\n", "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nTAG OK\r\n", "+ \r\n", "TAG OK in\r\n",
				"* CAPABILITY IMAP4rev1\r\nTAG OK\r\n", "* LIST () \"/\" INBOX\r\nTAG OK\r\n", "* STATUS INBOX (MESSAGES 7)\r\nTAG OK\r\n", "TAG OK bye\r\n"},
			[]string{"greeting", "capabilities", "login", "login", "login", "mailboxes", "mailboxes", ""}},
		{"pop3", []string{"+OK hi\r\n", "+OK go on\r\n"}, []string{"greeting", "starttls"},
			[]string{"+OK hi\r\n", "+OK\r\nUSER\r\nUIDL\r\n.\r\n", "+OK\r\n", "+OK\r\n", "+OK 1 10\r\n", "+OK\r\n1 a\r\n.\r\n",
				"+OK\r\n1 10\r\n.\r\n", "+OK\r\n"},
			[]string{"greeting", "capabilities", "login", "login", "mailboxes", "mailboxes", "mailboxes", ""}},
		{"smtp", []string{"220 hi\r\n", "250-mail\r\n250 STARTTLS\r\n", "220 go on\r\n"}, []string{"greeting", "starttls", "starttls"},
			[]string{"220 hi\r\n", "250-mail\r\n250 AUTH PLAIN\r\n", "235 welcome\r\n", "221 bye\r\n"},
			[]string{"greeting", "capabilities", "login", ""}},
	} {
		add := func(scheme, step, what string, serve func(net.Conn)) {
			silences = append(silences, silence{scheme + " instead of " + strings.TrimSpace(what), scheme + "://me@" + listen(t, serve), step})
		}
		for i, step := range p.steps {
			serve := silent
			if i > 0 {
				serve = script(p.answers[:i]...)
			}
			silences = append(silences, silence{fmt.Sprintf("%s, in the clear, instead of %q", p.scheme, p.answers[i]),
				"clear " + p.scheme + "://me@" + listen(t, serve), step})
		}
		for i, step := range p.clear {
			serve := silent
			if i > 0 {
				serve = script(p.before[:i]...)
			}
			add(p.scheme, step, p.before[i], serve)
		}
		add(p.scheme, "tls", "the handshake", script(p.before...))
		add(p.scheme, "capabilities", "the first answer in TLS", upgrading(cert, p.before, silent))
		add(p.scheme+"s", "tls", "the handshake", silent)
		add(p.scheme+"s", "greeting", "the greeting in TLS", secured(cert, func(conn net.Conn) {
			conn.(*tls.Conn).Handshake()
			silent(conn)
		}))
	}
	// All wait most of the time: more of them at once than there are processors.
	var all sync.WaitGroup
	places := make(chan struct{}, 12)
	for _, s := range silences {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			args := []string{"--timeout", timeout.String(), "--ca-file", caFile}
			url, inTheClear := strings.CutPrefix(s.url, "clear ")
			if inTheClear {
				args = append(args, "--tls=off")
			}
			began := time.Now()
			stdout, status := runCheck(t, append(args, url)...)
			if took := time.Since(began); took > 25*time.Second {
				t.Errorf("%s: it took %s", s.where, took)
			}
			if s.step == "" && status != 0 || s.step != "" && (status != 1 || strings.Count(stdout, "FAILED") != 1 ||
				!regexp.MustCompile(`\n  `+s.step+` +FAILED.*within `+timeout.String()).MatchString(stdout)) {
				t.Errorf("%s: exit status %d, want %q to fail:\n%s", s.where, status, s.step, stdout)
			}
		})
	}
	all.Wait()
}

func TestCheckPrintsAReportInJSON(t *testing.T) {
	t.Parallel()
	cert, ca := makeCertificate(t, "localhost", time.Now().Add(-time.Hour), time.Now().Add(72*time.Hour))
	refusing := listen(t, secured(cert, script("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n", "TAG NO not "+goodPassword+"\r\n")))
	home := t.TempDir()
	config := fmt.Sprintf("tls = \"off\"\n[account.good]\nurl = %q\npassword_command = \"echo '%s'\"\n"+
		"[account.bad]\nurl = \"imaps://me@%s\"\ntls = \"auto\"\nca_file = %q\npassword_command = \"echo '%s'\"\n",
		memoryServer(t), goodPassword, refusing, pemFile(t, ca), goodPassword)
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
	if !good.OK || good.Account != "good" || last.Name != dial.StepMailboxes || last.Messages == nil || *last.Messages != 3 {
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
