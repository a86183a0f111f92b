package wire

import (
	"bytes"
	"hash/crc32"
	"strconv"
	"strings"
)

// statusWords are the conditions that a status response may tell (RFC 9051, section 7.1).
var statusWords = map[string]bool{"OK": true, "NO": true, "BAD": true, "BYE": true, "PREAUTH": true}

// statusLine returns a status response, tagged or not, in the form that go-imap reads: one blank between its parts, a
// response code that is an atom, with an argument only where go-imap reads one, and no empty text. head is the tag or "*";
// s stands behind the condition.
func (a *answers) statusLine(head, condition string, s *scanner) []byte {
	out := append(append(append([]byte(nil), head...), ' '), condition...)
	s.blanks()
	if s.peek() == '[' {
		if code, args, ok := s.code(); ok {
			out = a.appendCode(append(out, ' '), code, args)
		}
	}
	s.blanks()
	text := bytes.TrimRight(s.rest(), " \t\r")
	text = bytes.TrimLeft(text, "[") // which go-imap would read as a code
	text = bytes.ReplaceAll(text, []byte("\r"), []byte(" "))
	if len(text) > 0 {
		out = append(append(out, ' '), text...)
	}
	return append(out, "\r\n"...)
}

// code reads a response code. args stands behind the word of the code and ends before its bracket. Where the bracket does
// not close, ok is false and the bracket is skipped.
func (s *scanner) code() (word string, args *scanner, ok bool) {
	s.pos++
	start := s.pos
	quoted, nested := false, 0
	for ; !s.atEnd(); s.pos++ {
		switch c := s.b[s.pos]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			s.pos++
		case c == '[' && !quoted:
			nested++ // as in a keyword among PERMANENTFLAGS
		case c == ']' && !quoted && nested > 0:
			nested--
		case c == ']' && !quoted:
			inside := s.b[start:s.pos]
			s.pos++
			args = &scanner{b: inside}
			args.blanks()
			w := args.atom()
			return strings.ToUpper(string(w)), args, isAtom(w)
		}
	}
	s.pos = start
	if end := bytes.IndexByte(s.b[start:], ']'); end >= 0 { // a quote in it does not close
		args = &scanner{b: s.b[start : start+end]}
		s.pos = start + end + 1
		args.blanks()
		w := args.atom()
		return strings.ToUpper(string(w)), args, isAtom(w)
	}
	return "", nil, false
}

// appendCode appends a response code with its argument. A code whose argument can't be read is left out.
func (a *answers) appendCode(out []byte, code string, args *scanner) []byte {
	before := len(out) - 1 // of the blank
	out = append(append(out, '['), code...)
	args.blanks()
	switch code {
	case "CAPABILITY":
		var complete bool
		if out, complete = appendCapabilities(out, args); !complete {
			return out[:before]
		}
	case "PERMANENTFLAGS":
		out, _ = args.flagList(append(out, ' '))
	case "UIDNEXT":
		n, ok := parseNumber(args.atom(), max32)
		if !ok || n == 0 {
			return out[:before]
		}
		out = strconv.AppendUint(append(out, ' '), n, 10)
	case "UIDVALIDITY":
		out = strconv.AppendUint(append(out, ' '), uint64(identity(args.atom())), 10)
	case "HIGHESTMODSEQ":
		n, ok := parseNumber(args.atom(), max63)
		if !ok {
			return out[:before]
		}
		out = strconv.AppendUint(append(out, ' '), n, 10)
	case "APPENDUID", "COPYUID":
		return out[:before]
	}
	return append(out, ']')
}

// identity returns the UIDVALIDITY that stands for a text. A number that fits is itself. Any other text, of a server that
// counts in milliseconds for instance, gets a number that is the same for the same text: UIDVALIDITY is compared, not
// counted (RFC 9051, section 2.3.1.1).
func identity(text []byte) uint32 {
	if n, ok := parseNumber(text, max32); ok {
		return uint32(n)
	}
	if len(text) == 0 {
		return 0
	}
	return max(crc32.ChecksumIEEE(text), 1)
}

// appendCapabilities appends the names of capabilities that come next, each behind a blank. IMAP4rev2 is hidden where
// IMAP4rev1 is offered too: go-imap takes IMAP4rev2 for enabled as soon as it is offered and would send names in UTF-8, which
// the server does not expect before ENABLE (RFC 9051, section 6.3.1). complete is false where the protocol itself is not
// among them, as it has to be (section 7.2.2): that is not the list of what the server can do.
func appendCapabilities(out []byte, s *scanner) (_ []byte, complete bool) {
	var names [][]byte
	rev1 := false
	for s.blanks(); !s.atEnd(); s.blanks() {
		at := s.pos
		v := s.value(0)
		if s.pos == at {
			s.pos++
			continue
		}
		if v.kind == atomValue && isAtom(v.text) {
			names = append(names, v.text)
			complete = complete || len(v.text) >= 5 && bytes.EqualFold(v.text[:5], []byte("IMAP4"))
			rev1 = rev1 || bytes.EqualFold(v.text, []byte("IMAP4rev1"))
		}
	}
	for _, name := range names {
		if !rev1 || !bytes.EqualFold(name, []byte("IMAP4rev2")) {
			out = append(append(out, ' '), name...)
		}
	}
	return out, complete
}
