package pop3

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mailfs/mailfs/remote/dial"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// responder is a POP3 server that locks its maildrop as RFC 1939 wants it, and misbehaves where a test says so.
type responder struct {
	user, password string
	capabilities   []string // nil: it does not know CAPA
	stuff          func([]byte) []byte
	misbehave      func(session int, line string) *misdeed // nil: answers as it should
	certificate    *httptest.Server                        // speaks TLS as this one does; nil: in the clear

	// intolerant is what it does when commands come ahead of their answers.
	intolerant misdeed

	t        *testing.T
	listener net.Listener
	wg       sync.WaitGroup

	mu       sync.Mutex // guards what follows
	messages []mail
	locked   bool
	sessions int
	commands []string
	conns    map[net.Conn]bool
}

type mail struct {
	content []byte
	uidl    string
	size    int // what LIST says; 0 says the truth
}

// misdeed is an answer that is not as it should be.
type misdeed struct {
	until <-chan struct{} // nothing comes before that is closed
	raw   string          // sent as it is, and not what should be
	close bool            // then the connection is closed
	stall bool            // then nothing comes any more
	drop  bool            // then what came ahead is thrown away
}

var everything = []string{"USER", "UIDL", "TOP", "PIPELINING", "RESP-CODES", "SASL PLAIN"}

// startServer starts a responder with the given messages and everything a server can do; change says what is different.
func startServer(t *testing.T, contents []string, change func(*responder)) *responder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &responder{user: "alice", password: "secret", capabilities: everything, stuff: stuffCRLF, t: t, listener: l,
		conns: map[net.Conn]bool{}}
	for _, c := range contents {
		r.add(c)
	}
	if change != nil {
		change(r)
	}
	if r.certificate != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: r.certificate.TLS.Certificates})
	}
	r.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.sessions++
			n := r.sessions
			r.conns[conn] = true
			r.mu.Unlock()
			r.wg.Go(func() { r.serve(conn, n) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		for c := range r.conns {
			c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

func (r *responder) add(content string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := sha256.Sum256([]byte(content))
	r.messages = append(r.messages, mail{content: []byte(content), uidl: fmt.Sprintf("u%d-%x", len(r.messages), sum[:4])})
}

// server returns how the responder is reached.
func (r *responder) server(timeout time.Duration) dial.Server {
	r.t.Helper()
	server, err := dial.ParseURL(fmt.Sprintf("pop3://%s@%s", r.user, r.listener.Addr()))
	if err != nil {
		r.t.Fatal(err)
	}
	if r.certificate != nil {
		server.ImplicitTLS, server.RootCAs = true, x509.NewCertPool()
		server.RootCAs.AddCert(r.certificate.Certificate())
	} else {
		server.InTheClear = true
	}
	server.Timeout = timeout
	server.Password = func(context.Context) (string, error) { return r.password, nil }
	return server
}

// said returns the commands of a verb that came.
func (r *responder) said(verb string) []string {
	return r.saidWhere(func(line string) bool { return line == verb || strings.HasPrefix(line, verb+" ") })
}

// asked returns the commands for whole messages that came.
func (r *responder) asked() []string {
	return r.saidWhere(func(line string) bool { return whole(line, 0) })
}

func (r *responder) saidWhere(is func(string) bool) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.commands), func(line string) bool { return !is(line) })
}

// whole tells whether a command asks for the whole of a message, of any one when n is 0.
func whole(line string, n int) bool {
	f := strings.Fields(line)
	if n > 0 && (len(f) < 2 || f[1] != strconv.Itoa(n)) {
		return false
	}
	return len(f) == 2 && f[0] == "RETR" || len(f) == 3 && f[0] == "TOP" && f[2] == "99999999"
}

// stuffCRLF stuffs dots by the letter of RFC 1939: a line ends in CRLF.
func stuffCRLF(m []byte) []byte {
	m = bytes.ReplaceAll(append([]byte("\r\n"), m...), []byte("\r\n."), []byte("\r\n.."))[2:]
	if !bytes.HasSuffix(m, []byte("\r\n")) {
		m = append(m, "\r\n"...)
	}
	return append(m, ".\r\n"...)
}

// stuffLF stuffs dots as servers do that read mail by lines: a line ends in LF, whatever is before it.
func stuffLF(m []byte) []byte {
	m = bytes.ReplaceAll(append([]byte("\n"), m...), []byte("\n."), []byte("\n.."))[1:]
	if !bytes.HasSuffix(m, []byte("\n")) {
		m = append(m, "\r\n"...)
	}
	return append(m, ".\r\n"...)
}

func (r *responder) serve(conn net.Conn, n int) {
	holds := false
	defer func() {
		conn.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, conn)
		if holds {
			r.locked = false
		}
	}()
	in := bufio.NewReader(conn)
	act := func(m misdeed) (ended bool) {
		if m.until != nil {
			<-m.until
		}
		io.WriteString(conn, m.raw)
		if m.stall {
			io.Copy(io.Discard, conn)
		}
		if m.drop {
			in.Discard(in.Buffered())
		}
		return m.stall || m.close
	}
	if r.misbehave != nil {
		if m := r.misbehave(n, ""); m != nil {
			act(*m)
			return
		}
	}
	io.WriteString(conn, "+OK ready\r\n")
	var named string
	var drop []mail // as it was at sign-in
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		r.mu.Lock()
		r.commands = append(r.commands, line)
		r.mu.Unlock()
		if r.misbehave != nil {
			if m := r.misbehave(n, line); m != nil {
				if act(*m) {
					return
				}
				if m.raw != "" {
					continue
				}
			}
		}
		if in.Buffered() > 0 && r.intolerant != (misdeed{}) {
			if act(r.intolerant) {
				return
			}
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		var answer string
		signedIn := func(ok bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			switch {
			case !ok:
				answer = "-ERR [AUTH] wrong user or password " + rest
			case r.locked:
				answer = "-ERR [IN-USE] maildrop is locked"
			default:
				r.locked, holds, drop = true, true, slices.Clone(r.messages)
				answer = "+OK"
			}
		}
		switch verb {
		case "CAPA":
			if r.capabilities == nil {
				answer = "-ERR what?"
			} else {
				answer = "+OK\r\n" + strings.Join(r.capabilities, "\r\n") + "\r\n."
			}
		case "AUTH":
			io.WriteString(conn, "+ \r\n")
			response, _ := in.ReadString('\n')
			b, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(response))
			signedIn(string(b) == "\x00"+r.user+"\x00"+r.password)
		case "USER":
			named, answer = rest, "+OK"
		case "PASS":
			signedIn(named == r.user && rest == r.password)
		case "QUIT":
			if holds {
				r.mu.Lock()
				r.locked, holds = false, false
				r.mu.Unlock()
			}
			io.WriteString(conn, "+OK bye\r\n")
			return
		default:
			if !holds {
				answer = "-ERR sign in first"
				break
			}
			answer = r.transaction(drop, verb, rest)
		}
		if _, err := io.WriteString(conn, answer+"\r\n"); err != nil {
			return
		}
	}
}

// transaction answers the commands of a signed-in user, without the last CRLF.
func (r *responder) transaction(drop []mail, verb, rest string) string {
	size := func(m mail) int {
		if m.size != 0 {
			return m.size
		}
		return len(m.content)
	}
	number, _, _ := strings.Cut(rest, " ")
	i, err := strconv.Atoi(number)
	if number != "" && (err != nil || i < 1 || i > len(drop)) {
		return "-ERR no such message"
	}
	all := func(tell func(mail) string) string {
		if number != "" {
			return "+OK " + number + " " + tell(drop[i-1])
		}
		var b strings.Builder
		b.WriteString("+OK\r\n")
		for i, m := range drop {
			fmt.Fprintf(&b, "%d %s\r\n", i+1, tell(m))
		}
		return b.String() + "."
	}
	content := func(m []byte) string {
		return "+OK\r\n" + strings.TrimSuffix(string(r.stuff(m)), "\r\n")
	}
	switch verb {
	case "STAT":
		total := 0
		for _, m := range drop {
			total += size(m)
		}
		return fmt.Sprintf("+OK %d %d", len(drop), total)
	case "LIST":
		return all(func(m mail) string { return strconv.Itoa(size(m)) })
	case "UIDL":
		return all(func(m mail) string { return m.uidl })
	case "RETR":
		return content(drop[i-1].content)
	case "TOP":
		if strings.HasSuffix(rest, " 99999999") {
			return content(drop[i-1].content)
		}
		header, _, _ := bytes.Cut(drop[i-1].content, []byte("\r\n\r\n"))
		return content(append(slices.Clone(header), "\r\n\r\n"...))
	default:
		return "-ERR what?"
	}
}

// letters makes short messages with the subjects "letter 1" and so on.
func letters(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("Subject: letter %d\r\nFrom: bob@example.org\r\n\r\nDear %d\r\n", i+1, i+1))
	}
	return all
}
