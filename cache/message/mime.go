package message

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/mailfs/mailfs/remote"
)

// Parsed is a whole message and its parts, with their contents.
type Parsed struct {
	Root *remote.Part // numbered, in UTF-8

	content map[string][]byte // of the parts, by number
	headers map[string][]byte // of the messages, by the number of the part that they are; "" is the message itself
}

// Parse finds the parts of a message (RFC 2046, section 5). Any bytes are a message: a part that is not what its header
// says is text. The bytes must not be changed while the result is used. remote.ErrTooComplex as with remote.Part.Enumerate.
func Parse(raw []byte) (*Parsed, error) {
	r := &parser{room: maxDecodings * len(raw), content: map[*remote.Part][]byte{}, headers: map[*remote.Part][]byte{}}
	root, err := r.entity(raw, "text/plain", 0)
	if err == nil {
		err = root.Enumerate()
	}
	if err != nil {
		return nil, err
	}
	m := &Parsed{Root: root, content: map[string][]byte{}, headers: map[string][]byte{"": r.headers[root]}}
	m.place(root, r)
	ToUTF8(root)
	return m, nil
}

// Header returns a copy of the header fields that a listing shows, as ListedFields.
func (m *Parsed) Header() []byte {
	return ListedFields(m.Section(remote.Section{Aspect: remote.Fields}))
}

// place enters the contents of a part and of the parts in it by their numbers.
func (m *Parsed) place(p *remote.Part, r *parser) {
	if !p.IsMultipart() {
		m.content[p.Number] = r.content[p]
		if len(p.Parts) > 0 {
			m.headers[p.Number] = r.headers[p.Parts[0]]
		}
	}
	for _, child := range p.Parts {
		m.place(child, r)
	}
}

// Section returns a section, which is a piece of the message's bytes, or of those of a message in it that is encoded; nil if
// the message does not have that section.
func (m *Parsed) Section(s remote.Section) []byte {
	sections, limit := m.content, 0
	switch s.Aspect {
	case remote.Fields:
		sections, limit = m.headers, remote.MaxHeader
	case remote.FullHeader:
		sections, limit = m.headers, remote.MaxFullHeader+1
	}
	found := sections[s.Number]
	if limit > 0 && len(found) > limit {
		found = found[:limit]
	}
	return found
}

// maxDecodings bounds the bytes of encoded messages in a message, as a multiple of the message's length: encoded messages may
// lie in each other.
const maxDecodings = 4

// parser finds the parts of a message.
type parser struct {
	parts   int                     // found so far
	room    int                     // bytes of encoded messages that may still be decoded
	content map[*remote.Part][]byte // what follows the part's header, never nil
	headers map[*remote.Part][]byte // the part's own header, never nil
}

// entity reads a part: its header and its content. defaultType is the media type of a part that names none, depth the number
// of parts that this one lies in.
func (r *parser) entity(raw []byte, defaultType string, depth int) (*remote.Part, error) {
	r.parts++
	if r.parts > remote.MaxParts || depth > remote.MaxDepth {
		return nil, remote.ErrTooComplex
	}
	if raw == nil {
		raw = []byte{}
	}
	end, body := headerEnd(raw)
	header, content := raw[:end], raw[body:]
	h := ParseHeader(header[:min(end, remote.MaxHeader)])
	p := &remote.Part{Size: int64(len(content))}
	r.content[p], r.headers[p] = content, header
	p.Type, p.Params = h.contentType(defaultType)
	encoding, _ := h.raw("Content-Transfer-Encoding")
	if p.Encoding, _ = splitParameters(encoding); p.Encoding == "" {
		p.Encoding = "7bit"
	}
	if disposition, ok := h.raw("Content-Disposition"); ok {
		p.Disposition, p.DispositionParams = splitParameters(disposition)
	}
	return p, r.children(p, content, depth)
}

// contentType reads the field Content-Type. defaultType is the media type where it names none.
func (h Header) contentType(defaultType string) (mediaType string, params map[string]string) {
	field, _ := h.raw("Content-Type")
	mediaType, params = splitParameters(field)
	if !strings.Contains(strings.Trim(mediaType, "/"), "/") {
		mediaType = defaultType
	}
	return mediaType, params
}

// children reads the parts of a part. content is what follows the part's header.
func (r *parser) children(p *remote.Part, content []byte, depth int) error {
	switch {
	case p.IsMultipart():
		defaultType := "text/plain"
		if p.Type == "multipart/digest" { // RFC 2046, section 5.1.5
			defaultType = "message/rfc822"
		}
		found, err := r.split(boundaryOf(p), content)
		if err != nil {
			return err
		}
		for _, part := range found {
			child, err := r.entity(part, defaultType, depth+1)
			if err != nil {
				return err
			}
			p.Parts = append(p.Parts, child)
		}
		if len(found) == 0 {
			p.Type = "text/plain"
		}
	case isMessage(p.Type):
		inner := r.innerMessage(p, content)
		if inner == nil {
			return nil
		}
		child, err := r.entity(inner, "text/plain", depth+1)
		if err != nil {
			return err
		}
		header := r.headers[child]
		p.Subject, _ = ParseHeader(header[:min(len(header), remote.MaxHeader)]).raw("Subject")
		p.Parts = []*remote.Part{child}
	}
	return nil
}

// innerMessage returns the message that a part holds. It may be encoded, which RFC 2046, section 5.2.1, forbids and programs
// do; it may also only be said to be. nil: what the part holds can't be decoded.
func (r *parser) innerMessage(p *remote.Part, content []byte) []byte {
	if !verbatim(p.Encoding) && p.Encoding != "quoted-printable" {
		if line, _, _ := bytes.Cut(content, []byte("\n")); bytes.IndexByte(line, ':') > 0 { // a header, no base64
			p.Encoding = "7bit"
		}
	}
	if verbatim(p.Encoding) {
		return content
	}
	if r.room -= len(content); r.room < 0 {
		return nil
	}
	if decoded := decodeContent(p.Encoding, content); len(decoded) > 0 {
		return decoded
	}
	return nil
}

// boundaryOf returns the boundary between the parts of a multipart; "" if it has none.
func boundaryOf(p *remote.Part) string {
	boundary := p.Params["boundary"]
	if boundary == "" {
		boundary = decodeParameter(p.Params, "boundary") // as RFC 2231 writes it
	}
	return strings.TrimRight(boundary, " \t")
}

// isMessage tells whether a media type is that of a message in a message.
func isMessage(mediaType string) bool {
	return mediaType == "message/rfc822" || mediaType == "message/global" // RFC 6532, section 3.7
}

// split returns the parts of a multipart. Delimiters separate them (RFC 2046, section 5.1.1): lines of "--" and the boundary,
// the last one with "--" at its end. Where that is missing, the last part goes on to the end.
func (r *parser) split(boundary string, body []byte) (found [][]byte, err error) {
	if boundary == "" {
		return nil, nil
	}
	start := -1 // where the part begins that has no end yet; -1 before the first delimiter
	for pos := 0; ; {
		at, after, last := nextDelimiter(boundary, body, pos)
		if at < 0 {
			break
		}
		if start >= 0 {
			end := max(start, at-1)
			if end > start && body[end-1] == '\r' {
				end--
			}
			found = append(found, body[start:end])
			if r.parts+len(found) > remote.MaxParts {
				return nil, remote.ErrTooComplex
			}
		}
		if last {
			return found, nil
		}
		pos = after
		start = pos
	}
	if start >= 0 {
		found = append(found, body[start:])
	}
	return found, nil
}

// nextDelimiter finds the next delimiter in the body of a multipart from pos on. at is where it begins, -1 where there is none;
// after is where the line behind it begins; last tells that no part follows.
func nextDelimiter(boundary string, body []byte, pos int) (at, after int, last bool) {
	delimiter := []byte("--" + boundary)
	for {
		i := bytes.Index(body[pos:], delimiter)
		if i < 0 {
			return -1, len(body), false
		}
		at, pos = pos+i, pos+i+len(delimiter)
		line, _, _ := bytes.Cut(body[pos:], []byte("\n"))
		rest, last := bytes.CutPrefix(line, []byte("--"))
		if (at == 0 || body[at-1] == '\n') && len(bytes.Trim(rest, " \t\r")) == 0 {
			return at, min(pos+len(line)+1, len(body)), last
		}
	}
}

// headerEnd returns where the header of a message ends, before the empty line, and where the body begins, behind it.
func headerEnd(raw []byte) (end, body int) {
	for end < len(raw) {
		n := bytes.IndexByte(raw[end:], '\n') + 1
		if n == 0 {
			return len(raw), len(raw)
		}
		if n == 1 || n == 2 && raw[end] == '\r' {
			return end, end + n
		}
		end += n
	}
	return end, end
}

// splitParameters reads a header field of a value and parameters (RFC 2045, section 5.1): the value in lower case, and the
// parameters by their names in lower case. Of two with the same name the first counts. Any field can be read.
func splitParameters(field string) (value string, params map[string]string) {
	value, rest, _ := strings.Cut(field, ";")
	value, _, _ = strings.Cut(value, "(")
	value = strings.ToLower(strings.TrimSpace(value))
	for rest != "" {
		i := strings.IndexAny(rest, "=;")
		if i < 0 {
			break
		}
		name, after := rest[:i], rest[i+1:]
		if rest[i] == ';' { // a parameter without a value
			rest = after
			continue
		}
		var text string
		if text, rest = parameterValue(strings.TrimLeft(after, " \t")); params == nil {
			params = map[string]string{}
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := params[name]; !twice && name != "" {
			params[name] = text
		}
	}
	return value, params
}

// parameterValue reads the value of a parameter, quoted or not. rest is the text behind the semicolon that ends it.
func parameterValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ";")
		return strings.TrimSpace(value), rest
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			_, rest, _ = strings.Cut(s[i+1:], ";")
			return b.String(), rest
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// decodeParameter returns a parameter as text: encoded or in pieces (RFC 2231, sections 3 and 4), or against the rules in
// encoded words, also within pieces. Of pieces those that are there count, in the order of their numbers. It is "" where there
// is no parameter of that name.
func decodeParameter(params map[string]string, name string) string {
	if text, ok := params[name+"*"]; ok {
		charset, text := extended(text)
		if decoded := decodeExtended(charset, unpercent(text)); decoded != "" {
			return decoded
		}
	}
	var b []byte
	charset := ""
	for i, p := range parameterPieces(params, name) {
		text := p.text
		if p.extended {
			if i == 0 {
				charset, text = extended(text)
			}
			b = append(b, unpercent(text)...)
			continue
		}
		b = append(b, text...)
	}
	if len(b) > 0 {
		return decodeExtended(charset, b)
	}
	return decodeText(params[name])
}

// decodeExtended decodes the value of a parameter. Encoded words in it are decoded, whatever they are doing there.
func decodeExtended(charset string, value []byte) string {
	if charset == "" {
		return decodeText(string(value))
	}
	text := decodeCharset(charset, value)
	if strings.Contains(text, "=?") {
		return decodeText(text)
	}
	return text
}

// parameterPiece is a piece of a parameter: name*0="text", or name*0*=text, which is extended.
type parameterPiece struct {
	number   int
	extended bool
	text     string
}

// maxPieceNumber is the highest number of a piece of a parameter that is read.
const maxPieceNumber = 9999

// parameterPieces returns the pieces of a parameter in the order of their numbers.
func parameterPieces(params map[string]string, name string) []parameterPiece {
	var pieces []parameterPiece
	for key, text := range params {
		number, ok := strings.CutPrefix(key, name+"*")
		if !ok || number == "" {
			continue
		}
		p := parameterPiece{text: text}
		number, p.extended = strings.CutSuffix(number, "*")
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || n > maxPieceNumber {
			continue
		}
		p.number = int(n)
		pieces = append(pieces, p)
	}
	slices.SortFunc(pieces, func(x, y parameterPiece) int {
		if n := cmp.Compare(x.number, y.number); n != 0 {
			return n
		}
		return cmp.Or(strings.Compare(x.text, y.text), map[bool]int{true: 1, false: -1}[x.extended]) // "1" and "01"
	})
	return slices.CompactFunc(pieces, func(x, y parameterPiece) bool { return x.number == y.number })
}

// extended splits the charset'language'text of RFC 2231, section 4.
func extended(s string) (charset, text string) {
	if parts := strings.SplitN(s, "'", 3); len(parts) == 3 {
		return parts[0], parts[2]
	}
	return "", s
}

// unpercent undoes percent-encoding.
func unpercent(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16 {
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return out
}

// ToUTF8 makes every text in a structure valid UTF-8, and decodes the subjects. Servers send the bytes of the message.
func ToUTF8(p *remote.Part) {
	p.Type, p.Disposition = validUTF8(p.Type), validUTF8(p.Disposition)
	p.Encoding, _ = splitParameters(validUTF8(p.Encoding)) // a comment may stand behind it
	p.Subject = decodeText(p.Subject)
	for _, params := range []map[string]string{p.Params, p.DispositionParams} {
		for name, value := range params {
			params[name] = validUTF8(value)
		}
	}
	for _, child := range p.Parts {
		ToUTF8(child)
	}
}
