package faults

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mailbox is a mailbox of an IMAP peer.
type mailbox struct {
	validity uint32
	next     uint32
	messages []*message // in the order of UIDs
}

// imapPeer is a small IMAP4rev1 server that does nothing wrong. What a scenario has it do otherwise, it sets in one of the
// fields that are functions. They are called without mu, while a command is answered.
type imapPeer struct {
	peer
	greeting, caps string
	boxes          map[string]*mailbox // guarded by mu

	// command answers a command itself and returns true. verb is in upper case, with the UID before it.
	command func(c *conn, tag, verb, rest string) bool
	// line returns what is sent in place of a line that is no FETCH response. The line has its end.
	line func(line string) string
	// row returns what is sent in place of a FETCH response; n is the number of the message, from 1.
	row func(n int, m *message, items []item) string
	// structure returns a BODYSTRUCTURE.
	structure func(m *message) string
}

// item is one data item of a FETCH response as it is sent.
type item struct{ name, value string }

// fetched is a FETCH response as it should be.
func fetched(n int, items []item) string {
	var words []string
	for _, i := range items {
		words = append(words, i.name+" "+i.value)
	}
	return fmt.Sprintf("* %d FETCH (%s)\r\n", n, strings.Join(words, " "))
}

func newIMAP(messages []*message) *imapPeer {
	next := uint32(1)
	for _, m := range messages {
		next = max(next, m.uid+1)
	}
	return &imapPeer{
		greeting: "* OK IMAP ready\r\n", caps: "IMAP4rev1 UIDPLUS",
		boxes: map[string]*mailbox{"INBOX": {validity: 77, next: next, messages: messages}},
		line:  func(line string) string { return line },
		row:   func(n int, _ *message, items []item) string { return fetched(n, items) },
		structure: func(m *message) string {
			return fmt.Sprintf(`("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" %d 1 NIL NIL NIL NIL)`, len(m.text()))
		},
	}
}

func (p *imapPeer) start(t testing.TB) { p.peer.start(t, p.serve) }

var literalAtEnd = regexp.MustCompile(`\{(\d+)(\+?)\}$`)

func (p *imapPeer) serve(c *conn) {
	c.say("%s", p.greeting)
	for c.flush() {
		line, ok := c.readLine()
		for m := literalAtEnd.FindStringSubmatch(line); m != nil && ok; m = literalAtEnd.FindStringSubmatch(line) {
			if m[2] == "" {
				c.say("+ more\r\n")
				c.flush()
			}
			n, _ := strconv.Atoi(m[1])
			literal := make([]byte, n)
			io.ReadFull(c.r, literal)
			var rest string
			rest, ok = c.readLine()
			line = strings.TrimSuffix(line, m[0]) + quoted(string(literal)) + rest
		}
		if !ok {
			return
		}
		tag, rest, _ := strings.Cut(line, " ")
		p.note(rest)
		verb, rest, _ := strings.Cut(rest, " ")
		verb = strings.ToUpper(verb)
		if verb == "UID" {
			verb, rest, _ = strings.Cut(rest, " ")
			verb = "UID " + strings.ToUpper(verb)
		}
		if p.command != nil && p.command(c, tag, verb, rest) {
			continue
		}
		c.say("%s", p.line(tag+" "+p.answer(c, verb, rest)+"\r\n"))
		if verb == "LOGOUT" {
			c.flush()
			return
		}
	}
}

// answer sends the untagged responses to a command and returns the tagged one.
func (p *imapPeer) answer(c *conn, verb, rest string) string {
	switch verb {
	case "CAPABILITY":
		c.say("%s", p.line("* CAPABILITY "+p.caps+"\r\n"))
	case "AUTHENTICATE":
		mechanism, _, initial := strings.Cut(rest, " ")
		challenges := 1
		if strings.EqualFold(mechanism, "LOGIN") {
			challenges = 2
		}
		if initial {
			challenges--
		}
		for range challenges {
			c.say("+ \r\n")
			c.flush()
			c.readLine()
		}
	case "ID":
		c.named = true
		c.say("* ID NIL\r\n")
	case "LIST":
		if strings.HasSuffix(rest, `""`) {
			c.say("* LIST (\\Noselect) \"/\" \"\"\r\n")
			break
		}
		var lines strings.Builder
		for _, name := range p.names() {
			lines.WriteString(p.line(fmt.Sprintf("* LIST (\\HasNoChildren) \"/\" %s\r\n", quoted(name))))
		}
		c.say("%s", lines.String())
	case "NAMESPACE":
		c.say("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n")
	case "SELECT", "EXAMINE":
		c.selected = ""
		name := unquoted(rest)
		b, ok := p.box(name)
		if !ok {
			return "NO [NONEXISTENT] no such mailbox"
		}
		c.selected = name
		for _, line := range []string{
			`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)`, fmt.Sprintf("* %d EXISTS", len(b.messages)), "* 0 RECENT",
			fmt.Sprintf("* OK [UIDVALIDITY %d] ok", b.validity), fmt.Sprintf("* OK [UIDNEXT %d] ok", b.next),
			`* OK [PERMANENTFLAGS (\Seen \*)] ok`,
		} {
			c.say("%s", p.line(line+"\r\n"))
		}
		return "OK [READ-ONLY] completed"
	case "STATUS":
		name, _, _ := strings.Cut(rest, " (")
		b, ok := p.box(unquoted(name))
		if !ok {
			return "NO [NONEXISTENT] no such mailbox"
		}
		c.say("%s", p.line(fmt.Sprintf("* STATUS %s (MESSAGES %d UIDNEXT %d UIDVALIDITY %d)\r\n", name, len(b.messages), b.next, b.validity)))
	case "UID SEARCH":
		b, ok := p.box(c.selected)
		if !ok {
			return "NO no mailbox is open"
		}
		set := "1:*"
		if m := regexp.MustCompile(`UID ([\d:,*]+)`).FindStringSubmatch(rest); m != nil {
			set = m[1]
		}
		c.say("* SEARCH")
		for _, m := range b.messages {
			if within(set, m.uid) {
				c.say(" %d", m.uid)
			}
		}
		c.say("\r\n")
	case "UID FETCH":
		b, ok := p.box(c.selected)
		if !ok {
			return "NO no mailbox is open"
		}
		set, want, _ := strings.Cut(rest, " ")
		for i, m := range b.messages {
			if within(set, m.uid) {
				c.say("%s", p.row(i+1, m, p.items(m, want)))
			}
		}
	case "LOGOUT":
		c.say("* BYE bye\r\n")
	case "LOGIN", "NOOP", "ENABLE", "CLOSE", "UNSELECT":
	default:
		return "BAD unknown command"
	}
	return "OK completed"
}

// box returns a copy of a mailbox as it is now.
func (p *imapPeer) box(name string) (mailbox, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.boxes[name]
	if !ok {
		return mailbox{}, false
	}
	return mailbox{b.validity, b.next, slices.Clone(b.messages)}, true
}

func (p *imapPeer) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for name := range p.boxes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var wanted = regexp.MustCompile(`[A-Za-z0-9.]+(?:\[[^\]]*\](?:<(\d+)\.(\d+)>)?)?`)

// items returns the data items of a message that a FETCH asks for, and the UID.
func (p *imapPeer) items(m *message, want string) []item {
	items := []item{{"UID", strconv.Itoa(int(m.uid))}}
	for _, w := range wanted.FindAllStringSubmatch(want, -1) {
		switch name := strings.ToUpper(w[0]); {
		case name == "FLAGS":
			items = append(items, item{name, "(" + m.flags + ")"})
		case name == "INTERNALDATE":
			items = append(items, item{name, m.date.Format(`"_2-Jan-2006 15:04:05 -0700"`)})
		case name == "RFC822.SIZE":
			items = append(items, item{name, strconv.Itoa(len(m.body))})
		case name == "BODYSTRUCTURE":
			items = append(items, item{name, p.structure(m)})
		case strings.HasPrefix(name, "BODY"):
			section := w[0][strings.IndexByte(w[0], '['):]
			section = section[:strings.IndexByte(section, ']')+1]
			data, origin := m.section(section), ""
			if w[1] != "" {
				offset, _ := strconv.Atoi(w[1])
				length, _ := strconv.Atoi(w[2])
				data = data[min(offset, len(data)):]
				data, origin = data[:min(length, len(data))], "<"+w[1]+">"
			}
			items = append(items, item{"BODY" + section + origin, literal(data)})
		}
	}
	return items
}

// section returns the bytes of a section, given in its brackets.
func (m *message) section(section string) []byte {
	switch name := strings.ToUpper(section); {
	case name == "[]":
		return m.body
	case strings.HasPrefix(name, "[HEADER.FIELDS "):
		asked := strings.Fields(strings.NewReplacer("(", "", ")", "", "]", "", `"`, "").Replace(name[len("[HEADER.FIELDS "):]))
		var fields strings.Builder
		unfolded := regexp.MustCompile(`\r\n[ \t]`).ReplaceAllString(string(m.header()), "\x00")
		for f := range strings.SplitAfterSeq(unfolded, "\r\n") {
			key, _, _ := strings.Cut(f, ":")
			if f == "\r\n" || slices.Contains(asked, strings.ToUpper(key)) {
				fields.WriteString(strings.ReplaceAll(f, "\x00", "\r\n "))
			}
		}
		return []byte(fields.String())
	case name == "[HEADER]":
		return m.header()
	}
	return m.text()
}

func literal(data []byte) string { return fmt.Sprintf("{%d}\r\n%s", len(data), data) }

func quoted(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

// unquoted returns the name of a mailbox that is an atom or a quoted string, in the order of a command.
func unquoted(s string) string {
	s, _, _ = strings.Cut(s, " (")
	return strings.Trim(s, `"`)
}

// within tells whether a UID is in a set as clients write it.
func within(set string, uid uint32) bool {
	for part := range strings.SplitSeq(set, ",") {
		first, last, isRange := strings.Cut(part, ":")
		if !isRange {
			last = first
		}
		a, _ := strconv.ParseUint(first, 10, 32)
		z, err := strconv.ParseUint(last, 10, 32)
		if err != nil {
			z = 1<<32 - 1
		}
		if uint64(uid) >= a && uint64(uid) <= z {
			return true
		}
	}
	return false
}

// forAWhile returns a function that is true from its first call on for as long as d.
func forAWhile(d time.Duration) func() bool {
	once := make(chan time.Time, 1)
	return func() bool {
		var until time.Time
		select {
		case until = <-once:
		default:
			until = time.Now().Add(d)
		}
		once <- until
		return time.Now().Before(until)
	}
}
