// Package message says what the bytes of a message mean: its header, its parts, its text, and the names of the files that
// show them. It knows no mailbox and no account. Any bytes are a message: what breaks the rules is read as far as possible,
// and the only error is remote.ErrTooComplex.
package message

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/mailfs/mailfs/remote"
)

// Header is the header of a message (RFC 5322, section 2.2). Any bytes make one: lines that are no field are skipped.
type Header struct{ fields []field }

type field struct{ name, value string }

// ParseHeader reads the fields of a raw header, up to the first empty line.
func ParseHeader(raw []byte) Header {
	var h Header
	var value []byte // of the last field, once it has more than one line
	fold := func() {
		if value != nil {
			h.fields[len(h.fields)-1].value = string(value)
			value = nil
		}
	}
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		raw = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' { // folded; section 2.2.3
			if n := len(h.fields); n > 0 {
				if value == nil {
					value = []byte(h.fields[n-1].value)
				}
				value = append(append(value, ' '), bytes.TrimLeft(line, " \t")...)
			}
			continue
		}
		fold()
		name, text, ok := bytes.Cut(line, []byte(":"))
		if name = bytes.TrimRight(name, " \t"); ok && len(name) > 0 && bytes.IndexByte(name, ' ') < 0 {
			h.fields = append(h.fields, field{string(name), string(bytes.TrimLeft(text, " \t"))})
		}
	}
	fold()
	return h
}

// raw returns the unfolded value of the first field of that name, not decoded, and whether there is such a field.
func (h Header) raw(name string) (string, bool) {
	for _, f := range h.fields {
		if strings.EqualFold(f.name, name) {
			return strings.TrimSpace(f.value), true
		}
	}
	return "", false
}

// Text returns the unfolded value of the first field of that name, and whether there is such a field. Encoded words (RFC
// 2047) in any charset and raw 8-bit bytes are decoded; the result is valid UTF-8 whatever the message holds.
func (h Header) Text(name string) (string, bool) {
	raw, ok := h.raw(name)
	return decodeText(raw), ok
}

// validUTF8 decodes text that names no charset. Text that is not valid UTF-8 is taken for Windows-1252, the charset of most
// 8-bit mail that names none.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	if text, err := charmap.Windows1252.NewDecoder().String(s); err == nil {
		return text
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// RawHeader returns the header of a message, at most remote.MaxHeader bytes of it, without the empty line behind it.
func RawHeader(raw []byte) []byte {
	end, _ := headerEnd(raw)
	return raw[:min(end, remote.MaxHeader)]
}

// ListedFields returns a copy of a raw header with the fields remote.HeaderFields only: a server may send more.
func ListedFields(header []byte) []byte {
	out := make([]byte, 0, len(header))
	wanted := false
	for len(header) > 0 {
		_, rest, _ := bytes.Cut(header, []byte("\n"))
		line := header[:len(header)-len(rest)]
		header = rest
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := bytes.Cut(line, []byte(":"))
			wanted = slices.ContainsFunc(remote.HeaderFields, func(f string) bool {
				return strings.EqualFold(f, string(bytes.TrimRight(name, " \t")))
			})
		}
		if wanted {
			out = append(out, line...)
		}
	}
	return out
}

// HeaderText returns a raw header as text: a line for each field, in order, decoded to UTF-8.
func HeaderText(raw []byte) []byte {
	var b bytes.Buffer
	for _, f := range ParseHeader(raw).fields {
		fmt.Fprintf(&b, "%s: %s\n", oneLine(validUTF8(f.name)), oneLine(decodeText(f.value)))
	}
	return b.Bytes()
}

// SameFields tells whether the fields remote.HeaderFields of two raw headers say the same, however they are folded and in
// whatever order they stand. sure: they have a Message-ID, so that they are those of one message.
func SameFields(a, b []byte) (same, sure bool) {
	first, second := ParseHeader(a), ParseHeader(b)
	_, sure = first.raw("Message-ID")
	same = !slices.ContainsFunc(remote.HeaderFields, func(name string) bool {
		one, has := first.raw(name)
		other, too := second.raw(name)
		return has != too || one != other
	})
	return same, same && sure
}
