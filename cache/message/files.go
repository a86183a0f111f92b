package message

import (
	"strings"
	"unicode/utf8"

	"github.com/mailfs/mailfs/remote"
)

// File is a part of a message as a file, or the header of the message.
type File struct {
	Name string
	Part *remote.Part // nil for the header
	Body bool         // the file holds the text of the message: body.txt, body.html
}

// Files returns the files that a message consists of: its header as headers.txt, its text as body.txt and body.html, each
// other part under its own name. Names are fit for files, unique in any case of letters, and the same each time.
func Files(root *remote.Part) []File {
	given := names{}
	files := []File{{Name: given.unique("headers.txt")}}
	plain, html := false, false // a body.txt, a body.html is among the files
	var add func(p *remote.Part)
	add = func(p *remote.Part) {
		name := fileName(p)
		text := isText(p) && (p.Disposition == "" || name == "")
		switch {
		case p.IsMultipart():
			for _, child := range p.Parts {
				add(child)
			}
		case text && p.Type == "text/plain" && (name == "" || !plain):
			plain = true
			files = append(files, File{Name: given.unique("body.txt"), Part: p, Body: true})
		case text && p.Type == "text/html" && (name == "" || !html):
			html = true
			files = append(files, File{Name: given.unique("body.html"), Part: p, Body: true})
		default:
			files = append(files, File{Name: given.unique(partName(p, name)), Part: p})
		}
	}
	add(root)
	return files
}

// partName returns the name of a part's file before it is made unique. name is the one that the part gives itself.
func partName(p *remote.Part, name string) string {
	if isMessage(p.Type) {
		if subject := safeName(p.Subject + Suffix); name == "" && p.Subject != "" && subject != "" {
			return subject
		}
	}
	if safe := safeName(name); safe != "" {
		return safe
	}
	return "part-" + p.Number + extensionOf(p.Type)
}

// Verbatim tells whether the file holds the very bytes that the part has in the message.
func (f File) Verbatim() bool { return f.Part != nil && !f.Body && verbatim(f.Part.Encoding) }

// Content returns what is in the file: attachments as they were attached, text as UTF-8 with LF, HTML as UTF-8, the header
// as HeaderText. data is what the message has: the full header, or the part in its Content-Transfer-Encoding.
func (f File) Content(data []byte) []byte {
	switch {
	case f.Part == nil:
		return HeaderText(data)
	case !f.Body:
		return decodeContent(f.Part.Encoding, data)
	case f.Part.Type == "text/html":
		return htmlFile(f.Part, decodeContent(f.Part.Encoding, data))
	default:
		return []byte(partText(f.Part, data))
	}
}

// htmlFile returns an HTML document as UTF-8, with a byte order mark where it is not ASCII: the mark counts for more than
// the charset that the document names, which may be another one (HTML, section 13.2.3.1).
func htmlFile(p *remote.Part, data []byte) []byte {
	const mark = "\uFEFF"
	text := htmlToUTF8(validUTF8(decodeParameter(p.Params, "charset")), data)
	ascii := strings.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
	if ascii || strings.HasPrefix(text, mark) {
		return []byte(text)
	}
	return []byte(mark + text)
}
