package message

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// encodedWord is a word of RFC 2047, section 2.
type encodedWord struct {
	charset string // as cleanCharset returns it
	quoted  bool   // the encoding is Q, else B
	text    string // encoded
}

// decodeText decodes the unfolded value of a field: encoded words, and what stands between them in no named charset. White
// space between two encoded words is dropped (RFC 2047, section 6.2). The result is valid UTF-8.
func decodeText(raw string) string {
	if !strings.Contains(raw, "=?") {
		return decodeUnnamed(raw)
	}
	var b strings.Builder
	var words []encodedWord // that follow each other, not decoded yet
	for {
		at, length, word := findWord(raw)
		if at < 0 {
			break
		}
		if between := raw[:at]; len(words) == 0 || strings.Trim(between, " \t\r\n") != "" {
			writeWords(&b, words)
			words = words[:0]
			b.WriteString(decodeUnnamed(between))
		}
		words = append(words, word)
		raw = raw[at+length:]
	}
	writeWords(&b, words)
	b.WriteString(decodeUnnamed(raw))
	return b.String()
}

// findWord finds the first encoded word in a text. at is where the word begins; -1 where there is none.
func findWord(s string) (at, length int, word encodedWord) {
	for at = 0; ; at += 2 {
		i := strings.Index(s[at:], "=?")
		if i < 0 {
			return -1, 0, encodedWord{}
		}
		at += i
		if word, length = wordAt(s[at:]); length > 0 {
			return at, length, word
		}
	}
}

// maxCharsetName is the longest name of a charset, with its language, that is read in an encoded word, in bytes.
const maxCharsetName = 75

// wordAt reads the encoded word that a text beginning with "=?" begins with. length is 0 if the text begins with none. Spaces
// within the word are read, though RFC 2047, section 2, forbids them.
func wordAt(s string) (word encodedWord, length int) {
	end := strings.IndexByte(s[2:min(len(s), 2+maxCharsetName)], '?')
	if end < 0 || strings.ContainsAny(s[2:2+end], " \t\r\n=") {
		return word, 0
	}
	word.charset = cleanCharset(s[2 : 2+end])
	rest := s[2+end+1:]
	if len(rest) < 2 || rest[1] != '?' {
		return word, 0
	}
	switch rest[0] {
	case 'q', 'Q':
		word.quoted = true
	case 'b', 'B':
	default:
		return word, 0
	}
	rest = rest[2:]
	for i := 0; ; i++ {
		next := strings.IndexByte(rest[i:], '?')
		if next < 0 {
			return word, 0
		}
		i += next
		if strings.HasPrefix(rest[i:], "?=") {
			word.text = rest[:i]
			break
		}
		if i > 0 && rest[i-1] == '=' { // another word begins, so this one does not end
			return word, 0
		}
	}
	if !word.quoted && word.text != "" && strings.IndexFunc(word.text, func(r rune) bool { return r < utf8.RuneSelf && base64Values[r] < 64 || r == '=' }) < 0 {
		return word, 0
	}
	return word, len(s) - len(rest) + len(word.text) + 2
}

// writeWords writes encoded words that follow each other. Words of one charset are joined before they are decoded: some
// programs cut them within a character, or within a group of base64.
func writeWords(b *strings.Builder, words []encodedWord) {
	for len(words) > 0 {
		n := 1
		for n < len(words) && words[n].charset == words[0].charset {
			n++
		}
		b.WriteString(decodeWords(words[:n]))
		words = words[n:]
	}
}

// decodeWords decodes words of one charset.
func decodeWords(words []encodedWord) string {
	charset := words[0].charset
	var joined, apart []byte // base64 goes on in the next word, or each word has base64 of its own
	for len(words) > 0 {
		n := 1
		for n < len(words) && words[n].quoted == words[0].quoted {
			n++
		}
		j, a := decodeB, decodeBApart
		if words[0].quoted {
			j, a = decodeQ, decodeQ
		}
		joined, apart = append(joined, j(words[:n])...), append(apart, a(words[:n])...)
		words = words[n:]
	}
	text := decodeCharset(charset, joined)
	if !bytes.Equal(joined, apart) {
		if other := decodeCharset(charset, apart); garbage(other) < garbage(text) {
			return other
		}
	}
	return text
}

// garbage counts the characters that text hardly has.
func garbage(text string) int {
	n := 0
	for _, r := range text {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Co, r) {
			n++
		}
	}
	return n
}

// decodeQ decodes the text of words in Q encoding (RFC 2047, section 4.2). A "=" that begins no escape stays.
func decodeQ(words []encodedWord) []byte {
	var text strings.Builder
	for _, w := range words {
		text.WriteString(w.text)
	}
	s := text.String()
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '_':
			out = append(out, ' ')
		case s[i] == '=' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16:
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return out
}

// decodeB decodes the text of words in base64 that goes on from one word to the next, unless a word ends with its padding or
// with a group of four characters.
func decodeB(words []encodedWord) []byte {
	var out []byte
	var group strings.Builder
	for _, w := range words {
		for piece := range strings.SplitAfterSeq(w.text, "=") { // what follows padding is base64 of its own
			group.WriteString(piece)
			if strings.HasSuffix(piece, "=") {
				out = append(out, decodeBase64([]byte(group.String()))...)
				group.Reset()
			}
		}
	}
	return append(out, decodeBase64([]byte(group.String()))...)
}

// decodeBApart decodes the text of words in base64 of which each stands for itself.
func decodeBApart(words []encodedWord) []byte {
	var out []byte
	for i := range words {
		out = append(out, decodeB(words[i:i+1])...)
	}
	return out
}
