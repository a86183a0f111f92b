package table

import (
	"slices"
	"strings"

	"github.com/mailfs/mailfs/remote"
)

// Fits tells whether the i-th message has the time, the size and the flags that a query asks for.
func (t *Table) Fits(i int, q remote.Query) bool {
	e := t.At(i)
	flagged := func(flag string) bool {
		return slices.ContainsFunc(t.Flags(i), func(f string) bool { return strings.EqualFold(f, flag) })
	}
	switch {
	case !q.Since.IsZero() && e.Time.Before(q.Since), !q.Before.IsZero() && !e.Time.Before(q.Before),
		q.Larger > 0 && e.Size <= q.Larger, q.Smaller > 0 && e.Size >= q.Smaller,
		q.Unread && flagged(`\Seen`), q.Flagged && !flagged(`\Flagged`), q.Answered && !flagged(`\Answered`):
		return false
	default:
		return true
	}
}
