package wire

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// responseKind is what a response is, as far as its framing depends on it.
type responseKind uint8

const (
	other          responseKind = iota // lines and literals
	text                               // one line, also where it seems to announce a literal
	capability                         // like other
	list                               // framed as a whole, since the name in it may have to be spelled anew
	fetch                              // may hold bodies
	unknown                            // dropped
	compressAnswer                     // the tagged answer to COMPRESS, which go-imap did not send
)

// responses are the untagged responses that go-imap knows (imapclient, readResponseData). It ends the connection over all
// others.
var responses = map[string]responseKind{
	"OK": text, "NO": text, "BAD": text, "BYE": text, "PREAUTH": text,
	"CAPABILITY": capability, "LIST": list,
	"ID": other, "ENABLED": other, "NAMESPACE": other, "FLAGS": other, "STATUS": other, "SEARCH": other,
	"ESEARCH": other, "SORT": other, "THREAD": other, "METADATA": other, "QUOTA": other, "QUOTAROOT": other,
	"MYRIGHTS": other, "ACL": other,
}

// kindOf returns what kind of response a line begins.
func kindOf(line []byte) responseKind {
	rest, untagged := bytes.CutPrefix(line, []byte("* "))
	if !untagged {
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return unknown // an empty line between responses
		}
		if bytes.HasPrefix(line, []byte(ownTag+" ")) {
			return compressAnswer
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

// firstWord returns the word that b begins with, and what follows the blank after it.
func firstWord(b []byte) (word, rest []byte) {
	i := bytes.IndexAny(b, " (\r\n")
	if i < 0 {
		return b, nil
	}
	return b[:i], bytes.TrimPrefix(b[i:], []byte(" "))
}

// NoDate stands for an INTERNALDATE that can't be read, for which go-imap would end the connection.
var NoDate = time.Unix(0, 0)

var (
	dateItem    = []byte("INTERNALDATE ")
	dateStandIn = []byte(`"01-Jan-1970 00:00:00 +0000"`)
)

// mendDate replaces an INTERNALDATE that go-imap would end the connection for (NIL, malformed, or in the year 1) by NoDate.
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
	return bytes.Join([][]byte{line[:i+len(dateItem)], dateStandIn, value[end:]}, nil)
}

// mendOrigin takes the length out of the origin of a partial body section: some servers repeat the command's `BODY[]<0.n>`,
// where the grammar has `BODY[]<0>` (RFC 9051, section 9). go-imap would end the connection.
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

// withoutRev2 hides IMAP4rev2 where IMAP4rev1 is offered too: go-imap takes IMAP4rev2 for enabled as soon as it is offered
// and would send names in UTF-8, which the server does not expect before ENABLE (RFC 9051, section 6.3.1).
func withoutRev2(line []byte) []byte {
	if !bytes.Contains(line, []byte(" IMAP4rev2")) || !bytes.Contains(line, []byte(" IMAP4rev1")) {
		return line
	}
	return bytes.ReplaceAll(line, []byte(" IMAP4rev2"), nil)
}
