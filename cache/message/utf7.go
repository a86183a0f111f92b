package message

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// decodeUTF7 decodes UTF-7 (RFC 2152): "+" begins UTF-16 in base64, which every byte that is no base64 ends, "-" itself being
// dropped; "+-" is a "+".
func decodeUTF7(data []byte) string {
	var b strings.Builder
	b.Grow(len(data))
	for i := 0; i < len(data); {
		c := data[i]
		i++
		if c != '+' {
			if c < utf8.RuneSelf {
				b.WriteByte(c)
			} else {
				b.WriteRune(utf8.RuneError)
			}
			continue
		}
		start := i
		for i < len(data) && base64Values[data[i]] < 64 {
			i++
		}
		switch {
		case i > start:
			writeUTF16(&b, data[start:i])
		case i == len(data) || data[i] != '-': // a "+" that is not encoded
			b.WriteByte('+')
		default:
			b.WriteByte('+')
			i++
			continue
		}
		if i > start && i < len(data) && data[i] == '-' {
			i++
		}
	}
	return b.String()
}

// writeUTF16 writes the characters of UTF-16 in base64. The bits of a last character that is cut are dropped.
func writeUTF16(b *strings.Builder, code []byte) {
	var bits uint32
	have := 0       // bits
	high := rune(0) // the first half of a surrogate pair; 0 where there is none
	for _, c := range code {
		bits = bits<<6 | uint32(base64Values[c])
		if have += 6; have < 16 {
			continue
		}
		have -= 16
		unit := rune(bits >> have & 0xffff)
		bits &= 1<<have - 1
		if high != 0 {
			if r := utf16.DecodeRune(high, unit); r != utf8.RuneError {
				b.WriteRune(r)
				high = 0
				continue
			}
			b.WriteRune(utf8.RuneError)
			high = 0
		}
		if 0xd800 <= unit && unit < 0xdc00 {
			high = unit
			continue
		}
		b.WriteRune(unit) // U+FFFD for the second half of a pair without the first
	}
	if high != 0 {
		b.WriteRune(utf8.RuneError)
	}
}
