package message

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
	"golang.org/x/text/encoding/charmap"
)

// decodeCharset returns text as UTF-8, whatever it holds. A charset that nobody knows, and one that can't be true, is read
// as if none were named: the ASCII in it stays readable.
func decodeCharset(name string, data []byte) string {
	if rest, ok := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); ok && utf8.Valid(rest) {
		return string(rest)
	}
	switch name = strings.ToLower(strings.Trim(name, "\"' \t")); name {
	case "utf-8", "utf8":
		return strings.ToValidUTF8(string(data), "\uFFFD")
	case "", "us-ascii", "ascii", "unknown-8bit", "x-unknown", "default":
		if bytes.Contains(data, []byte("\x1b$")) { // RFC 1468: what says so needs no name
			name = "iso-2022-jp"
			break
		}
		return readable(string(data))
	case "iso-8859-1", "latin1": // which mostly is this one, and else holds none of the characters that differ
		name = "windows-1252"
	}
	if name == "windows-1252" {
		if text, err := charmap.Windows1252.NewDecoder().Bytes(data); err == nil {
			return string(text)
		}
	}
	r, err := charset.Reader(name, bytes.NewReader(data))
	if err != nil {
		return readable(string(data))
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return readable(string(data))
	}
	return strings.ToValidUTF8(string(text), "\uFFFD")
}

// lines returns text with LF at the ends of lines, and without control characters that a terminal or grep would stumble
// over.
func lines(s string) string {
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
