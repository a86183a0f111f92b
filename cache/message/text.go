package message

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/mailfs/mailfs/remote"
)

// maxText bounds the text of one message, in bytes of its encoded parts.
const maxText = 64 << 20

// TextSections returns the sections of a message that Text needs, and the bytes of the parts that they lie in.
// remote.ErrTooComplex: the text is more than maxText.
func TextSections(root *remote.Part) (sections []remote.Section, size int64, err error) {
	var content int64
	w := &textWriter{}
	w.content = func(s remote.Section, p *remote.Part) []byte {
		size += p.Size
		if s.Aspect == remote.Content {
			content += p.Size
		}
		sections = append(sections, s)
		return nil
	}
	w.part(root)
	if content > maxText {
		return nil, 0, fmt.Errorf("%w: %d bytes of text", remote.ErrTooComplex, content)
	}
	return sections, size, nil
}

// Text returns what a message says, for people and grep: From, To, Cc, Date and Subject, an empty line, the text, a line for
// each attachment; in UTF-8 with LF. header has these fields, content returns the sections of TextSections, nil for one that
// the message does not have.
func Text(header []byte, root *remote.Part, content func(remote.Section) []byte) []byte {
	w := &textWriter{content: func(s remote.Section, _ *remote.Part) []byte { return content(s) }}
	w.message(header, root)
	return w.Bytes()
}

// textWriter writes a text.
type textWriter struct {
	bytes.Buffer
	content     func(remote.Section, *remote.Part) []byte
	attachments []*remote.Part // of the message that is being written
}

// textFields are the header fields that a text begins with.
var textFields = []string{"From", "To", "Cc", "Date", "Subject"}

// message writes a message or one that it holds.
func (w *textWriter) message(header []byte, root *remote.Part) {
	h := ParseHeader(header)
	for _, name := range textFields {
		if value, ok := h.Text(name); ok {
			fmt.Fprintf(w, "%s: %s\n", name, oneLine(value))
		}
	}
	w.WriteByte('\n')
	outer := w.attachments
	w.attachments = nil
	w.part(root)
	if len(w.attachments) > 0 {
		w.paragraph()
	}
	for _, p := range w.attachments {
		fmt.Fprintf(w, "[attachment: %s (%s, %s)]\n", attachmentName(p), oneLine(readable(p.Type)), roughSize(p))
	}
	w.attachments = outer
}

// part writes what of a part is text.
func (w *textWriter) part(p *remote.Part) {
	switch {
	case p.Type == "multipart/alternative":
		if best := preferred(p.Parts); best != nil {
			w.part(best)
		}
	case p.IsMultipart():
		for _, child := range p.Parts {
			w.part(child)
		}
	case isMessage(p.Type) && len(p.Parts) == 1:
		header := w.content(remote.Section{Number: p.Number, Aspect: remote.Fields}, p)
		w.paragraph()
		w.WriteString("---------- attached message ----------\n")
		w.message(header, p.Parts[0])
		w.WriteString("---------- end of attached message ----------\n")
	case isText(p):
		data := w.content(remote.Section{Number: p.Number}, p)
		if text := partText(p, data); strings.TrimSpace(text) != "" {
			w.paragraph()
			w.WriteString(text)
		}
	default:
		w.attachments = append(w.attachments, p)
	}
}

// paragraph makes sure that there is an empty line before what is written next.
func (w *textWriter) paragraph() {
	b := w.Bytes()
	if len(b) > 0 && b[len(b)-1] != '\n' {
		w.WriteByte('\n')
		b = w.Bytes()
	}
	if len(b) > 1 && b[len(b)-2] != '\n' {
		w.WriteByte('\n')
	}
}

// isText tells whether a part is shown and not attached.
func isText(p *remote.Part) bool {
	switch {
	case p.Disposition == "attachment":
		return false
	case p.Type == "text/plain", p.Type == "text/html", p.Type == "message/delivery-status":
		return true
	default:
		return strings.HasPrefix(p.Type, "text/") && fileName(p) == ""
	}
}

// preferred returns the alternative that is read: the plain one, or else the one of HTML, or else the last, which is the
// best in the eyes of who wrote it (RFC 2046, section 5.1.4).
func preferred(alternatives []*remote.Part) *remote.Part {
	for _, mediaType := range []string{"text/plain", "text/html"} {
		for _, p := range alternatives {
			if holds(p, mediaType) {
				return p
			}
		}
	}
	if len(alternatives) == 0 {
		return nil
	}
	return alternatives[len(alternatives)-1]
}

// holds tells whether a part is, or has in it, text of a type that is not empty.
func holds(p *remote.Part, mediaType string) bool {
	if p.Type == mediaType {
		return isText(p) && p.Size > 4 // two ends of lines
	}
	if !p.IsMultipart() {
		return false
	}
	for _, child := range p.Parts {
		if holds(child, mediaType) {
			return true
		}
	}
	return false
}

// partText returns the text of a part as UTF-8 with LF, with an LF at the end unless it is empty.
func partText(p *remote.Part, data []byte) string {
	data = decodeContent(p.Encoding, data)
	charset := readable(parameter(p.Params, "charset"))
	var text string
	if p.Type == "text/html" {
		text = lines(htmlText(htmlToUTF8(charset, data)))
	} else {
		text = lines(decodeCharset(charset, data))
		if strings.EqualFold(p.Params["format"], "flowed") {
			text = unflow(text, strings.EqualFold(p.Params["delsp"], "yes"))
		}
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text
}

// oneLine makes text fit to be one line among others.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s))
}

// attachmentName is what a text calls an attachment.
func attachmentName(p *remote.Part) string {
	if name := oneLine(fileName(p)); name != "" {
		return name
	}
	return "without a name"
}

// roughSize tells about how large an attachment is: what BODYSTRUCTURE says allows no more.
func roughSize(p *remote.Part) string {
	size := p.Size
	if p.Encoding == "base64" {
		size = size / 78 * 57
	}
	switch {
	case size < 1000:
		return fmt.Sprintf("%d bytes", size)
	case size < 1_000_000:
		return fmt.Sprintf("%d kB", (size+500)/1000)
	default:
		return fmt.Sprintf("%.1f MB", float64(size)/1e6)
	}
}
