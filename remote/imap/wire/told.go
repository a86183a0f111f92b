package wire

import (
	"bytes"
	"sync"
	"sync/atomic"

	"github.com/mailfs/mailfs/remote"
)

// tags are the tags of the commands that go-imap has sent and that were not answered yet. go-imap ends the connection over a
// response with any other tag.
type tags struct {
	mu   sync.Mutex // guards what follows
	open map[string]bool
	last string // tag of the command that was sent last
	mid  bool   // what was written last did not end a line
	// invited says that go-imap waits for a continuation request (RFC 9051, section 7.6): behind AUTHENTICATE and each answer
	// to a challenge, IDLE, and the announcement of a literal. go-imap ends the connection over any other.
	invited bool
}

// sent notes the tags of commands on their way to the server.
func (t *tags) sent(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range bytes.Lines(p) {
		tag, command, ok := bytes.Cut(line, []byte(" "))
		command = bytes.TrimRight(command, "\r\n")
		if !t.mid && ok && len(tag) > 1 && tag[0] == 'T' && digits(tag[1:]) == len(tag)-1 {
			if t.open == nil {
				t.open = map[string]bool{}
			}
			t.open[string(tag)], t.last = true, string(tag)
			t.invited = bytes.HasPrefix(command, []byte("AUTHENTICATE ")) || bytes.Equal(command, []byte("IDLE"))
		} else if !t.mid { // behind a literal, or an answer to a challenge
			t.invited = true
		}
		t.invited = t.invited || bytes.HasSuffix(command, []byte("}")) && !bytes.HasSuffix(command, []byte("+}"))
		t.mid = line[len(line)-1] != '\n'
	}
}

// answered tells whether a command with the tag waits for its answer, which it does not from then on.
func (t *tags) answered(tag string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.open[tag]
	delete(t.open, tag)
	t.invited = t.invited && !(was && tag == t.last) // a command before may be answered after this one was sent
	return was
}

// invitation tells whether go-imap waits for a continuation request, which it does not from then on.
func (t *tags) invitation() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.invited
	t.invited = false
	return was
}

// told is what the server has said that go-imap does not tell.
type told struct {
	exists        atomic.Bool  // EXISTS has come since the last EXAMINE
	rejected      atomic.Int32 // commands in a row that were answered with BAD
	misunderstood sync.Map     // word of a response -> *atomic.Int64: how many could not be understood
}

// noteCommands notes what commands are sent.
func (c *Conn) noteCommands(p []byte) {
	c.tags.sent(p)
	if bytes.Contains(p, []byte(" EXAMINE ")) {
		c.told.exists.Store(false)
	}
}

func (c *Conn) noteExists() { c.told.exists.Store(true) }

// Counted tells whether the server has said how many messages there are in the mailbox that was opened last.
func (c *Conn) Counted() bool { return c.told.exists.Load() }

// Rejected returns how many commands in a row the server has answered with BAD.
func (c *Conn) Rejected() int { return int(c.told.rejected.Load()) }

// noteAnswer notes how a command was answered.
func (c *Conn) noteAnswer(condition string) {
	if condition == "BAD" {
		c.told.rejected.Add(1)
	} else {
		c.told.rejected.Store(0)
	}
}

// Misunderstood returns how many responses with these words, or data in them, could not be understood so far. Where the
// number has grown during a command, the answer to the command may be incomplete.
func (c *Conn) Misunderstood(words ...string) (n int64) {
	for _, word := range words {
		if count, ok := c.told.misunderstood.Load(word); ok {
			n += count.(*atomic.Int64).Load()
		}
	}
	return n
}

// noteMisunderstood counts what could not be understood, and logs it: the first of each kind of response as a warning.
func (c *Conn) noteMisunderstood(word string, said []byte) {
	count, twice := c.told.misunderstood.LoadOrStore(word, new(atomic.Int64))
	count.(*atomic.Int64).Add(1)
	log := c.log.Debug
	if !twice {
		log = c.log.Warn
	}
	log("the server says what can't be understood; it is left out", "response", word,
		"said", remote.Shorten(string(bytes.TrimSpace(said[:min(len(said), 500)]))))
}
