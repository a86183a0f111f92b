package faults

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pop3Peer is a small POP3 server that does nothing wrong. What a scenario has it do otherwise, it sets in one of the
// fields that are functions. They are called without mu, while a command is answered.
type pop3Peer struct {
	peer
	messages []*message // guarded by mu; a session sees those of its beginning

	// command answers a command itself and returns true. verb is in upper case; m is the message that it names, if any.
	command func(c *conn, verb, rest string, m *message) bool
	// entry returns a line of LIST or UIDL, without its end; n is the number of the message, from 1.
	entry func(verb string, n int, m *message) string
}

// entry is a line of LIST or UIDL as it should be.
func entry(verb string, n int, m *message) string {
	if verb == "LIST" {
		return fmt.Sprintf("%d %d", n, len(m.body))
	}
	return fmt.Sprintf("%d uid-%d", n, m.uid)
}

func newPOP3(messages []*message) *pop3Peer { return &pop3Peer{messages: messages, entry: entry} }

func (p *pop3Peer) start(t testing.TB) { p.peer.start(t, p.serve) }

func (p *pop3Peer) serve(c *conn) {
	c.say("+OK POP ready\r\n")
	var drop []*message // what the session sees
	for c.flush() {
		line, ok := c.readLine()
		if !ok {
			return
		}
		p.note(line)
		verb, rest, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		if verb == "PASS" {
			p.mu.Lock()
			drop = slices.Clone(p.messages)
			p.mu.Unlock()
		}
		number, lines, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(number)
		var m *message
		if err == nil && n >= 1 && n <= len(drop) {
			m = drop[n-1]
		}
		if p.command != nil && p.command(c, verb, rest, m) {
			continue
		}
		switch {
		case verb == "CAPA":
			c.say("+OK\r\nUSER\r\nUIDL\r\nTOP\r\n.\r\n")
		case verb == "STAT":
			size := 0
			for _, m := range drop {
				size += len(m.body)
			}
			c.say("+OK %d %d\r\n", len(drop), size)
		case (verb == "LIST" || verb == "UIDL") && rest == "":
			c.say("+OK\r\n")
			for i, m := range drop {
				c.say("%s\r\n", p.entry(verb, i+1, m))
			}
			c.say(".\r\n")
		case m == nil && slices.Contains([]string{"LIST", "UIDL", "RETR", "TOP"}, verb):
			c.say("-ERR no such message\r\n")
		case verb == "LIST" || verb == "UIDL":
			c.say("+OK %s\r\n", p.entry(verb, n, m))
		case verb == "RETR":
			c.say("+OK\r\n%s.\r\n", stuffed(m.body))
		case verb == "TOP":
			n, _ := strconv.Atoi(lines)
			c.say("+OK\r\n%s.\r\n", stuffed(m.top(n)))
		case verb == "QUIT":
			c.say("+OK bye\r\n")
			c.flush()
			return
		case slices.Contains([]string{"USER", "PASS", "NOOP", "RSET"}, verb):
			c.say("+OK\r\n")
		default:
			c.say("-ERR unknown command\r\n")
		}
	}
}

// top returns the header and the first lines of the text.
func (m *message) top(lines int) []byte {
	all := bytes.SplitAfter(m.text(), []byte("\r\n"))
	return append(m.header(), bytes.Join(all[:min(lines, len(all))], nil)...)
}

var dotAtStart = regexp.MustCompile(`(?m)^\.`)

// stuffed returns the bytes as POP3 sends them: with an end to the last line, and another dot before each at the start of
// a line.
func stuffed(data []byte) []byte {
	if len(data) > 0 && !bytes.HasSuffix(data, []byte("\r\n")) {
		data = append(bytes.Clone(data), "\r\n"...)
	}
	return dotAtStart.ReplaceAll(data, []byte(".."))
}
