package message

import (
	"io"
	"mime"
	"net/mail"
	"regexp"
	"strings"
)

// maxAddresses is the longest field of addresses, in bytes, that the parser of the standard library is asked to read.
const maxAddresses = 4096

// anyCharset reads encoded words of any charset. What they stand for is of no interest in the search for an address.
var anyCharset = &mime.WordDecoder{CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil }}

// anyAddress finds an address in a text that breaks the grammar of addresses.
var anyAddress = regexp.MustCompile(`[^\s<>"(),:;@]+@[^\s<>"(),:;@]+`)

// simpleAddress is a field with one address and perhaps a name before it: no quotes, no comment, no second address.
var simpleAddress = regexp.MustCompile(`^(?:[A-Za-z0-9 .'_?=*&/-]*<([A-Za-z0-9._%+=-]+@[A-Za-z0-9.-]+)>|([A-Za-z0-9._%+=-]+@[A-Za-z0-9.-]+))$`)

// address returns the address, without the name, of the first mailbox in a field like From or To (RFC 5322, section 3.4),
// or "" if there is none.
func (h Header) address(name string) string {
	raw, ok := h.raw(name)
	if !ok {
		return ""
	}
	return firstAddress(raw)
}

// firstAddress returns the address of the first mailbox in a list. It is what stands in angle brackets where there are any: a
// name, a comment, a quoted or encoded text that looks like an address is none.
func firstAddress(raw string) string {
	if found := simpleAddress.FindStringSubmatch(raw); found != nil { // nearly all mail, and 20 times as fast
		return validUTF8(found[1] + found[2])
	}
	if len(raw) <= maxAddresses && !wordsHaveSpecials(raw) {
		if list, err := (&mail.AddressParser{WordDecoder: anyCharset}).ParseList(raw); err == nil && len(list) > 0 {
			return validUTF8(list[0].Address)
		}
	}
	address, brackets := brokenAddress(raw)
	if address == "" && !brackets { // "alice@example.com" all quoted, or all in an encoded word
		address = anyAddress.FindString(decodeText(raw))
	}
	return validUTF8(address)
}

// wordsHaveSpecials tells whether an encoded word in a list holds characters that separate addresses, which RFC 2047, section 5,
// forbids: parsers take them for what they are outside of words.
func wordsHaveSpecials(raw string) bool {
	for strings.Contains(raw, "=?") {
		at, length, word := findWord(raw)
		if at < 0 {
			return false
		}
		if strings.ContainsAny(word.text, `@<>,;:"()\`) {
			return true
		}
		raw = raw[at+length:]
	}
	return false
}

// brokenAddress returns the address of the first mailbox that has one, in a list that may break every rule; "" if none has
// one. brackets tells whether the list has angle brackets.
func brokenAddress(raw string) (address string, brackets bool) {
	var plain strings.Builder // the mailbox, without what is quoted or a comment
	closing := closings(raw)
	inBrackets := ""
	end := func() bool { // ends a mailbox, and tells whether it has an address
		if address = inBrackets; address == "" {
			address = anyAddress.FindString(plain.String())
		}
		return address != ""
	}
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case c == '"' || c == '(':
			n := closing[i]
			if n == 0 { // it is not closed: a character like others, but of no address
				plain.WriteByte(' ')
				i++
				continue
			}
			if c == '"' && n+1 < len(raw) && raw[n+1] == '@' { // "john doe"@example.com
				plain.WriteString(component(raw[i+1:n], "", maxFrom))
			} else {
				plain.WriteByte(' ')
			}
			i = n + 1
		case strings.HasPrefix(raw[i:], "=?"):
			if _, n := wordAt(raw[i:]); n > 0 {
				plain.WriteByte(' ')
				i += n
				continue
			}
			plain.WriteByte(c)
			i++
		case c == '<':
			brackets = true
			n := strings.IndexAny(raw[i+1:], "<>,;")
			if n < 0 {
				n = len(raw) - i - 1
			}
			if found := inAngles(raw[i+1 : i+1+n]); found != "" {
				inBrackets = found // the last one counts: what stands before is a name
			} else if n+i+1 < len(raw) && raw[n+i+1] == '>' {
				plain.Reset() // <> or <alice>: the name is no address
			}
			i += 1 + n
		case c == ',' || c == ';':
			if end() {
				return address, brackets
			}
			plain.Reset()
			i++
		case c == ':' && inBrackets == "": // the name of a group ends
			plain.Reset()
			i++
		default:
			plain.WriteByte(c)
			i++
		}
	}
	end()
	return address, brackets
}

// inAngles returns the address in the text between angle brackets; "" if there is none.
func inAngles(text string) string {
	text, _ = cutComments(text)
	text = strings.TrimSpace(text)
	if i := strings.LastIndexByte(text, ':'); i >= 0 { // a route (RFC 5322, section 4.4), or "mailto:"
		text = text[i+1:]
	}
	if strings.Contains(text, "=?") {
		text = decodeText(text)
	}
	if found := anyAddress.FindString(text); found != "" {
		return found
	}
	if local, domain, ok := strings.Cut(text, "@"); ok { // <a @b>, <"a b"@c>
		if local, domain = strings.Trim(local, ` "`), strings.TrimSpace(domain); local != "" && domain != "" {
			return anyAddress.FindString(strings.ReplaceAll(local, " ", "-") + "@" + domain)
		}
	}
	return ""
}

// closings returns for each quote and each parenthesis that begins a quoted text or a comment where that ends. One that is not
// closed has none, and then no later one of its kind has.
func closings(raw string) map[int]int {
	ends := map[int]int{}
	quotes, comments := true, true // are looked for
	for i := 0; i < len(raw); {
		quote := -1
		var open []int // parentheses
		for ; i < len(raw); i++ {
			switch c := raw[i]; {
			case c == '\\':
				i++
			case quote >= 0:
				if c == '"' {
					ends[quote] = i
					quote = -1
				}
			case c == '"' && quotes && len(open) == 0:
				quote = i
			case c == '(' && comments:
				open = append(open, i)
			case c == ')' && len(open) > 0:
				ends[open[len(open)-1]] = i
				open = open[:len(open)-1]
			}
		}
		if quote >= 0 { // what follows the quote is not quoted
			quotes, i = false, quote+1
		} else if len(open) > 0 {
			comments, i = false, open[0]+1
		}
	}
	return ends
}
