package imap

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// responseKind is what a response is, as far as its framing depends on it.
type responseKind uint8

const (
	other      responseKind = iota
	text                    // ends at the line's end, whatever it looks like
	capability              //
	list
	fetch
	unknown // dropped
	ours    // the answer to a command that go-imap knows nothing of
)

// responses are those that go-imap knows (imapclient, readResponseData); it gives up the connection over all others.
var responses = map[string]responseKind{
	"OK": text, "NO": text, "BAD": text, "BYE": text, "PREAUTH": text,
	"CAPABILITY": capability, "LIST": list,
	"ID": other, "ENABLED": other, "NAMESPACE": other, "FLAGS": other, "STATUS": other, "SEARCH": other,
	"ESEARCH": other, "SORT": other, "THREAD": other, "METADATA": other, "QUOTA": other, "QUOTAROOT": other,
	"MYRIGHTS": other, "ACL": other,
}

func kindOf(line []byte) responseKind {
	rest, untagged := bytes.CutPrefix(line, []byte("* "))
	if !untagged {
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return unknown // an empty line between responses
		}
		if bytes.HasPrefix(line, []byte(ownTag+" ")) {
			return ours
		}
		return text // tagged, or a continuation request
	}
	word, rest := firstWord(rest)
	if len(word) > 0 && word[0] >= '0' && word[0] <= '9' {
		switch word, _ = firstWord(rest); {
		case bytes.EqualFold(word, []byte("FETCH")):
			return fetch
		case bytes.EqualFold(word, []byte("EXISTS")), bytes.EqualFold(word, []byte("RECENT")),
			bytes.EqualFold(word, []byte("EXPUNGE")):
			return other
		}
		return unknown
	}
	if kind, ok := responses[strings.ToUpper(string(word))]; ok {
		return kind
	}
	return unknown
}

func firstWord(b []byte) (word, rest []byte) {
	i := bytes.IndexAny(b, " (\r\n")
	if i < 0 {
		return b, nil
	}
	return b[:i], bytes.TrimPrefix(b[i:], []byte(" "))
}

// noDate stands for an INTERNALDATE that can't be read. It is reported as no date at all.
var noDate = time.Unix(0, 0)

var (
	dateItem  = []byte("INTERNALDATE ")
	dateStand = []byte(`"01-Jan-1970 00:00:00 +0000"`)
)

// mendDate replaces an INTERNALDATE that go-imap would end the connection for: NIL, malformed, or in the year 1.
func mendDate(line []byte) []byte {
	i := bytes.Index(line, dateItem)
	if i < 1 || line[i-1] != ' ' && line[i-1] != '(' || inQuotes(line[:i]) {
		return line
	}
	value := line[i+len(dateItem):]
	end := bytes.IndexAny(value, " )\r\n")
	if len(value) > 0 && value[0] == '"' {
		closing := bytes.IndexByte(value[1:], '"')
		if closing < 0 {
			return line
		}
		end = closing + 2
		if t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", string(value[1:end-1])); err == nil && t.Year() > 1 {
			return line
		}
	}
	if end < 0 || bytes.HasPrefix(value, []byte("{")) {
		return line
	}
	return bytes.Join([][]byte{line[:i+len(dateItem)], dateStand, value[end:]}, nil)
}

// mendOrigin cuts the length from the origin of a part of a body section: some servers say `BODY[]<0.n>` as the command did,
// where the grammar has `BODY[]<0>` (RFC 9051, section 9), and go-imap would end the connection.
func mendOrigin(line []byte) []byte {
	open := bytes.Index(line, []byte("]<"))
	if open < 0 {
		return line
	}
	from := open + 2
	dot := from + digits(line[from:])
	if dot == from || dot == len(line) || line[dot] != '.' {
		return line
	}
	end := dot + 1 + digits(line[dot+1:])
	if end == dot+1 || !bytes.HasPrefix(line[end:], []byte("> ")) || inQuotes(line[:open]) {
		return line
	}
	return slices.Concat(line[:dot], line[end:])
}

// digits returns how many digits b begins with.
func digits(b []byte) int { return len(b) - len(bytes.TrimLeft(b, "0123456789")) }

// inQuotes tells whether a quoted string is open at the end of b, which begins outside of one.
func inQuotes(b []byte) bool {
	open := false
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '"':
			open = !open
		case b[i] == '\\' && open:
			i++
		}
	}
	return open
}

// withoutRev2 hides IMAP4rev2 where IMAP4rev1 is offered too: go-imap takes it for enabled at once and would send names
// in UTF-8, which the server does not expect before ENABLE (RFC 9051, section 6.3.1).
func withoutRev2(line []byte) []byte {
	if !bytes.Contains(line, []byte(" IMAP4rev2")) || !bytes.Contains(line, []byte(" IMAP4rev1")) {
		return line
	}
	return bytes.ReplaceAll(line, []byte(" IMAP4rev2"), nil)
}

// shorten makes a server's words fit for an error or the log: one printable line, at most 200 bytes.
func shorten(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "..."
	}
	return s
}
