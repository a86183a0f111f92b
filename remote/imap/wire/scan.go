package wire

import (
	"bytes"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// A scanner reads the data of one response (RFC 9051, section 4) as servers send them, which is more than the grammar
// allows: blanks doubled or missing, atoms where a string belongs, lists that do not end. A scanner never fails: it returns
// what it can't read as an empty atom, and the caller decides what that costs.
type scanner struct {
	b   []byte // a line, or the lines of one response with the literals between them
	pos int    // of the next byte in b
	// conn receives the literal that b announces at its end, and the line after it. It is nil for a part of a response, in
	// which there is none.
	conn  *Conn
	owned bool  // b is the response's own, not part of the buffer that conn receives into
	err   error // of conn: the end of the connection
}

type valueKind uint8

const (
	atomValue valueKind = iota
	stringValue
	listValue
)

// value is one datum.
type value struct {
	kind  valueKind
	text  []byte  // of an atom as it was sent, of a string without its quotes
	items []value // of a list
}

// maxDepth is how deep lists may be nested; a deeper one is read as empty. go-imap has a limit of 1000.
const maxDepth = 200

// blanks skips blanks, and the other bytes that servers send in place of blanks, such as tabs.
func (s *scanner) blanks() {
	for !s.atEnd() && isBlank[s.b[s.pos]] {
		s.pos++
	}
}

// peek returns the next byte; 0 at the end of the response.
func (s *scanner) peek() byte {
	if s.atEnd() {
		return 0
	}
	return s.b[s.pos]
}

// atEnd tells whether the response ends here. A line that ends within a response ends it too.
func (s *scanner) atEnd() bool {
	return s.pos >= len(s.b) || s.b[s.pos] == '\n' || s.b[s.pos] == '\r' && (s.pos+1 >= len(s.b) || s.b[s.pos+1] == '\n')
}

// rest returns the bytes up to the end of the line, and skips them.
func (s *scanner) rest() []byte {
	start := s.pos
	for !s.atEnd() {
		s.pos++
	}
	return s.b[start:s.pos]
}

// atom returns the bytes up to a blank, a parenthesis, a quote or the end of the line.
func (s *scanner) atom() []byte {
	start := s.pos
	for !s.atEnd() && !endsAtom[s.b[s.pos]] {
		s.pos++
	}
	return s.b[start:s.pos]
}

// Bytes that separate data, that end an atom, that end the name of a data item, and that may not be in an atom for go-imap.
var (
	isBlank   = set(" \t\r\x00")
	endsAtom  = set(" \t\r\x00()\"")
	endsItem  = set(" \t\r\x00()[\"{")
	notInAtom = controls(set(` (){%*"\]`))
)

func set(bytes string) (in [256]bool) {
	for _, b := range []byte(bytes) {
		in[b] = true
	}
	return in
}

// controls adds the control characters of ISO 8859-1, for which go-imap takes such bytes.
func controls(in [256]bool) [256]bool {
	for b := range in {
		in[b] = in[b] || b < ' ' || 0x7f <= b && b < 0xa0
	}
	return in
}

// quoted returns the string whose opening quote comes next; its end is the end of the line if there is no closing quote.
func (s *scanner) quoted() []byte {
	s.pos++
	start, plain := s.pos, true
	for ; !s.atEnd() && s.b[s.pos] != '"'; s.pos++ {
		if s.b[s.pos] == '\\' {
			plain = false
			if s.pos++; s.atEnd() {
				break
			}
		}
	}
	text := s.b[start:s.pos]
	if s.peek() == '"' {
		s.pos++
	}
	if plain {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		out = append(out, text[i])
	}
	return out
}

// announced returns the size of the literal that is announced here, with or without the mark of a literal8 or of one that
// does not synchronise. The announcement must end the line. ok is false where there is none.
func (s *scanner) announced() (size int64, ok bool) {
	b := bytes.TrimPrefix(s.b[s.pos:], []byte("~"))
	if len(b) == 0 || b[0] != '{' {
		return 0, false
	}
	n := 1 + digits(b[1:])
	if n == 1 || n >= len(b) {
		return 0, false
	}
	end := bytes.TrimPrefix(b[n:], []byte("+"))
	if len(end) == 0 || end[0] != '}' {
		return 0, false
	}
	if end = bytes.TrimPrefix(end[1:], []byte("\r")); len(end) == 0 || end[0] != '\n' {
		return 0, false
	}
	size, err := strconv.ParseInt(string(b[1:n]), 10, 64)
	if err != nil {
		size = -1 // of which no limit allows that much
	}
	return size, true
}

// literal returns the literal that is announced here with size bytes.
func (s *scanner) literal(size int64) []byte {
	eol := bytes.IndexByte(s.b[s.pos:], '\n')
	start := s.pos + eol + 1
	if start == len(s.b) && s.err == nil && s.conn != nil {
		s.err = s.conn.receiveLiteral(s, size)
	}
	if size < 0 || int64(len(s.b)-start) < size {
		s.pos = len(s.b)
		return nil
	}
	s.pos = start + int(size)
	return s.b[start:s.pos:s.pos]
}

// value reads one datum. depth is how many lists it is in.
func (s *scanner) value(depth int) value {
	s.blanks()
	switch c := s.peek(); c {
	case '"':
		return value{kind: stringValue, text: s.quoted()}
	case '{', '~':
		if size, ok := s.announced(); ok {
			return value{kind: stringValue, text: s.literal(size)}
		}
	case '(':
		return s.list(depth)
	case ')':
		return value{}
	}
	return value{text: s.atom()}
}

// list reads the list whose parenthesis comes next. A list that does not end does so at the end of the line.
func (s *scanner) list(depth int) value {
	v := value{kind: listValue}
	s.pos++
	for {
		s.blanks()
		if s.atEnd() || s.err != nil {
			return v
		}
		if s.peek() == ')' {
			s.pos++
			return v
		}
		at := s.pos
		item := s.value(depth + 1)
		if s.pos == at { // a byte that begins nothing
			s.pos++
			continue
		}
		if depth < maxDepth {
			v.items = append(v.items, item)
		}
	}
}

// appendDelimiter appends a hierarchy delimiter as a quoted string, or NIL for what can't be one.
func appendDelimiter(out []byte, v value) []byte {
	delimiter, size := utf8.DecodeRune(v.text)
	if v.kind == listValue || v.isNIL() || size == 0 || size != len(v.text) || delimiter == utf8.RuneError || !unicode.IsPrint(delimiter) {
		return append(out, "NIL"...)
	}
	return appendString(out, v.text)
}

// isNIL tells whether a value is the atom NIL.
func (v value) isNIL() bool { return v.kind == atomValue && bytes.EqualFold(v.text, []byte("NIL")) }

// parseNumber reads a number of at most limit. ok is false for anything else.
func parseNumber(text []byte, limit uint64) (n uint64, ok bool) {
	if len(text) == 0 || len(text) > 19 { // of which every one fits
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, n <= limit
}

// Limits of numbers.
const (
	max32 = 1<<32 - 1
	max63 = 1<<63 - 1
)

// isAtom tells whether go-imap reads a text as one atom.
func isAtom(text []byte) bool {
	for _, c := range text {
		if notInAtom[c] {
			return false
		}
	}
	return len(text) > 0
}

// isFlag tells whether go-imap reads a text as a flag (RFC 9051, section 9: flag, flag-perm).
func isFlag(text []byte) bool {
	if string(text) == `\*` {
		return true
	}
	return isAtom(bytes.TrimPrefix(text, []byte(`\`)))
}

// flagList appends the list of flags that comes next, without those that go-imap can't read, and returns how many these
// were. Flags are what stands between blanks: they have been seen with quotes, brackets and parentheses in them.
func (s *scanner) flagList(out []byte) (_ []byte, dropped int) {
	s.blanks()
	out = append(out, '(')
	if s.peek() != '(' {
		s.atom()
		return append(out, ')'), 0
	}
	s.pos++
	none := true
	for depth := 0; ; {
		s.blanks()
		if s.atEnd() || s.err != nil {
			break
		}
		if s.peek() == ')' && depth == 0 {
			s.pos++
			break
		}
		if size, ok := s.announced(); ok {
			s.literal(size)
			dropped++
			continue
		}
		start := s.pos
		for !s.atEnd() && !isBlank[s.b[s.pos]] && (s.b[s.pos] != ')' || depth > 0) {
			switch s.b[s.pos] {
			case '(':
				depth++
			case ')':
				depth--
			}
			s.pos++
		}
		if flag := s.b[start:s.pos]; !isFlag(flag) {
			dropped++
		} else {
			if !none {
				out = append(out, ' ')
			}
			out, none = append(out, flag...), false
		}
	}
	return append(out, ')'), dropped
}

// appendString appends a string as go-imap reads it: in quotes or, where it holds what may not stand there, as a literal.
func appendString(out, text []byte) []byte {
	if bytes.ContainsAny(text, "\r\n\x00") {
		out = append(out, '{')
		out = strconv.AppendInt(out, int64(len(text)), 10)
		out = append(out, "}\r\n"...)
		return append(out, text...)
	}
	out = append(out, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return append(out, '"')
}

// appendNString appends NIL for NIL, and any other atom or string as a string. A list counts as NIL.
func appendNString(out []byte, v value) []byte {
	if v.kind == listValue || v.isNIL() {
		return append(out, "NIL"...)
	}
	return appendString(out, v.text)
}

// digits returns how many digits b begins with.
func digits(b []byte) int { return len(b) - len(bytes.TrimLeft(b, "0123456789")) }
