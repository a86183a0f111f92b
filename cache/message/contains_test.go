package message

import (
	"testing"

	"github.com/mailfs/mailfs/remote"
)

func TestQueriesAreDecidedByTheHeaderWhereThatIsEnough(t *testing.T) {
	header := []byte("From: =?utf-8?q?J=C3=B6rg?= <j@example.org>\r\nTo: bob@example.com\r\nSubject: The bill\r\n\r\n")
	text := []byte("From: Jörg <j@example.org>\nSubject: The bill\n\nDear Bob,\nplease pay.\n")
	for what, c := range map[string]struct {
		query           remote.Query
		withText, known bool // the result with a text, and whether it is decided without one
		askedForText    bool
	}{
		"no words":                    {query: remote.Query{}, withText: true, known: true},
		"a sender":                    {query: remote.Query{From: []string{"jörg"}}, withText: true, known: true},
		"another sender":              {query: remote.Query{From: []string{"alice"}, Body: []string{"pay"}}, known: true},
		"two words of a subject":      {query: remote.Query{Subject: []string{"BILL", "the"}}, withText: true, known: true},
		"a recipient":                 {query: remote.Query{To: []string{"carol"}}, known: true},
		"a text that is in the body":  {query: remote.Query{Text: []string{"please"}}, withText: true, askedForText: true},
		"a text in the header":        {query: remote.Query{Text: []string{"bill"}}, withText: true, known: true, askedForText: true},
		"a body that is there":        {query: remote.Query{Body: []string{"dear"}}, withText: true, askedForText: true},
		"a body that is not there":    {query: remote.Query{Body: []string{"bill"}}, askedForText: true},
		"a text that is in no place":  {query: remote.Query{Text: []string{"carol"}}, askedForText: true},
		"a text in two places":        {query: remote.Query{Text: []string{"jörg", "pay"}}, withText: true, askedForText: true},
		"a text and a body, one only": {query: remote.Query{Text: []string{"jörg"}, Body: []string{"jörg"}}, askedForText: true},
	} {
		asked := false
		fits, decided := Contains(c.query, header, func() ([]byte, bool) { asked = true; return text, true })
		if fits != c.withText || !decided || asked != c.askedForText {
			t.Errorf("%s: with the text %v, decided %v, asked for it %v", what, fits, decided, asked)
		}
		if _, decided = Contains(c.query, header, func() ([]byte, bool) { return nil, false }); decided != c.known {
			t.Errorf("%s: decided without the text: %v", what, decided)
		}
	}
}
