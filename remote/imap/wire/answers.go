package wire

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

// answers brings the responses of a server into the one form that go-imap reads. What it can't understand it leaves out,
// and tells misunderstood.
type answers struct {
	names *Spellings
	// misunderstood is told of what was left out: the word of the response, and what the server said.
	misunderstood func(word string, said []byte)
}

// untagged are the responses that are read whole (RFC 9051, section 7), but for status responses and FETCH. A function
// gets what stands behind the word of the response. It returns what stands there for go-imap, or nil for a response that
// go-imap is not to see. All other responses are dropped: go-imap ends the connection over those it does not know.
var untagged = map[string]func(*answers, *scanner) []byte{
	"CAPABILITY": (*answers).capability, "ENABLED": (*answers).enabled,
	"FLAGS": (*answers).flags, "LIST": (*answers).list, "STATUS": (*answers).status, "SEARCH": (*answers).search,
	"ESEARCH": (*answers).esearch, "NAMESPACE": (*answers).namespace, "QUOTA": (*answers).quota,
	"QUOTAROOT": (*answers).quotaRoot,
}

// capability reads a CAPABILITY or ENABLED response (RFC 9051, sections 7.2.2 and 7.2.1).
func (a *answers) capability(s *scanner) []byte {
	out, complete := appendCapabilities(nil, s)
	if !complete {
		a.misunderstood("CAPABILITY", s.b)
		return nil
	}
	return append(out, "\r\n"...)
}

func (a *answers) enabled(s *scanner) []byte {
	out, _ := appendCapabilities(nil, s)
	return append(out, "\r\n"...)
}

func (a *answers) flags(s *scanner) []byte {
	out, _ := s.flagList([]byte(" "))
	return append(out, "\r\n"...)
}

// list reads a LIST response (RFC 9051, section 7.3.1). Extended data behind the name is left out: mailfs asks for none
// that go-imap keeps.
func (a *answers) list(s *scanner) []byte {
	whole := s.b
	out := []byte(" ()")
	s.blanks()
	if s.peek() == '(' {
		out, _ = s.flagList([]byte(" "))
	}
	s.blanks()
	if s.atEnd() {
		a.misunderstood("LIST", whole)
		return nil
	}
	out = append(out, ' ')
	out = appendDelimiter(out, s.value(0))
	s.blanks()
	if s.atEnd() {
		a.misunderstood("LIST", whole)
		return nil
	}
	name := s.mailbox()
	if s.err != nil {
		return nil
	}
	return append(append(append(out, ' '), a.names.spell(name)...), "\r\n"...)
}

// mailbox reads a name of a mailbox, behind which nothing is needed. A name without quotes that has blanks in it is read
// to the end of the line, and one with quotes in it to its last quote.
func (s *scanner) mailbox() []byte {
	start := s.pos
	v := s.value(0)
	after := s.pos
	s.blanks()
	if s.atEnd() || s.err != nil || after != s.pos && s.peek() == '(' && v.kind != listValue {
		if v.kind != listValue {
			return v.text
		}
	} else if _, literal := (&scanner{b: s.b, pos: start}).announced(); literal {
		return v.text
	}
	s.pos = start
	line := bytes.TrimRight(s.rest(), " \t\r")
	if len(line) > 1 && line[0] == '"' {
		end := bytes.LastIndexByte(line, '"')
		if end == 0 {
			return line[1:]
		}
		return unescaped(line[1:end])
	}
	return line
}

// unescaped returns what stands between the quotes of a string that may hold quotes without a backslash.
func unescaped(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) && (text[i+1] == '"' || text[i+1] == '\\') {
			i++
		}
		out = append(out, text[i])
	}
	return out
}

// statusItems are the items of a STATUS response that go-imap reads as numbers, with the largest that it can read.
var statusItems = map[string]uint64{
	"MESSAGES": max32, "UIDNEXT": max32, "UNSEEN": max32, "DELETED": max32, "SIZE": max63, "HIGHESTMODSEQ": max63,
	"DELETED-STORAGE": max63,
}

// statusList is where the items of a STATUS response begin, behind a name without quotes.
var statusList = regexp.MustCompile(`(?i)[ \t]+\(\s*(?:MESSAGES|UIDNEXT|UIDVALIDITY|UNSEEN|RECENT|DELETED|SIZE|HIGHESTMODSEQ)\b`)

// status reads a STATUS response (RFC 9051, section 7.3.2). Items that can't be read are left out.
func (a *answers) status(s *scanner) []byte {
	whole := s.b
	s.blanks()
	start := s.pos
	name := s.value(0)
	s.blanks()
	if name.kind == listValue || s.err != nil || s.peek() != '(' {
		// A name with blanks in it and no quotes around it.
		s.pos = start
		at := statusList.FindIndex(s.rest())
		if at == nil || s.err != nil {
			a.misunderstood("STATUS", whole)
			return nil
		}
		name = value{text: bytes.TrimSpace(s.b[start : start+at[0]])}
		s.pos = start + at[0]
		s.blanks()
	}
	out := append([]byte(" "), a.names.spell(name.text)...)
	out = append(out, " ("...)
	none := true
	items := s.list(0).items
	for i := 0; i+1 < len(items); i += 2 {
		word := strings.ToUpper(string(items[i].text))
		text := items[i+1].text
		n, ok := uint64(0), false
		if word == "UIDVALIDITY" {
			n, ok = uint64(identity(text)), len(text) > 0
		} else if limit, known := statusItems[word]; known {
			if n, ok = parseNumber(text, limit); !ok {
				a.misunderstood("STATUS", whole)
			}
		}
		if !ok {
			continue
		}
		if !none {
			out = append(out, ' ')
		}
		out = strconv.AppendUint(append(append(out, word...), ' '), n, 10)
		none = false
	}
	return append(out, ")\r\n"...)
}

// search reads a SEARCH response (RFC 9051, section 7.3.4, and RFC 7162, section 3.1.5).
func (a *answers) search(s *scanner) []byte {
	whole := s.b
	out := make([]byte, 0, len(s.b))
	odd := false
	for s.blanks(); !s.atEnd(); s.blanks() {
		at := s.pos
		if s.peek() == '(' { // the highest MODSEQ of the messages found
			s.list(0)
		} else if text := s.atom(); len(text) > 0 {
			if n, ok := parseNumber(text, max32); ok && n > 0 {
				out = append(append(out, ' '), text...)
			} else {
				odd = true
			}
		}
		if s.pos == at {
			s.pos++
			odd = true
		}
	}
	if odd {
		a.misunderstood("SEARCH", whole)
	}
	return append(out, "\r\n"...)
}

// esearch reads an ESEARCH response (RFC 9051, section 7.3.4).
func (a *answers) esearch(s *scanner) []byte {
	whole := s.b
	var out []byte
	s.blanks()
	if s.peek() == '(' {
		correlator := s.list(0).items
		if len(correlator) == 2 && bytes.EqualFold(correlator[0].text, []byte("TAG")) {
			out = append(appendString(append(out, " (TAG "...), correlator[1].text), ')')
		}
	}
	for s.blanks(); !s.atEnd(); s.blanks() {
		at := s.pos
		word := strings.ToUpper(string(s.atom()))
		if word == "UID" {
			out = append(out, " UID"...)
			continue
		}
		v := s.value(0)
		if s.pos == at {
			s.pos++
		}
		ok := v.kind == atomValue
		switch word {
		case "ALL":
			ok = ok && isSet(v.text)
		case "MIN", "MAX", "COUNT":
			if ok {
				_, ok = parseNumber(v.text, max32)
			}
		default: // of which mailfs asks for none
			continue
		}
		if !ok {
			a.misunderstood("ESEARCH", whole)
			continue
		}
		out = append(append(append(append(out, ' '), word...), ' '), v.text...)
	}
	if len(out) == 0 { // go-imap expects a blank
		a.misunderstood("ESEARCH", whole)
		return nil
	}
	return append(out, "\r\n"...)
}

// isSet tells whether a text is a set of numbers (RFC 9051, section 9: sequence-set) without "*".
func isSet(text []byte) bool {
	for part := range bytes.SplitSeq(text, []byte(",")) {
		first, last, isRange := bytes.Cut(part, []byte(":"))
		n, ok := parseNumber(first, max32)
		if !ok || n == 0 {
			return false
		}
		if isRange {
			if n, ok = parseNumber(last, max32); !ok || n == 0 {
				return false
			}
		}
	}
	return true
}

// namespace reads a NAMESPACE response (RFC 9051, section 7.3.3) as far as mailfs needs it: prefixes and delimiters.
func (a *answers) namespace(s *scanner) []byte {
	var out []byte
	for range 3 {
		v := s.value(0)
		out = append(out, ' ')
		begun := false
		for _, d := range v.items {
			if d.kind != listValue || len(d.items) < 2 || d.items[0].kind == listValue {
				continue
			}
			if !begun {
				out, begun = append(out, '('), true
			}
			out = append(appendString(append(out, '('), d.items[0].text), ' ')
			out = append(appendDelimiter(out, d.items[1]), ')')
		}
		if begun {
			out = append(out, ')')
		} else {
			out = append(out, "NIL"...)
		}
	}
	return append(out, "\r\n"...)
}

// quota reads a QUOTA response (RFC 9208, section 5.1).
func (a *answers) quota(s *scanner) []byte {
	root := s.value(0)
	s.blanks()
	if root.kind == listValue || s.peek() != '(' {
		a.misunderstood("QUOTA", s.b)
		return nil
	}
	out := append(appendString([]byte(" "), root.text), " ("...)
	items := s.list(0).items
	none := true
	for i := 0; i+2 < len(items); i += 3 {
		_, ok := parseNumber(items[i+1].text, max63)
		_, ok2 := parseNumber(items[i+2].text, max63)
		if !ok || !ok2 || !isAtom(items[i].text) {
			a.misunderstood("QUOTA", s.b)
			continue
		}
		if !none {
			out = append(out, ' ')
		}
		none = false
		out = append(append(append(append(append(out, bytes.ToUpper(items[i].text)...), ' '), items[i+1].text...), ' '), items[i+2].text...)
	}
	return append(out, ")\r\n"...)
}

// quotaRoot reads a QUOTAROOT response (RFC 9208, section 5.2).
func (a *answers) quotaRoot(s *scanner) []byte {
	name := s.value(0)
	if name.kind == listValue {
		a.misunderstood("QUOTAROOT", s.b)
		return nil
	}
	out := append([]byte(" "), a.names.spell(name.text)...)
	for s.blanks(); !s.atEnd() && s.err == nil; s.blanks() {
		at := s.pos
		v := s.value(0)
		if s.pos == at {
			s.pos++
			continue
		}
		if v.kind != listValue {
			out = appendString(append(out, ' '), v.text)
		}
	}
	return append(out, "\r\n"...)
}

// counted reads what a response tells of a number of messages or of one: EXISTS, RECENT, EXPUNGE (RFC 9051, section
// 7.4). RECENT is dropped: go-imap ignores it.
func (a *answers) counted(n []byte, word string, whole []byte) []byte {
	if word == "RECENT" {
		return nil
	}
	if count, ok := parseNumber(n, max32); !ok || word == "EXPUNGE" && count == 0 {
		a.misunderstood(word, whole)
		return nil
	}
	return append(append(append([]byte("* "), n...), ' '), word+"\r\n"...)
}
