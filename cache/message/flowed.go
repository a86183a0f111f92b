package message

import "strings"

// unflow joins the lines of paragraphs that were broken for transport: format=flowed of RFC 3676, section 4. delSp removes the
// space at the end of each broken line (DelSp=yes).
func unflow(s string, delSp bool) string {
	var b strings.Builder
	b.Grow(len(s))
	open, depth := false, 0 // the paragraph goes on if the next line is quoted depth times
	for line := range strings.Lines(s) {
		line = strings.TrimSuffix(line, "\n")
		text := strings.TrimLeft(line, ">")
		quotes := len(line) - len(text)
		text = strings.TrimPrefix(text, " ") // stuffed; section 4.4
		signature := text == "-- "           // section 4.3
		if open && (quotes != depth || signature) {
			b.WriteByte('\n')
			open = false
		}
		if !open && quotes > 0 {
			b.WriteString(line[:quotes])
			if text != "" {
				b.WriteByte(' ')
			}
		}
		depth = quotes
		open = strings.HasSuffix(text, " ") && !signature
		if open && delSp {
			text = text[:len(text)-1]
		}
		b.WriteString(text)
		if !open {
			b.WriteByte('\n')
		}
	}
	if open {
		b.WriteByte('\n')
	}
	return b.String()
}
