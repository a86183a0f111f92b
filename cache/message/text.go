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

// textWriter writes the text of a message.
type textWriter struct {
	bytes.Buffer
	content     func(remote.Section, *remote.Part) []byte // a section of the part
	attachments []*remote.Part                            // of the innermost message that is being written
}

// textFields are the header fields at the beginning of a text.
var textFields = []string{"From", "To", "Cc", "Date", "Subject"}

// message writes the message or a message in it.
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
		fmt.Fprintf(w, "[attachment: %s (%s, %s)]\n", attachmentName(p), oneLine(validUTF8(p.Type)), estimatedSize(p))
	}
	w.attachments = outer
}

// part writes the text of a part. A part without text becomes one of the attachments.
func (w *textWriter) part(p *remote.Part) {
	switch {
	case p.Type == "multipart/alternative":
		if best := bestAlternative(p.Parts); best != nil {
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

// paragraph makes sure that the next text has an empty line before it.
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

// isText tells whether a part is shown as text and is not an attachment.
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

// bestAlternative returns the alternative whose text is shown: the first of plain text, else the first of HTML, else the last
// one, which the sender prefers (RFC 2046, section 5.1.4).
func bestAlternative(alternatives []*remote.Part) *remote.Part {
	for _, mediaType := range []string{"text/plain", "text/html"} {
		for _, p := range alternatives {
			if hasText(p, mediaType) {
				return p
			}
		}
	}
	if len(alternatives) == 0 {
		return nil
	}
	return alternatives[len(alternatives)-1]
}

// hasText tells whether a part is or contains text of a media type that is not empty.
func hasText(p *remote.Part, mediaType string) bool {
	if p.Type == mediaType {
		return isText(p) && p.Size > 4 // bytes: more than two line ends
	}
	if !p.IsMultipart() {
		return false
	}
	for _, child := range p.Parts {
		if hasText(child, mediaType) {
			return true
		}
	}
	return false
}

// partText returns the text of a part in UTF-8, each line ended by LF. data is the part in its Content-Transfer-Encoding.
func partText(p *remote.Part, data []byte) string {
	data = decodeContent(p.Encoding, data)
	charset := validUTF8(decodeParameter(p.Params, "charset"))
	var text string
	if p.Type == "text/html" {
		text = cleanLines(textOfHTML(htmlToUTF8(charset, data)))
	} else {
		text = cleanLines(decodeCharset(charset, data))
		if strings.EqualFold(p.Params["format"], "flowed") {
			text = unflow(text, strings.EqualFold(p.Params["delsp"], "yes"))
		}
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text
}

// oneLine replaces the control characters of text, line ends among them, by spaces.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s))
}

// attachmentName returns the name of an attachment in a text.
func attachmentName(p *remote.Part) string {
	if name := oneLine(fileName(p)); name != "" {
		return name
	}
	return "without a name"
}

// estimatedSize tells about how large an attachment is. BODYSTRUCTURE has its encoded size only: base64 makes lines of 76
// characters and CRLF out of 57 bytes.
func estimatedSize(p *remote.Part) string {
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
