package pop3

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	client "github.com/knadh/go-pop3"

	"github.com/mailfs/mailfs/remote"
)

// session is one signed-in connection. The server keeps the maildrop locked, and as it is, until it ends (RFC 1939,
// section 4).
type session struct {
	conn  *conn
	lib   *client.Conn
	uncut func() bool // has the end of the account no longer end the session

	// capabilities by name, in upper case, with their arguments (RFC 2449). Empty when the server does not tell.
	capabilities map[string][]string
	window       int  // commands that may wait for their answers
	alone        bool // one command at a time, since an answer has ended before its size
	overlapped   bool // an answer came whole while others were waited for: pipelining works

	line  []*sent // requests that were sent and whose answers are not delivered yet, in the order of the answers
	stale bool    // a request waits for a session that began later

	drop   *maildrop
	opened time.Time // the maildrop was as drop has it at some time after opened
	synced bool      // a Sync was answered from drop, so that another one needs a later session
}

// end closes the connection.
func (s *session) end() {
	s.uncut()
	s.conn.Close()
}

// send sends a command without waiting for the answer.
func (s *session) send(x *exchange) error {
	s.conn.expect(x)
	if err := s.lib.Send(x.command); err != nil {
		return s.broken(x, err)
	}
	return nil
}

// receive waits for the answer to the command that was sent first. Its error is the end of the session; a refusal is not an
// error.
func (s *session) receive(x *exchange) error {
	said, err := s.lib.ReadOne()
	switch {
	case x.refused && err != nil:
		x.said = err.Error()
		return nil
	case err != nil:
		return s.broken(x, err)
	}
	x.said = string(said)
	if !x.multi {
		return nil
	}
	if _, err := s.lib.ReadAll(); err != nil { // it reads nothing: conn has put the content into x.answer
		return s.broken(x, err)
	}
	return nil
}

// broken returns the error for a session that ended while the answer to x was waited for.
func (s *session) broken(x *exchange, err error) error {
	if s.conn.err != nil {
		err = s.conn.err
	}
	return fmt.Errorf("waiting for the answer to %s: %w", x.verb(), err)
}

// ask sends commands and waits for their answers. The commands go out together where the server allows it.
func (s *session) ask(commands ...*exchange) error {
	for len(commands) > 0 {
		n := min(len(commands), s.window)
		for _, x := range commands[:n] {
			if err := s.send(x); err != nil {
				return err
			}
		}
		for _, x := range commands[:n] {
			if err := s.receive(x); err != nil {
				return err
			}
		}
		commands = commands[n:]
	}
	return nil
}

// realign finds out where the answers of the server are after one that ended before its size: an end that is none, as a lone dot
// that was not stuffed, is followed by the rest of the message, which could pass for other answers. The answer to LIST of
// another message, which the sender of this one does not know, ends all doubt. skipped is how many bytes came before it. An
// error is the end of the session.
func (s *session) realign(after message) (skipped int64, err error) {
	var marks []message
	for _, m := range s.drop.messages {
		if m.size > 0 && (m.uid != after.uid || len(s.drop.messages) == 1) {
			marks = append(marks, m)
		}
	}
	if len(marks) == 0 {
		return 0, fmt.Errorf("%w: an answer ended too early", remote.ErrLost)
	}
	mark := marks[rand.N(len(marks))]
	x := &exchange{command: fmt.Sprintf("LIST %d", mark.number)}
	s.conn.realign(x, func(line string) bool {
		if len(line) < 3 || !strings.EqualFold(line[:3], "+OK") {
			return false
		}
		number, text, ok := parseEntry(line[3:])
		size, sized := parseSize(text)
		return ok && sized && number == mark.number && size == mark.size
	})
	if err := s.lib.Send(x.command); err != nil {
		return 0, s.broken(x, err)
	}
	if err := s.receive(x); err != nil {
		return 0, err
	}
	return s.conn.skipped, nil
}

// capa asks what the server can do (RFC 2449, section 5). Many an old server does not know the question.
func (s *session) capa() error {
	x := &exchange{command: "CAPA", multi: true}
	if err := s.ask(x); err != nil {
		return err
	}
	s.capabilities = map[string][]string{}
	for line := range strings.Lines(string(x.answer)) {
		if f := strings.Fields(strings.ToUpper(line)); len(f) > 0 {
			s.capabilities[f[0]] = f[1:]
		}
	}
	return nil
}

// capabilityNames returns the capabilities in order, each with its arguments.
func (s *session) capabilityNames() []string {
	list := make([]string, 0, len(s.capabilities))
	for name, arguments := range s.capabilities {
		list = append(list, strings.Join(append([]string{name}, arguments...), " "))
	}
	slices.Sort(list)
	return list
}

func (s *session) has(capability string) bool {
	_, ok := s.capabilities[capability]
	return ok
}

// quitTime bounds the wait for the answer to QUIT, which only tells that the lock is gone.
const quitTime = 2 * time.Second

// quit ends the session with QUIT. Nothing was deleted, so that only the end of the lock depends on it.
func (s *session) quit() {
	s.conn.ahead = nil
	s.conn.cut(time.Now().Add(quitTime))
	s.conn.expect(&exchange{command: "QUIT"})
	_ = s.lib.Quit() // the session is over either way
}

// refusal is the error for a refused command: ErrUnavailable where the server says that it might do it later.
func (x *exchange) refusal() error {
	kind := remote.ErrServer
	if forNow(x.said) {
		kind = remote.ErrUnavailable
	}
	return fmt.Errorf("%w: the server answers %q to %s", kind, remote.Shorten(x.said), x.verb())
}

// forNow tells whether a refusal may be over later: by its code (RFC 2449, section 8.1; RFC 3206, section 4), or by its words
// where it has no code.
func forNow(said string) bool {
	switch c := code(said); c {
	case "SYS/TEMP", "IN-USE", "LOGIN-DELAY":
		return true
	case "":
		return mentions(said, "try again", "try later", "again later", "temporar", "not available", "unavailable", "busy", "not now")
	default:
		return false
	}
}

// gone tells whether a refusal says that there is no message with the number that the command names.
func gone(said string) bool {
	return !forNow(said) && mentions(said, "no such", "no message", "not exist", "n't exist", "not found", "deleted", "expunged",
		"unknown message", "invalid message", "bad message", "illegal message", "out of range")
}

// mentions tells whether a text holds one of some words, which are in lower case.
func mentions(text string, words ...string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// code returns the response code at the start of what the server said (RFC 2449, section 8), in upper case, without
// its brackets: "IN-USE", "SYS/TEMP".
func code(said string) string {
	if !strings.HasPrefix(said, "[") {
		return ""
	}
	inside, _, ok := strings.Cut(said[1:], "]")
	if !ok {
		return ""
	}
	return strings.ToUpper(inside)
}
