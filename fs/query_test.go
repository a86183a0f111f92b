package fs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mailfs/mailfs/remote"
)

func TestEveryTermOfAQueryIsReadAndAMistakeIsNamedWithItsPlace(t *testing.T) {
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	good := map[string]remote.Query{
		"invoice":                     {Text: []string{"invoice"}},
		"  two   words ":              {Text: []string{"two", "words"}},
		`"two words"`:                 {Text: []string{"two words"}},
		`"unread"`:                    {Text: []string{"unread"}},
		`"a:b"`:                       {Text: []string{"a:b"}},
		`subject:"say \"hi\" \\ now"`: {Subject: []string{`say "hi" \ now`}},
		"from:a from:b To:c":          {From: []string{"a", "b"}, To: []string{"c"}},
		"subject:a:b":                 {Subject: []string{"a:b"}},
		"unread flagged answered":     {Unread: true, Flagged: true, Answered: true},
		"since:2026-01-02 since:2026-01-01 before:2026-03-01 before:2026-02-01": {
			Since: day("2026-01-02"), Before: day("2026-02-01")},
		"larger:10k larger:1 smaller:5M smaller:1g": {Larger: 10 << 10, Smaller: 5 << 20},
		"body:größe text:你好":                        {Body: []string{"größe"}, Text: []string{"你好"}},
	}
	for s, want := range good {
		if q, err := parseQuery(s); err != nil || fmt.Sprint(q) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, %v; want %+v", s, q, err, want)
		}
	}
	bad := map[string]string{ // and what the error says
		"": "nothing", "   ": "nothing", "from:": "character 6", "from: x": "character 6", "a form:b": "character 3",
		`"open`: "does not end", `""`: "nothing between", `"a"b`: "space is missing", `a"b`: "in the middle",
		`from:a"b`: "in the middle", "since:2026-13-01": "not a date", "before:soon": "not a date", "larger:": "missing",
		"larger:x": "not a size", "smaller:0": "not a size", "larger:-1": "not a size", "larger:99999999999G": "not a size",
		"a\nb": "control", "\xff": "UTF-8", "größe since:x": "character 13",
	}
	for s, part := range bad {
		if q, err := parseQuery(s); !errors.Is(err, remote.ErrQuery) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %+v, %v; want an error with %q", s, q, err, part)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{"from:a b", `"x y" since:2026-01-01`, `larger:10k "\\"`, "a:b", "\xff", `""`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := parseQuery(s)
		if err != nil {
			if !errors.Is(err, remote.ErrQuery) || !strings.Contains(err.Error(), "character") {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		for _, texts := range [][]string{q.From, q.To, q.Subject, q.Body, q.Text} {
			for _, text := range texts {
				if text == "" || !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n\x00") {
					t.Errorf("%q asks for %q", s, text)
				}
			}
		}
		if q.Larger < 0 || q.Smaller < 0 {
			t.Errorf("%q asks for sizes %d and %d", s, q.Larger, q.Smaller)
		}
	})
}
