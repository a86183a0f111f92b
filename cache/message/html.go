package message

import (
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/net/html/charset"
)

// htmlToUTF8 returns an HTML document as UTF-8. name is the charset that the part names; where it is "" the document's own
// counts.
func htmlToUTF8(name string, data []byte) string {
	if name == "" {
		_, name, _ = charset.DetermineEncoding(data, "text/html")
	}
	return decodeCharset(name, data)
}

// textOfHTML returns the text of an HTML document, with a new line where an element begins one. The target of a link stands
// behind the link. The document is read tag by tag and not as a tree, so no nesting is too deep.
func textOfHTML(document string) string {
	w := &htmlWriter{}
	z := html.NewTokenizer(strings.NewReader(document))
	hidden := atom.Atom(0) // the open element whose content is not shown; 0 where there is none
	var href string
	linkAt := 0
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			return strings.TrimRight(w.String(), " \t\n") + "\n"
		}
		if kind == html.TextToken {
			if hidden == 0 {
				w.text(string(z.Text()))
			}
			continue
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken && kind != html.EndTagToken {
			continue
		}
		tag := z.Token()
		if hidden != 0 {
			if kind == html.EndTagToken && tag.DataAtom == hidden {
				hidden = 0
			}
			continue
		}
		end := kind == html.EndTagToken
		switch tag.DataAtom {
		case atom.Script, atom.Style, atom.Title, atom.Noscript, atom.Template:
			if kind == html.StartTagToken {
				hidden = tag.DataAtom
			}
		case atom.A:
			if href != "" {
				w.link(href, linkAt)
			}
			href, linkAt = "", w.Len()
			if !end {
				href = attribute(tag, "href")
			}
		case atom.Img:
			if alt := attribute(tag, "alt"); alt != "" {
				w.text(alt)
			}
		case atom.Br:
			w.feed()
		case atom.Hr:
			w.lines(1)
			w.text("----")
			w.lines(1)
		case atom.Pre:
			w.lines(2)
			w.pre = !end
		case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Blockquote, atom.Ul, atom.Ol, atom.Table:
			w.lines(2)
		case atom.Li:
			w.lines(1)
			if !end {
				w.text("* ")
			}
		case atom.Td, atom.Th:
			w.space = true
		case atom.Div, atom.Tr, atom.Dt, atom.Dd, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Address,
			atom.Center, atom.Form, atom.Body, atom.Option:
			w.lines(1)
		}
	}
}

// attribute returns the value of an attribute, "" if the tag does not have it.
func attribute(tag html.Token, name string) string {
	for _, a := range tag.Attr {
		if a.Key == name {
			return strings.TrimSpace(a.Val)
		}
	}
	return ""
}

// htmlWriter puts text into lines.
type htmlWriter struct {
	strings.Builder
	pre   bool // white space is kept as it is
	space bool // white space follows the last word
	ends  int  // line ends written since the last word
}

// text writes text, with one space for each run of white space.
func (w *htmlWriter) text(s string) {
	if w.pre {
		w.WriteString(s)
		w.ends, w.space = 0, false
		return
	}
	for s != "" {
		i := strings.IndexFunc(s, unicode.IsSpace)
		if i != 0 {
			word := s
			if i > 0 {
				word = s[:i]
			}
			if w.space && w.Len() > 0 && w.ends == 0 {
				w.WriteByte(' ')
			}
			w.WriteString(word)
			w.space, w.ends = false, 0
			s = s[len(word):]
			continue
		}
		w.space = true
		s = strings.TrimLeftFunc(s, unicode.IsSpace)
	}
}

// feed ends the line.
func (w *htmlWriter) feed() {
	if w.Len() > 0 && w.ends < 2 {
		w.WriteByte('\n')
		w.ends++
	}
	w.space = false
}

// lines makes sure that at least n line ends follow the last word.
func (w *htmlWriter) lines(n int) {
	for w.Len() > 0 && w.ends < n {
		w.WriteByte('\n')
		w.ends++
	}
	w.space = false
}

// link writes the target of a link, unless the text says it already. at is the length of what was written before the text.
func (w *htmlWriter) link(href string, at int) {
	lower := strings.ToLower(href)
	text := strings.TrimSpace(w.String()[at:])
	if strings.HasPrefix(href, "#") || strings.HasPrefix(lower, "javascript:") || strings.HasPrefix(lower, "data:") ||
		strings.TrimPrefix(href, "mailto:") == text || href == text {
		return
	}
	w.text(" <" + strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return -1
		}
		return r
	}, href) + ">")
}
