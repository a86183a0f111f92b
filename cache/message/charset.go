package message

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
	"golang.org/x/text/encoding/charmap"
)

// decodeCharset returns text as valid UTF-8. name is the charset that the message names, "" where it names none. Text in an
// unknown charset, or one that can't be right, is decoded as if none were named: its ASCII stays.
func decodeCharset(name string, data []byte) string {
	if rest, ok := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); ok && utf8.Valid(rest) {
		return string(rest)
	}
	switch name = strings.ToLower(strings.Trim(name, "\"' \t")); name {
	case "utf-8", "utf8":
		return strings.ToValidUTF8(string(data), "\uFFFD")
	case "", "us-ascii", "ascii", "unknown-8bit", "x-unknown", "default":
		if bytes.Contains(data, []byte("\x1b$")) { // RFC 1468: the escape sequence says it
			name = "iso-2022-jp"
			break
		}
		return validUTF8(string(data))
	case "iso-8859-1", "latin1": // mostly means Windows-1252, which has the same printable characters and more
		name = "windows-1252"
	}
	if name == "windows-1252" {
		if text, err := charmap.Windows1252.NewDecoder().Bytes(data); err == nil {
			return string(text)
		}
	}
	r, err := charset.Reader(name, bytes.NewReader(data))
	if err != nil {
		return validUTF8(string(data))
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return validUTF8(string(data))
	}
	return strings.ToValidUTF8(string(text), "\uFFFD")
}

// cleanLines returns text with LF at the ends of lines and U+FFFD for each control character but tab and form feed:
// terminals and grep don't take them for text.
func cleanLines(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return '\n'
		case r < ' ' && r != '\n' && r != '\t' && r != '\f', r == 0x7f:
			return '\uFFFD'
		default:
			return r
		}
	}, s)
}
