package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// message is a message that a peer holds.
type message struct {
	uid   uint32
	flags string // as they stand between the parentheses of FLAGS
	date  time.Time
	body  []byte // the whole message, with its header
}

// letter returns the message with a number: its number is its UID, and stands in its sender, subject and text.
func letter(number int, text string) *message {
	date := time.Date(2022, 3, number%28+1, 10, 0, 0, 0, time.UTC)
	body := fmt.Appendf(nil, "From: Writer %d <w%d@example.org>\r\nTo: me@example.org\r\nSubject: letter %d\r\nDate: %s\r\n"+
		"Message-ID: <l%d@example.org>\r\n\r\n%s", number, number, number, date.Format(time.RFC1123Z), number, text)
	return &message{uid: uint32(number), flags: `\Seen`, date: date, body: body}
}

// letters returns the messages numbered 1 to n.
func letters(n int) []*message {
	var all []*message
	for i := 1; i <= n; i++ {
		all = append(all, letter(i, fmt.Sprintf("This is letter %d.\r\n", i)))
	}
	return all
}

// prefix is how the name of a letter's file begins; behind it stand the UID, or what POP3 has for one, and .eml.
func (m *message) prefix() string {
	return fmt.Sprintf("%s_w%d@example.org_letter-%d_", m.date.Format(time.DateOnly), m.uid, m.uid)
}

// header returns the header of the message with the empty line behind it, text the rest.
func (m *message) header() []byte {
	head, _, _ := bytes.Cut(m.body, []byte("\r\n\r\n"))
	return append(bytes.Clone(head), "\r\n\r\n"...)
}

func (m *message) text() []byte {
	_, text, _ := bytes.Cut(m.body, []byte("\r\n\r\n"))
	return text
}

// peer is what the scripted servers have in common: a port of this machine, connections, and what was said on them.
type peer struct {
	port     int
	listener net.Listener
	served   sync.WaitGroup

	mu       sync.Mutex // guards what follows
	thawed   *sync.Cond // signalled when frozen ends
	conns    map[net.Conn]bool
	made     int      // connections since the start
	commands []string // what clients sent since the start, without the tags of IMAP
	frozen   bool     // nothing is answered any more
	closed   bool
}

// start accepts connections until the test ends, and has serve answer each.
func (p *peer) start(t testing.TB, serve func(*conn)) {
	t.Helper()
	var err error
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	p.port = p.listener.Addr().(*net.TCPAddr).Port
	p.conns = map[net.Conn]bool{}
	p.thawed = sync.NewCond(&p.mu)
	p.served.Go(func() {
		for {
			c, err := p.listener.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.made++
			number := p.made
			p.conns[c] = true
			p.mu.Unlock()
			p.served.Go(func() {
				serve(&conn{Conn: c, r: bufio.NewReader(c), number: number, peer: p})
				c.Close()
				p.mu.Lock()
				delete(p.conns, c)
				p.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		p.listener.Close()
		p.mu.Lock()
		p.closed = true
		p.thawed.Broadcast()
		p.mu.Unlock()
		p.cut()
		p.served.Wait()
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Logf("%d connections, %d commands, the last: %.3000q", p.made, len(p.commands), p.commands[max(0, len(p.commands)-40):])
		}
	})
}

// cut ends all connections.
func (p *peer) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// freeze has every connection silent until thaw.
func (p *peer) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
}

func (p *peer) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = false
	p.thawed.Broadcast()
}

// counts returns how many connections were made, and how many commands were sent that match the pattern.
func (p *peer) counts(pattern string) (connections, commands int) {
	re := regexp.MustCompile(pattern)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.commands {
		if re.MatchString(c) {
			commands++
		}
	}
	return p.made, commands
}

// conn is one connection to a peer.
type conn struct {
	net.Conn
	r      *bufio.Reader
	out    bytes.Buffer // what flush will send
	number int          // which connection of the peer it is, from 1
	peer   *peer

	selected string // the mailbox that is open
	named    bool   // ID was sent
}

// say appends to what will be sent.
func (c *conn) say(format string, args ...any) { fmt.Fprintf(&c.out, format, args...) }

// flush sends what say appended, after a freeze if there is one. It returns false when the connection is over.
func (c *conn) flush() bool {
	c.peer.mu.Lock()
	for c.peer.frozen && !c.peer.closed {
		c.peer.thawed.Wait()
	}
	c.peer.mu.Unlock()
	_, err := c.Write(c.out.Bytes())
	c.out.Reset()
	return err == nil
}

// readLine returns the next line of the client without its end, and notes it as a command.
func (c *conn) readLine() (string, bool) {
	line, err := c.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err == nil
}

func (p *peer) note(command string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commands = append(p.commands, command)
}
