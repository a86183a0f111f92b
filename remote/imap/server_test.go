package imap

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	goimap "github.com/emersion/go-imap/v2"
	"go.uber.org/goleak"

	"github.com/mailfs/mailfs/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testUser     = "alice"
	testPassword = `pä"ss\ wörd%` + "\xff"
)

// letter is one message on the server.
type letter struct {
	uid   uint32
	flags string
	date  string // as in INTERNALDATE, with its quotes
	body  string
	mod   int
}

func (l *letter) header() string {
	head, _, _ := strings.Cut(l.body, "\r\n\r\n")
	return head + "\r\n\r\n"
}

// server is a small IMAP server with one mailbox, INBOX, that can be told to misbehave.
type server struct {
	t        *testing.T
	listener net.Listener
	greeting string
	caps     string
	list     string // what LIST answers

	// hook is asked first for every command; true means that it has answered.
	hook func(c *peer, tag, command string) bool
	// row, if set, returns the FETCH response of a message in another form; "" is none.
	row func(c *peer, n int, l *letter, items string) (string, bool)

	accepting sync.Once
	mu        sync.Mutex
	letters   []*letter
	validity  int
	next      uint32 // 0: not told
	mod       int
	commands  []string
	conns     map[net.Conn]bool
	wg        sync.WaitGroup
}

// peer is one connection, seen by the server.
type peer struct {
	net.Conn
	r *bufio.Reader
	w *bufio.Writer
	n int // which connection it is, from 1
}

func newServer(t *testing.T, caps string, letters ...*letter) *server {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, listener: listener, greeting: "* OK ready", caps: caps, validity: 7, mod: 100,
		list: "* LIST (\\HasNoChildren) \"/\" INBOX\r\n", letters: letters, next: 1, conns: map[net.Conn]bool{}}
	for _, l := range letters {
		s.next = max(s.next, l.uid+1)
	}
	t.Cleanup(func() {
		listener.Close()
		s.mu.Lock()
		for c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

// accept serves connections. The server is as the test wants it by now.
func (s *server) accept() {
	s.wg.Go(func() {
		for n := 1; ; n++ {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[conn] = true
			s.mu.Unlock()
			s.wg.Go(func() {
				defer conn.Close()
				s.serve(&peer{Conn: conn, r: bufio.NewReader(conn), w: bufio.NewWriter(conn), n: n})
			})
		}
	})
}

// mail returns messages with the UIDs given.
func mail(uids ...uint32) []*letter {
	var out []*letter
	for _, u := range uids {
		out = append(out, &letter{uid: u, flags: `\Seen`, date: `"17-Jul-1996 02:44:25 -0700"`, mod: 50,
			body: fmt.Sprintf("From: a@example.org\r\nSubject: message %d\r\n\r\nbody of %d\r\n", u, u)})
	}
	return out
}

func upTo(n uint32) []uint32 {
	var out []uint32
	for u := uint32(1); u <= n; u++ {
		out = append(out, u)
	}
	return out
}

func (s *server) serve(c *peer) {
	say := func(format string, args ...any) { fmt.Fprintf(c.w, format+"\r\n", args...) }
	say("%s", s.greeting)
	c.w.Flush()
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		for strings.HasSuffix(line, "}") { // synchronising literals
			n, _ := strconv.Atoi(line[strings.LastIndexByte(line, '{')+1 : len(line)-1])
			say("+ go on")
			c.w.Flush()
			b := make([]byte, n)
			if _, err := io.ReadFull(c.r, b); err != nil {
				return
			}
			rest, _ := c.r.ReadString('\n')
			line = line[:strings.LastIndexByte(line, '{')] + quote(string(b)) + strings.TrimRight(rest, "\r\n")
		}
		tag, command, _ := strings.Cut(line, " ")
		s.mu.Lock()
		s.commands = append(s.commands, command)
		s.mu.Unlock()
		if s.hook != nil && s.hook(c, tag, command) {
			if c.w.Flush() != nil {
				return
			}
			continue
		}
		s.mu.Lock()
		word, rest, _ := strings.Cut(command, " ")
		if word == "UID" {
			word, rest, _ = strings.Cut(rest, " ")
		}
		switch word {
		case "CAPABILITY":
			say("* CAPABILITY %s", s.caps)
		case "LOGIN":
			if rest != quote(testUser)+" "+quote(testPassword) {
				say("%s NO [AUTHENTICATIONFAILED] wrong: %s", tag, rest)
				word = ""
			}
		case "AUTHENTICATE":
			_, response, given := strings.Cut(rest, " ")
			if !given {
				say("+ ")
				c.w.Flush()
				response, _ = c.r.ReadString('\n')
			}
			b, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(response))
			if string(b) != "\x00"+testUser+"\x00"+testPassword {
				say("%s NO [AUTHENTICATIONFAILED] wrong: %s", tag, b[strings.LastIndexByte(string(b), 0)+1:])
				word = ""
			}
		case "NAMESPACE":
			say(`* NAMESPACE (("" "/")) NIL NIL`)
		case "LIST":
			fmt.Fprint(c.w, s.list)
		case "EXAMINE":
			if !strings.HasPrefix(rest, "INBOX") {
				say("%s NO no such mailbox", tag)
				word = ""
				break
			}
			say("* FLAGS (\\Seen \\Answered)")
			say("* %d EXISTS", len(s.letters))
			say("* OK [UIDVALIDITY %d] .", s.validity)
			if s.next > 0 {
				say("* OK [UIDNEXT %d] .", s.next)
			}
			if strings.Contains(s.caps, "CONDSTORE") {
				say("* OK [HIGHESTMODSEQ %d] .", s.mod)
			}
		case "STATUS":
			if mailbox, _, _ := strings.Cut(rest, " "); mailbox != "INBOX" {
				say("%s NO no such mailbox", tag)
				word = ""
				break
			}
			say("* STATUS INBOX (MESSAGES %d UIDNEXT %d UIDVALIDITY %d HIGHESTMODSEQ %d)", len(s.letters), s.next, s.validity, s.mod)
		case "SEARCH":
			var within goimap.UIDSet
			if _, set, ok := strings.Cut(rest, "UID "); ok {
				within = parseSet(set)
			}
			found := &remote.UIDSet{}
			for _, l := range s.letters {
				if within == nil || within.Contains(goimap.UID(l.uid)) {
					found.Add(remote.UID(l.uid))
				}
			}
			switch {
			case strings.HasPrefix(rest, "RETURN (ALL)") && found.Len() == 0:
				say("* ESEARCH (TAG %q) UID", tag)
			case strings.HasPrefix(rest, "RETURN (ALL)"):
				say("* ESEARCH (TAG %q) UID ALL %s", tag, wireSet(found))
			default:
				var words strings.Builder
				for _, r := range found.Ranges() {
					for u := r.First; u <= r.Last; u++ {
						fmt.Fprintf(&words, " %d", u)
					}
				}
				say("* SEARCH%s", words.String())
			}
		case "FETCH":
			set, items, _ := strings.Cut(rest, " ")
			within := parseSet(set)
			since := 0
			if _, after, ok := strings.Cut(items, "CHANGEDSINCE "); ok {
				since, _ = strconv.Atoi(strings.TrimRight(after, ")"))
			}
			for i, l := range s.letters {
				if !within.Contains(goimap.UID(l.uid)) || l.mod <= since && since > 0 {
					continue
				}
				if s.row != nil {
					if row, ok := s.row(c, i+1, l, items); ok {
						fmt.Fprint(c.w, row)
						continue
					}
				}
				fmt.Fprintf(c.w, "* %d FETCH (%s)\r\n", i+1, l.items(items))
			}
		case "GETQUOTAROOT":
			say("* QUOTAROOT INBOX \"\"")
			say("* QUOTA \"\" (STORAGE 10 512)")
		case "LOGOUT":
			say("* BYE goodbye")
		}
		s.mu.Unlock()
		if word != "" {
			say("%s OK done", tag)
		}
		if c.w.Flush() != nil || word == "LOGOUT" {
			return
		}
	}
}

// items are the data items of a message that a FETCH asks for.
func (l *letter) items(want string) string {
	out := fmt.Sprintf("UID %d", l.uid)
	if strings.Contains(want, "FLAGS") {
		out += fmt.Sprintf(" FLAGS (%s)", l.flags)
	}
	if strings.Contains(want, "INTERNALDATE") {
		out += " INTERNALDATE " + l.date
	}
	if strings.Contains(want, "RFC822.SIZE") {
		out += fmt.Sprintf(" RFC822.SIZE %d", len(l.body))
	}
	if strings.Contains(want, "CHANGEDSINCE") {
		out += fmt.Sprintf(" MODSEQ (%d)", l.mod)
	}
	if i := strings.Index(want, "BODY.PEEK[HEADER"); i >= 0 {
		section := want[i+len("BODY.PEEK") : strings.LastIndexByte(want, ']')+1]
		out += fmt.Sprintf(" BODY%s {%d}\r\n%s", section, len(l.header()), l.header())
	}
	if strings.Contains(want, "BODY.PEEK[]") {
		out += fmt.Sprintf(" BODY[] {%d}\r\n%s", len(l.body), l.body)
	}
	return out
}

// quote returns s as a quoted string.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func parseSet(s string) goimap.UIDSet {
	var set goimap.UIDSet
	for _, part := range strings.Split(s, ",") {
		first, last, isRange := strings.Cut(part, ":")
		a, _ := strconv.ParseUint(first, 10, 32)
		b := a
		if isRange {
			b, _ = strconv.ParseUint(last, 10, 32)
		}
		set.AddRange(goimap.UID(a), goimap.UID(b))
	}
	return set
}

func (s *server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// said returns the commands that begin with a prefix, and forgets all.
func (s *server) said(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.DeleteFunc(s.commands, func(c string) bool { return !strings.HasPrefix(c, prefix) })
	s.commands = nil
	return out
}
