package fs

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mailfs/mailfs/remote"
)

// parseQuery reads a query as people write it: terms with spaces between them. A message must fit all of them.
//
//	from:alice  to:bob  subject:invoice  body:total  text:tax   in that field, in the text, or anywhere
//	since:2026-01-31  before:2026-02-28                         arrived on that day or later; before that day
//	larger:10k  smaller:5M                                      bytes, with k, M or G for 1024 of the next smaller unit
//	unread  flagged  answered
//	word  "some words"                                          text: is meant
//
// Values may be quoted; in quotes \" is a quote and \\ a backslash. Where a query breaks these rules, the error is
// remote.ErrQuery and names the character.
func parseQuery(s string) (remote.Query, error) {
	p := queryParser{text: s, rest: s}
	if !utf8.ValidString(s) {
		return remote.Query{}, p.wrong("this is not UTF-8")
	}
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		p.rest = s[i:]
		return remote.Query{}, p.wrong("a control character")
	}
	for {
		p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace)
		if p.rest == "" {
			break
		}
		if err := p.term(); err != nil {
			return remote.Query{}, err
		}
	}
	if !p.any {
		return remote.Query{}, p.wrong("nothing to search for")
	}
	return p.query, nil
}

type queryParser struct {
	text  string // the query as written
	rest  string // the end of text that has not been read
	any   bool   // at least one term was read
	query remote.Query
}

// wrong returns an error about the query at the beginning of rest.
func (p *queryParser) wrong(format string, args ...any) error {
	at := utf8.RuneCountInString(p.text[:len(p.text)-len(p.rest)]) + 1
	return fmt.Errorf("%w: at character %d of %q: %s", remote.ErrQuery, at, p.text, fmt.Sprintf(format, args...))
}

// term reads one term.
func (p *queryParser) term() error {
	p.any = true
	if p.rest[0] == '"' {
		text, err := p.value()
		p.query.Text = append(p.query.Text, text)
		return err
	}
	end := strings.IndexFunc(p.rest, func(r rune) bool { return unicode.IsSpace(r) || r == ':' || r == '"' })
	if end < 0 {
		end = len(p.rest)
	}
	word, after := p.rest[:end], p.rest[end:]
	switch {
	case strings.HasPrefix(after, ":"):
		return p.keyed(strings.ToLower(word), after[1:])
	case strings.HasPrefix(after, `"`):
		p.rest = after
		return p.wrong("a quote in the middle of a word")
	case word == "unread":
		p.query.Unread = true
	case word == "flagged":
		p.query.Flagged = true
	case word == "answered":
		p.query.Answered = true
	default:
		p.query.Text = append(p.query.Text, word)
	}
	p.rest = after
	return nil
}

// keyed reads the value of a term like from:alice. key is in lower case, after follows the colon.
func (p *queryParser) keyed(key, after string) (err error) {
	q := &p.query
	texts := map[string]*[]string{
		"from": &q.From, "to": &q.To, "subject": &q.Subject, "body": &q.Body, "text": &q.Text,
	}
	if key != "since" && key != "before" && key != "larger" && key != "smaller" && texts[key] == nil {
		return p.wrong("there is no term %q:; to search for it, put it in quotes", key)
	}
	p.rest = after
	begin := *p
	value, err := p.value()
	if err != nil {
		return err
	}
	switch key {
	case "since", "before":
		day, err := time.Parse(time.DateOnly, value)
		if err != nil {
			return begin.wrong("%q is not a date like 2026-01-31", value)
		}
		if key == "since" && day.After(q.Since) {
			q.Since = day
		} else if key == "before" && (q.Before.IsZero() || day.Before(q.Before)) {
			q.Before = day
		}
	case "larger", "smaller":
		size, ok := querySize(value)
		if !ok || key == "smaller" && size == 0 {
			return begin.wrong("%q is not a size like 10k or 5M", value)
		}
		if key == "larger" {
			q.Larger = max(q.Larger, size)
		} else if q.Smaller == 0 || size < q.Smaller {
			q.Smaller = size
		}
	default:
		*texts[key] = append(*texts[key], value)
	}
	return nil
}

// value reads a quoted value, or one that ends at the next space.
func (p *queryParser) value() (string, error) {
	if !strings.HasPrefix(p.rest, `"`) {
		end := strings.IndexFunc(p.rest, unicode.IsSpace)
		if end < 0 {
			end = len(p.rest)
		}
		value := p.rest[:end]
		if value == "" {
			return "", p.wrong("a value is missing")
		}
		if i := strings.IndexByte(value, '"'); i >= 0 {
			p.rest = p.rest[i:]
			return "", p.wrong("a quote in the middle of a word")
		}
		p.rest = p.rest[end:]
		return value, nil
	}
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '\\' && i+1 < len(p.rest) && (p.rest[i+1] == '"' || p.rest[i+1] == '\\'):
			i++
			b.WriteByte(p.rest[i])
		case c != '"':
			b.WriteByte(c)
		case strings.TrimSpace(b.String()) == "":
			return "", p.wrong("nothing between the quotes")
		default:
			after := p.rest[i+1:]
			if r, _ := utf8.DecodeRuneInString(after); after != "" && !unicode.IsSpace(r) {
				p.rest = after
				return "", p.wrong("a space is missing after the quote")
			}
			p.rest = after
			return b.String(), nil
		}
	}
	return "", p.wrong("the quote does not end")
}

// querySize reads a number of bytes like 10k. ok is false where s is none.
func querySize(s string) (n int64, ok bool) {
	shift := 0
	switch {
	case strings.HasSuffix(s, "k"), strings.HasSuffix(s, "K"):
		shift = 10
	case strings.HasSuffix(s, "M"), strings.HasSuffix(s, "m"):
		shift = 20
	case strings.HasSuffix(s, "G"), strings.HasSuffix(s, "g"):
		shift = 30
	}
	if shift > 0 {
		s = s[:len(s)-1]
	}
	number, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, false
	}
	return int64(number) << shift, true
}
