package wire

import (
	"bytes"
	"strconv"
)

// NoStructure is the type of the BODYSTRUCTURE that go-imap sees in place of one that can't be understood. The message has
// to be read whole to find its parts.
const NoStructure = "x-not-understood"

const noStructure = `("` + NoStructure + `" "x" NIL NIL NIL "7bit" 0)`

// appendStructure appends a BODYSTRUCTURE (RFC 9051, section 9: body) in the form that go-imap reads: strings where
// strings belong, the fields in their order, parameters in pairs. What go-imap makes nothing of is left out. ok is false
// where the structure can't be understood; then out is not to be used.
func appendStructure(out []byte, v value) (_ []byte, ok bool) {
	if v.kind != listValue || len(v.items) == 0 {
		return out, false
	}
	if v.items[0].kind == listValue {
		return appendMultipart(out, v.items)
	}
	return appendSinglePart(out, v.items)
}

func appendMultipart(out []byte, items []value) (_ []byte, ok bool) {
	out = append(out, '(')
	n := 0
	for ; n < len(items) && items[n].kind == listValue; n++ {
		if n > 0 {
			out = append(out, ' ')
		}
		if out, ok = appendStructure(out, items[n]); !ok {
			return out, false
		}
	}
	subtype := []byte("mixed")
	if n < len(items) && !items[n].isNIL() {
		subtype = items[n].text
	}
	out = appendString(append(out, ' '), subtype)
	if rest := items[min(n+1, len(items)):]; len(rest) > 0 {
		out = appendParams(append(out, ' '), rest[0])
		if len(rest) > 1 {
			out = appendDisposition(append(out, ' '), rest[1])
		}
	}
	return append(out, ')'), true
}

// singleFields is how many fields every part has that is no multipart: type, subtype, parameters, id, description,
// encoding and size.
const singleFields = 7

func appendSinglePart(out []byte, items []value) (_ []byte, ok bool) {
	if len(items) < singleFields || items[0].isNIL() || items[1].kind == listValue {
		return out, false
	}
	kind, subtype := items[0].text, items[1].text
	size, ok := parseNumber(items[6].text, max32)
	if !ok && !items[6].isNIL() && string(items[6].text) != "-1" {
		return out, false
	}
	out = appendString(append(out, '('), kind)
	out = appendString(append(out, ' '), subtype)
	out = appendParams(append(out, ' '), items[2])
	out = appendNString(append(out, ' '), items[3])
	out = appendNString(append(out, ' '), items[4])
	out = appendNString(append(out, ' '), items[5])
	out = strconv.AppendUint(append(out, ' '), size, 10)
	rest := items[singleFields:]
	switch {
	case bytes.EqualFold(kind, []byte("message")) &&
		(bytes.EqualFold(subtype, []byte("rfc822")) || bytes.EqualFold(subtype, []byte("global"))):
		if len(rest) < 2 || rest[0].kind != listValue {
			return out, false
		}
		out = appendEnvelope(append(out, ' '), rest[0].items)
		if out, ok = appendStructure(append(out, ' '), rest[1]); !ok {
			return out, false
		}
		rest = rest[2:]
		out, rest = appendLines(out, rest)
	case bytes.EqualFold(kind, []byte("text")):
		out, rest = appendLines(out, rest)
	}
	if len(rest) > 1 { // MD5 and disposition
		out = appendNString(append(out, ' '), rest[0])
		out = appendDisposition(append(out, ' '), rest[1])
	}
	return append(out, ')'), true
}

// appendLines appends the number of lines that comes next, which servers leave out or set to NIL, and returns what comes
// behind it.
func appendLines(out []byte, rest []value) (_ []byte, behind []value) {
	lines := uint64(0)
	if len(rest) > 0 && rest[0].kind == atomValue {
		lines, _ = parseNumber(rest[0].text, max63)
		rest = rest[1:]
	}
	return strconv.AppendUint(append(out, ' '), lines, 10), rest
}

// appendParams appends parameters. A pair without a name, or with a list in it, is left out.
func appendParams(out []byte, v value) []byte {
	start := len(out)
	for i := 0; i+1 < len(v.items); i += 2 {
		name, param := v.items[i], v.items[i+1]
		if name.kind == listValue || name.isNIL() || len(name.text) == 0 || param.kind == listValue {
			continue
		}
		if len(out) == start {
			out = append(out, '(')
		} else {
			out = append(out, ' ')
		}
		out = append(appendString(out, name.text), ' ')
		if param.isNIL() {
			param.text = nil
		}
		out = appendString(out, param.text)
	}
	if len(out) == start {
		return append(out, "NIL"...)
	}
	return append(out, ')')
}

// appendDisposition appends a disposition and its parameters; it may come without the list around both.
func appendDisposition(out []byte, v value) []byte {
	params := value{}
	if v.kind == listValue {
		if len(v.items) == 0 {
			return append(out, "NIL"...)
		}
		if len(v.items) > 1 {
			params = v.items[1]
		}
		v = v.items[0]
	}
	if v.kind == listValue || v.isNIL() || len(v.text) == 0 {
		return append(out, "NIL"...)
	}
	out = appendString(append(out, '('), v.text)
	return append(appendParams(append(out, ' '), params), ')')
}

// appendEnvelope appends an envelope. mailfs reads the subject of it, so addresses are left out.
func appendEnvelope(out []byte, items []value) []byte {
	field := func(i int) value {
		if i < len(items) {
			return items[i]
		}
		return value{text: []byte("NIL")}
	}
	out = appendNString(append(out, '('), field(0))
	out = appendNString(append(out, ' '), field(1))
	out = append(out, " NIL NIL NIL NIL NIL NIL "...)
	out = appendNString(out, field(8))
	return append(appendNString(append(out, ' '), field(9)), ')')
}
