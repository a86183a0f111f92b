package message

import (
	"bytes"
	"strings"
)

// decodeContent undoes a Content-Transfer-Encoding (RFC 2045, section 6), named in lower case. Broken data is decoded as far
// as possible; data in an unknown encoding stays as it is.
func decodeContent(encoding string, data []byte) []byte {
	switch strings.TrimSpace(encoding) {
	case "base64":
		return decodeBase64(data)
	case "quoted-printable":
		return decodeQuoted(data)
	case "x-uuencode", "uuencode", "x-uue", "uue":
		return decodeUU(data)
	default:
		return data
	}
}

// verbatim tells whether data in a Content-Transfer-Encoding is its own decoded form: 7bit, 8bit, binary, any unknown one.
func verbatim(encoding string) bool {
	switch strings.TrimSpace(encoding) {
	case "base64", "quoted-printable", "x-uuencode", "uuencode", "x-uue", "uue":
		return false
	default:
		return true
	}
}

// base64Values are the values of the characters of base64; 64 for every other byte.
var base64Values = func() (t [256]byte) {
	for i := range t {
		t[i] = 64
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	return t
}()

// decodeBase64 decodes base64 (RFC 2045, section 6.8) up to its padding. Every other character in it is skipped.
func decodeBase64(data []byte) []byte {
	out := make([]byte, 0, len(data)/4*3+3)
	var bits uint32
	digits, pads := 0, 0
	for _, c := range data {
		v := base64Values[c]
		switch {
		case c == '=':
			if pads++; digits >= 2 && digits+pads >= 4 {
				return appendBits(out, bits, digits)
			}
			if digits < 2 {
				pads = 0
			}
			continue
		case v == 64:
			continue
		}
		pads = 0
		bits = bits<<6 | uint32(v)
		if digits++; digits == 4 {
			out = append(out, byte(bits>>16), byte(bits>>8), byte(bits))
			bits, digits = 0, 0
		}
	}
	return appendBits(out, bits, digits)
}

// appendBits appends the bytes of the last group of base64: bits holds the group, digits is its number of characters.
func appendBits(out []byte, bits uint32, digits int) []byte {
	switch digits {
	case 2:
		return append(out, byte(bits>>4))
	case 3:
		return append(out, byte(bits>>10), byte(bits>>2))
	default:
		return out
	}
}

// decodeQuoted decodes quoted-printable (RFC 2045, section 6.7). A "=" that starts no escape stays.
func decodeQuoted(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for len(data) > 0 {
		i := bytes.IndexByte(data, '=')
		if i < 0 {
			return append(out, data...)
		}
		out = append(out, data[:i]...)
		data = data[i+1:]
		switch {
		case len(data) == 0:
		case data[0] == '\r' || data[0] == '\n': // a soft line break
			end := bytes.IndexByte(data, '\n')
			if end < 0 {
				return out
			}
			data = data[end+1:]
		case len(data) > 1 && unhex(data[0]) < 16 && unhex(data[1]) < 16:
			out = append(out, unhex(data[0])<<4|unhex(data[1]))
			data = data[2:]
		case data[0] == '=':
			out = append(out, '=')
			data = data[1:]
		default:
			out = append(out, '=')
		}
	}
	return out
}

// unhex returns the value of a hexadecimal digit; 16 for any other byte.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	default:
		return 16
	}
}

// decodeUU decodes the first uuencoded file in data. Data without one stays as it is.
func decodeUU(data []byte) []byte {
	begun := false
	var out []byte
	for line := range bytes.Lines(data) {
		line = bytes.TrimRight(line, "\r\n")
		if !begun {
			begun = bytes.HasPrefix(line, []byte("begin "))
			continue
		}
		if len(line) == 0 || bytes.Equal(bytes.TrimSpace(line), []byte("end")) {
			break
		}
		n := int(line[0]-' ') & 63
		line = line[1:]
		for n > 0 {
			var group [4]byte // the spaces at the end of a line, which are zeros, may be lost
			for i := range group {
				if i < len(line) {
					group[i] = (line[i] - ' ') & 63
				}
			}
			line = line[min(4, len(line)):]
			three := []byte{group[0]<<2 | group[1]>>4, group[1]<<4 | group[2]>>2, group[2]<<6 | group[3]}
			out = append(out, three[:min(n, 3)]...)
			n -= 3
		}
	}
	if !begun {
		return data
	}
	return out
}
