package table

import (
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

func TestQueriesCompareTimeSizeAndFlags(t *testing.T) {
	day := time.Date(2026, 11, 5, 0, 0, 0, 0, time.UTC)
	m := synthetic(1)
	m.Date, m.Size, m.Flags = day, 1000, []string{`\seen`, `\Flagged`}
	table := build(t, nil, m)
	for what, c := range map[string]struct {
		query remote.Query
		want  bool
	}{
		"nothing asked":         {remote.Query{}, true},
		"since its own day":     {remote.Query{Since: day}, true},
		"since the day after":   {remote.Query{Since: day.AddDate(0, 0, 1)}, false},
		"before its own day":    {remote.Query{Before: day}, false},
		"before the day after":  {remote.Query{Before: day.AddDate(0, 0, 1)}, true},
		"larger than its size":  {remote.Query{Larger: 1000}, false},
		"larger than less":      {remote.Query{Larger: 999}, true},
		"smaller than its size": {remote.Query{Smaller: 1000}, false},
		"smaller than more":     {remote.Query{Smaller: 1001}, true},
		"unread":                {remote.Query{Unread: true}, false},
		"flagged":               {remote.Query{Flagged: true}, true},
		"answered":              {remote.Query{Answered: true}, false},
		"flagged and answered":  {remote.Query{Flagged: true, Answered: true}, false},
	} {
		if got := table.Fits(0, c.query); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}
