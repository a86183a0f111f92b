package demo

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
)

// servePOP3 is a POP3 server (RFC 1939, with the capabilities of RFC 2449) for one user. Nothing changes the maildrop. servePOP3
// returns when the listener is closed, after it has closed all connections.
func servePOP3(l net.Listener, user, password string, messages [][]byte) {
	drop := make([]pop3Message, len(messages))
	for i, m := range messages {
		if !bytes.HasSuffix(m, []byte("\r\n")) { // the "." that ends a message must be on a line of its own
			m = append(bytes.Clone(m), "\r\n"...)
		}
		sum := sha256.Sum256(m)
		drop[i] = pop3Message{content: m, uidl: fmt.Sprintf("%x", sum[:5])}
	}
	var (
		mu    sync.Mutex // guards conns
		conns = map[net.Conn]bool{}
		wg    sync.WaitGroup
	)
	for {
		conn, err := l.Accept()
		if err != nil {
			break
		}
		mu.Lock()
		conns[conn] = true
		mu.Unlock()
		wg.Go(func() {
			s := pop3Session{Conn: textproto.NewConn(conn), user: user, password: password, drop: drop}
			s.serve()
			mu.Lock()
			delete(conns, conn)
			mu.Unlock()
			conn.Close()
		})
	}
	mu.Lock()
	for conn := range conns {
		conn.Close()
	}
	mu.Unlock()
	wg.Wait()
}

// pop3Message is a message of the maildrop.
type pop3Message struct {
	content []byte // ends with CRLF
	uidl    string
}

// pop3Session is one connection to the POP3 server.
type pop3Session struct {
	*textproto.Conn
	user, password string
	drop           []pop3Message

	named    string // the user name of the last USER
	signedIn bool
}

func (s *pop3Session) serve() {
	if s.PrintfLine("+OK mailfs demo") != nil {
		return
	}
	for {
		line, err := s.ReadLine()
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		if s.answer(verb, rest) != nil || verb == "QUIT" {
			return
		}
	}
}

// answer answers one command. The error is that the connection is lost.
func (s *pop3Session) answer(verb, rest string) error {
	switch verb {
	case "CAPA":
		return s.lines("+OK", "USER", "UIDL", "TOP", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE")
	case "QUIT":
		return s.PrintfLine("+OK bye")
	case "USER":
		s.named = rest
		return s.PrintfLine("+OK")
	case "PASS":
		s.signedIn = s.named == s.user && rest == s.password
		if !s.signedIn {
			return s.PrintfLine("-ERR [AUTH] wrong user or password")
		}
		return s.PrintfLine("+OK %d messages", len(s.drop))
	}
	if !s.signedIn {
		return s.PrintfLine("-ERR sign in first")
	}
	switch verb {
	case "NOOP", "RSET":
		return s.PrintfLine("+OK")
	case "STAT":
		total := 0
		for _, m := range s.drop {
			total += len(m.content)
		}
		return s.PrintfLine("+OK %d %d", len(s.drop), total)
	case "LIST":
		return s.list(rest, func(m pop3Message) string { return strconv.Itoa(len(m.content)) })
	case "UIDL":
		return s.list(rest, func(m pop3Message) string { return m.uidl })
	case "RETR":
		m, ok := s.message(rest)
		if !ok {
			return s.PrintfLine("-ERR no such message")
		}
		return s.content(m.content)
	case "TOP":
		number, count, _ := strings.Cut(rest, " ")
		m, ok := s.message(number)
		n, err := strconv.Atoi(count)
		if !ok || err != nil || n < 0 {
			return s.PrintfLine("-ERR no such message")
		}
		header, body, _ := bytes.Cut(m.content, []byte("\r\n\r\n"))
		top := append(bytes.Clone(header), "\r\n\r\n"...)
		for line := range bytes.Lines(body) {
			if n--; n < 0 {
				break
			}
			top = append(top, line...)
		}
		return s.content(top)
	default:
		return s.PrintfLine("-ERR unknown command")
	}
}

// message returns the message with a number, and whether there is one.
func (s *pop3Session) message(number string) (pop3Message, bool) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > len(s.drop) {
		return pop3Message{}, false
	}
	return s.drop[n-1], true
}

// list answers LIST and UIDL. tell returns the size or the UIDL of a message. number is empty for all messages.
func (s *pop3Session) list(number string, tell func(pop3Message) string) error {
	if number != "" {
		m, ok := s.message(number)
		if !ok {
			return s.PrintfLine("-ERR no such message")
		}
		return s.PrintfLine("+OK %s %s", number, tell(m))
	}
	lines := make([]string, len(s.drop))
	for i, m := range s.drop {
		lines[i] = fmt.Sprintf("%d %s", i+1, tell(m))
	}
	return s.lines("+OK", lines...)
}

// lines sends a status line and lines of text, with the final ".".
func (s *pop3Session) lines(status string, lines ...string) error {
	return s.PrintfLine("%s", strings.Join(append([]string{status}, append(lines, ".")...), "\r\n"))
}

// content sends a message, with its dots stuffed (RFC 1939, section 3).
func (s *pop3Session) content(m []byte) error {
	if err := s.PrintfLine("+OK %d octets", len(m)); err != nil {
		return err
	}
	w := s.DotWriter()
	if _, err := w.Write(m); err != nil {
		return err
	}
	return w.Close()
}
