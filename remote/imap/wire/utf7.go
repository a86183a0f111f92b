package wire

import (
	"bytes"
	"encoding/base64"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// Spellings remembers the mailbox names that are not in modified UTF-7 (RFC 3501, section 5.1.3), such as "R&D" or raw
// 8-bit names. go-imap sees these names in modified UTF-7, which it can decode; the server gets them back as it spelled
// them.
type Spellings struct {
	mu  sync.RWMutex      // guards raw
	raw map[string][]byte // names as the server spells them, by what go-imap sends; both quoted
}

// outgoing returns a command of go-imap with the names in it as the server spells them.
func (s *Spellings) outgoing(p []byte) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for ours, raw := range s.raw {
		p = bytes.Replace(p, []byte(ours), raw, 1)
	}
	return p
}

// spell returns a name of a mailbox that the server sent as a quoted string that go-imap can decode, and remembers how the
// server spells the name.
func (s *Spellings) spell(name []byte) string {
	decoded, valid := Decode(string(name))
	if valid && encode(decoded) == string(name) {
		return quote(string(name))
	}
	if !valid {
		decoded = lenient(name)
	}
	ours := quote(encode(decoded))
	if !bytes.ContainsAny(name, "\r\n\x00") { // would end the command and begin another one
		s.mu.Lock()
		if s.raw == nil {
			s.raw = map[string][]byte{}
		}
		s.raw[ours] = []byte(quote(string(name)))
		s.mu.Unlock()
	}
	return ours
}

// quote returns s as a quoted string.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

var base64UTF7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding)

// Decode returns a name that is in modified UTF-7 (RFC 3501, section 5.1.3). ok is false where it is not.
func Decode(name string) (decoded string, ok bool) {
	if !utf8.ValidString(name) {
		return "", false
	}
	for {
		plain, rest, shifted := strings.Cut(name, "&")
		decoded += plain
		if !shifted {
			return decoded, true
		}
		run, rest, closed := strings.Cut(rest, "-")
		if !closed {
			return "", false
		}
		name = rest
		if run == "" {
			decoded += "&"
			continue
		}
		b, err := base64UTF7.DecodeString(run)
		if err != nil || len(b)%2 != 0 {
			return "", false
		}
		units := make([]uint16, len(b)/2)
		for i := range units {
			units[i] = uint16(b[2*i])<<8 | uint16(b[2*i+1])
		}
		decoded += string(utf16.Decode(units))
	}
}

// encode returns a name in modified UTF-7.
func encode(name string) string {
	var out strings.Builder
	for name != "" {
		plain := strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == '&' })
		if plain < 0 {
			plain = len(name)
		}
		out.WriteString(name[:plain])
		name = name[plain:]
		if strings.HasPrefix(name, "&") {
			out.WriteString("&-")
			name = name[1:]
			continue
		}
		special := strings.IndexFunc(name, func(r rune) bool { return r >= ' ' && r <= '~' })
		if special < 0 {
			special = len(name)
		}
		if special == 0 {
			continue
		}
		var b []byte
		for _, u := range utf16.Encode([]rune(name[:special])) {
			b = append(b, byte(u>>8), byte(u))
		}
		out.WriteString("&" + base64UTF7.EncodeToString(b) + "-")
		name = name[special:]
	}
	return out.String()
}

// lenient reads a name that is not in modified UTF-7: as UTF-8 or, where it is not that either, as ISO 8859-1.
func lenient(name []byte) string {
	if utf8.Valid(name) {
		return string(name)
	}
	runes := make([]rune, len(name))
	for i, b := range name {
		runes[i] = rune(b)
	}
	return string(runes)
}
