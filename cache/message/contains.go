package message

import (
	"bytes"
	"slices"
	"strings"

	"github.com/mailfs/mailfs/remote"
)

// Contains tells whether a message contains the words of a query. header is its raw header. text returns its text as [Text]
// makes it, and false where that can't be had; it is called only where the header does not decide. decided is false where the
// text is needed and can't be had.
func Contains(q remote.Query, header []byte, text func() ([]byte, bool)) (fits, decided bool) {
	h := ParseHeader(header)
	for _, field := range []struct {
		name  string
		words []string
	}{{"From", q.From}, {"To", q.To}, {"Subject", q.Subject}} {
		value, _ := h.Text(field.name)
		if !containsAll(value, field.words) {
			return false, true
		}
	}
	if !q.NeedsBodies() {
		return true, true
	}
	made, ok := text()
	_, body, _ := bytes.Cut(made, []byte("\n\n"))
	head := string(HeaderText(header))
	switch {
	case ok:
		return containsAll(string(body), q.Body) && containsAll(head+string(body), q.Text), true
	case len(q.Body) == 0 && containsAll(head, q.Text):
		return true, true
	default:
		return false, false
	}
}

// containsAll tells whether a text contains all words, in any case of letters.
func containsAll(text string, words []string) bool {
	text = strings.ToLower(text)
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, strings.ToLower(w)) })
}
