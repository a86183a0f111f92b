package wire

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxUnnamed bounds, in bytes, a body that comes before the UID of its message, and so has to be kept until that comes.
const maxUnnamed = 64 << 20

// fetching is what is known of the FETCH responses (RFC 9051, section 7.5.2) that are being read. go-imap has to see the
// UID first, before any literal, and one response a message. Servers send the UID last, and one message in several
// responses that follow each other.
//
//	closed   no response is open: what comes next begins one
//	reading  the items of a response are being read
//	body     as reading, and a literal is on its way to go-imap
//	held     the response has ended, and go-imap has not been told: the next one may go on with the same message
type fetching struct {
	state fetchState
	seq   []byte // the number of the message in the mailbox, as it was sent
	uid   uint64 // the UID that go-imap was told; 0 before that
	named bool   // the response that is being read has told its UID
	early []byte // items of this response that came before its UID
}

type fetchState uint8

const (
	fetchClosed fetchState = iota
	fetchReading
	fetchBody
	fetchHeld
)

// begin begins to read a response about the message with the number seq. It returns what go-imap is to see before.
func (f *fetching) begin(seq []byte) (before []byte) {
	if f.state == fetchHeld && !bytes.Equal(f.seq, seq) {
		before = f.close()
	}
	if f.state != fetchHeld {
		f.uid = 0
	}
	f.seq = append(f.seq[:0], seq...)
	f.state, f.named, f.early = fetchReading, false, nil
	return before
}

// name notes the UID of the message and returns what go-imap is to see of it.
func (f *fetching) name(out []byte, uid uint64) []byte {
	switch {
	case f.uid == uid:
	case f.uid != 0 && f.named: // a second UID in one response means nothing
		return out
	case f.uid != 0:
		out = append(out, ")\r\n"...)
		fallthrough
	default:
		out = append(append(append(out, "* "...), f.seq...), " FETCH (UID "...)
		out = strconv.AppendUint(out, uid, 10)
		f.uid = uid
	}
	f.named = true
	out = append(out, f.early...)
	f.early = nil
	return out
}

// end ends the response that is being read. lost tells that it held something and no UID.
func (f *fetching) end(out []byte) (_ []byte, lost bool) {
	if f.uid == 0 {
		lost = len(f.early) > 0
		f.state = fetchClosed
		f.early = nil
		return out, lost
	}
	if !f.named { // it goes on with the message of the one before
		out = append(out, f.early...)
		f.early = nil
	}
	f.state = fetchHeld
	return out, false
}

// close returns what ends the response for go-imap.
func (f *fetching) close() []byte {
	f.state, f.uid = fetchClosed, 0
	return []byte(")\r\n")
}

// item is one data item of a FETCH response.
type item struct {
	name    string // in capitals
	section []byte // between the brackets, as it was sent; nil where there are none
	origin  []byte // of a part of a section: "<0>", or nil
}

// itemNames are the items that mailfs knows. The value of one that it does not know is skipped.
var itemNames = map[string]string{
	"UID": "UID", "FLAGS": "FLAGS", "INTERNALDATE": "INTERNALDATE", "RFC822.SIZE": "RFC822.SIZE", "MODSEQ": "MODSEQ",
	"BODY": "BODY", "BINARY": "BINARY", "BINARY.SIZE": "BINARY.SIZE", "BODYSTRUCTURE": "BODYSTRUCTURE",
	"RFC822": "RFC822", "RFC822.HEADER": "RFC822.HEADER", "RFC822.TEXT": "RFC822.TEXT",
}

// item reads the name of an item.
func (s *scanner) item() (i item) {
	start := s.pos
	for !s.atEnd() && !endsItem[s.b[s.pos]] {
		s.pos++
	}
	if name, ok := itemNames[string(s.b[start:s.pos])]; ok {
		i.name = name
	} else {
		i.name = strings.TrimSuffix(strings.ToUpper(string(s.b[start:s.pos])), ".PEEK")
	}
	if s.peek() == '[' {
		s.pos++
		open := s.pos
		for quoted := false; !s.atEnd() && (quoted || s.b[s.pos] != ']'); s.pos++ {
			if s.b[s.pos] == '"' {
				quoted = !quoted
			}
		}
		i.section = s.b[open:s.pos:s.pos]
		if s.peek() == ']' {
			s.pos++
		}
		if s.peek() == '<' {
			open := s.pos
			for !s.atEnd() && s.b[s.pos] != '>' {
				s.pos++
			}
			if s.peek() == '>' {
				s.pos++
			}
			i.origin = s.b[open:s.pos:s.pos]
		}
	}
	switch i.name {
	case "RFC822":
		i.name, i.section = "BODY", []byte{}
	case "RFC822.HEADER":
		i.name, i.section = "BODY", []byte("HEADER")
	case "RFC822.TEXT":
		i.name, i.section = "BODY", []byte("TEXT")
	}
	return i
}

// content tells whether the value of an item is content of a message, which may be large.
func (i item) content() bool { return i.section != nil && (i.name == "BODY" || i.name == "BINARY") }

var (
	sectionForm = regexp.MustCompile(`^(?:[1-9][0-9]{0,8}(?:\.[1-9][0-9]{0,8})*)?$|^(?:[1-9][0-9]{0,8}\.)*(?:HEADER|TEXT|MIME)$`)
	fieldsForm  = regexp.MustCompile(`(?i)^\s*((?:[1-9][0-9]{0,8}\.)*HEADER\.FIELDS(?:\.NOT)?)\s*\(([^()]*)\)?\s*$`)
	originForm  = regexp.MustCompile(`^<\s*([0-9]{1,10})(?:\.[0-9]*)?\s*>$`)
)

// appendHead appends the name of an item with its section as go-imap reads it. ok is false where the section makes no
// sense.
func (i item) appendHead(out []byte) (_ []byte, ok bool) {
	out = append(append(append(out, ' '), i.name...), '[')
	switch {
	case len(i.section) == 0:
	default:
		section := bytes.ToUpper(bytes.TrimSpace(i.section))
		if sectionForm.Match(section) {
			out = append(out, section...)
			break
		}
		m := fieldsForm.FindSubmatch(i.section)
		if m == nil || i.name != "BODY" {
			return out, false
		}
		out = append(append(out, bytes.ToUpper(m[1])...), " ("...)
		none := true
		for field := range bytes.FieldsSeq(bytes.ReplaceAll(m[2], []byte(`"`), nil)) {
			if !none {
				out = append(out, ' ')
			}
			out, none = appendString(out, field), false
		}
		out = append(out, ')')
	}
	out = append(out, ']')
	if i.origin != nil && i.name == "BODY" {
		m := originForm.FindSubmatch(i.origin)
		if m == nil {
			return out, false
		}
		n, ok := parseNumber(bytes.TrimLeft(m[1], "0"), max32)
		if !ok && len(bytes.Trim(m[1], "0")) > 0 {
			return out, false
		}
		out = append(strconv.AppendUint(append(out, '<'), n, 10), '>')
	}
	return out, true
}

// lastHead is the section of the last item, and its name as go-imap reads it: in a listing all have the same.
type lastHead struct {
	name            string
	section, origin []byte
	head            []byte
}

// head is item.appendHead, remembered. The caller must not append in place.
func (c *Conn) head(i item) (head []byte, ok bool) {
	last := &c.lastHead
	if last.head != nil && last.name == i.name && bytes.Equal(last.section, i.section) && bytes.Equal(last.origin, i.origin) {
		return last.head, true
	}
	if head, ok = i.appendHead(nil); !ok {
		return nil, false
	}
	*last = lastHead{i.name, bytes.Clone(i.section), bytes.Clone(i.origin), slices.Clip(head)}
	return last.head, true
}

// readFetch reads items of the response that is open until it ends, or until a literal comes that go-imap is to read as it
// arrives.
func (c *Conn) readFetch(s *scanner) error {
	f := &c.fetching
	out := c.ready
	defer func() { c.ready = out }()
	for s.err == nil {
		s.blanks()
		switch s.peek() {
		case 0:
			if !s.atEnd() {
				s.pos++
				continue
			}
			if size, ok := literalAfter(s.b); ok { // where none was looked for
				if err := c.discard(size); err != nil {
					return err
				}
				if err := c.nextLine(s); err != nil {
					return err
				}
				continue
			}
			var lost bool
			if out, lost = f.end(out); lost {
				c.answers.misunderstood("FETCH", s.b)
			}
			return nil
		case '(', ')', '[', ']': // the end of the list, or one that does not belong there
			s.pos++
			continue
		case '"', '{':
			at := s.pos
			if s.value(0); s.pos == at {
				s.pos++
			}
			continue
		}
		i := s.item()
		s.blanks()
		if i.content() {
			streamed, err := c.readContent(s, i, &out)
			if streamed || err != nil {
				return err
			}
			continue
		}
		if i.name == "UID" {
			if uid, ok := parseNumber(s.atom(), max32); ok && uid > 0 {
				out = f.name(out, uid)
			} else {
				c.answers.misunderstood("FETCH", s.b)
			}
			continue
		}
		if size, ok := s.announced(); ok && itemNames[i.name] == "" { // it may be large
			if err := c.discard(size); err != nil {
				return err
			}
			if err := c.nextLine(s); err != nil {
				return err
			}
			continue
		}
		to := &f.early
		if f.named {
			to = &out
		}
		before := len(*to)
		var ok bool
		if *to, ok = s.simpleItem(*to, i); !ok {
			c.answers.misunderstood("FETCH", s.b)
		}
		if c.size += int64(len(*to) - before); c.size > maxLine {
			return c.end(fmt.Errorf("%w: a response of more than %d bytes", ErrUnparsable, maxLine))
		}
	}
	return s.err
}

// nextLine has s go on with the next line of the response.
func (c *Conn) nextLine(s *scanner) error {
	end, err := c.line(0)
	if err != nil {
		return err
	}
	s.b, s.pos, s.owned = bytes.Clone(c.buf[c.r:c.r+end]), 0, true
	c.r += end
	if c.size += int64(end); c.size > maxLine {
		return c.end(fmt.Errorf("%w: a response of more than %d bytes", ErrUnparsable, maxLine))
	}
	return nil
}

// readContent reads the content of a body section. streamed tells that its literal follows, which go-imap reads as it
// arrives.
func (c *Conn) readContent(s *scanner, i item, out *[]byte) (streamed bool, err error) {
	f := &c.fetching
	head, ok := c.head(i)
	if !ok {
		c.answers.misunderstood("FETCH", s.b)
	}
	size, literal := s.announced()
	if literal && (size < 0 || size > maxBody) {
		return false, c.end(fmt.Errorf("%w: a literal of more than %d bytes", ErrUnparsable, int64(maxBody)))
	}
	if literal && ok && f.named {
		*out = append(append(*out, head...), " {"...)
		*out = append(strconv.AppendInt(*out, size, 10), "}\r\n"...)
		c.literal, f.state = size, fetchBody
		return true, nil
	}
	if literal && (!ok || size > maxUnnamed) {
		if ok {
			c.answers.misunderstood("FETCH", s.b)
		}
		if err := c.discard(size); err != nil {
			return false, err
		}
		return false, c.nextLine(s)
	}
	if literal {
		c.buffering = true // a body, which may be larger than other strings
	}
	v := s.value(0)
	c.buffering = false
	if !ok || s.err != nil {
		return false, nil
	}
	switch {
	case v.kind == listValue, v.kind == atomValue && !v.isNIL():
		c.answers.misunderstood("FETCH", s.b)
		return false, nil
	case v.kind == atomValue:
		head = append(head, " NIL"...)
	default:
		head = append(strconv.AppendInt(append(head, " {"...), int64(len(v.text)), 10), "}\r\n"...)
		head = append(head, v.text...)
	}
	if f.named {
		*out = append(*out, head...)
	} else {
		f.early = append(f.early, head...)
	}
	return false, nil
}

// simpleItem reads the value of an item that is neither a UID nor content, and appends the item as go-imap reads it, with a
// blank before it; nothing for an item that go-imap is not to see. ok is false where the value of one that mailfs knows
// makes no sense.
func (s *scanner) simpleItem(out []byte, i item) (_ []byte, ok bool) {
	switch i.name {
	case "FLAGS":
		out, _ = s.flagList(append(out, " FLAGS "...))
		return out, true
	case "RFC822.SIZE":
		n, ok := parseNumber(s.atom(), max63)
		if !ok {
			return out, false
		}
		return strconv.AppendUint(append(out, " RFC822.SIZE "...), n, 10), true
	case "INTERNALDATE":
		return s.appendDate(append(out, " INTERNALDATE "...)), true
	case "MODSEQ":
		v := s.value(0)
		if len(v.items) > 0 {
			v = v.items[0]
		}
		n, ok := parseNumber(v.text, max63)
		if !ok {
			return out, false
		}
		return append(strconv.AppendUint(append(out, " MODSEQ ("...), n, 10), ')'), true
	case "BODY", "BODYSTRUCTURE":
		v := s.value(0)
		structure, ok := appendStructure(nil, v)
		if !ok {
			structure = []byte(noStructure)
		}
		return append(append(out, " BODYSTRUCTURE "...), structure...), ok
	case "BINARY.SIZE":
		head, ok := i.appendHead(nil)
		n, ok2 := parseNumber(s.value(0).text, max32)
		if !ok || !ok2 {
			return out, false
		}
		return strconv.AppendUint(append(append(out, head...), ' '), n, 10), true
	}
	at := s.pos
	if _, known := itemNames[s.item().name]; known { // this one has no value
		s.pos = at
		return out, true
	}
	s.pos = at
	if s.value(0); s.pos == at && !s.atEnd() && s.peek() != ')' {
		s.pos++
	}
	return out, true
}

// NoDate stands for an INTERNALDATE that can't be read, for which go-imap would end the connection.
var NoDate = time.Unix(0, 0)

const (
	dateForm    = "_2-Jan-2006 15:04:05 -0700"
	dateStandIn = `"01-Jan-1970 00:00:00 +0000"`
)

// dateForms are other forms of dates that servers send.
var dateForms = []string{
	"2-Jan-2006 15:04:05", "_2-Jan-2006 15:04:05 MST", time.RFC1123Z, "2 Jan 2006 15:04:05 -0700", time.RFC3339,
	"2006-01-02 15:04:05 -0700",
}

var bareDate = regexp.MustCompile(`^[0-9]{1,2}-[A-Za-z]{3}-[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}(?: [+-][0-9]{4})?`)

// appendDate reads an INTERNALDATE and appends it with quotes as go-imap reads it, or NoDate for one that can't be read.
func (s *scanner) appendDate(out []byte) []byte {
	if c := s.peek(); '0' <= c && c <= '9' {
		if bare := bareDate.Find(s.b[s.pos:]); bare != nil {
			s.pos += len(bare)
			return appendDate(out, bare)
		}
	}
	v := s.value(0)
	if v.kind != stringValue {
		return append(out, dateStandIn...)
	}
	return appendDate(out, v.text)
}

func appendDate(out, text []byte) []byte {
	if isPlainDate(text) {
		return append(append(append(out, '"'), text...), '"')
	}
	t, err := time.Parse(dateForm, string(text))
	if err == nil && t.Year() > 1 {
		return appendString(out, text)
	}
	trimmed := strings.Join(strings.Fields(string(text)), " ")
	for _, form := range append([]string{dateForm}, dateForms...) {
		if t, err := time.Parse(form, trimmed); err == nil && t.Year() > 1 && t.Year() < 10000 {
			return appendString(out, []byte(t.Format(dateForm)))
		}
	}
	return append(out, dateStandIn...)
}

// isPlainDate tells whether a date is as the grammar has it and on a day that every month has, without the cost of
// time.Parse, which was a third of that of a listing.
func isPlainDate(text []byte) bool {
	const form = "00-aaa-0000 00:00:00 +0000"
	if len(text) != len(form) {
		return false
	}
	for i, c := range []byte(form) {
		is := text[i]
		switch {
		case c == '0' && (is < '0' || is > '9') && (i > 0 || is != ' '), c == '+' && is != '+' && is != '-',
			c != '0' && c != 'a' && c != '+' && is != c:
			return false
		}
	}
	two := func(i int) int { return int(text[i]&0x0f)*10 + int(text[i+1]-'0') } // a blank counts as 0
	day, hour, minute, second, zone := two(0), two(12), two(15), two(18), two(22)
	month := bytes.Index([]byte("JanFebMarAprMayJunJulAugSepOctNovDec"), text[3:6])
	return day >= 1 && day <= 28 && month%3 == 0 && hour < 24 && minute < 60 && second < 60 && zone < 24 && two(24) < 60 &&
		text[7] >= '1'
}
