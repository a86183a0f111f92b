package walk

import (
	"fmt"
	"iter"
	"time"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// Prefetch says which messages are fetched to disk although nobody reads them.
type Prefetch int

// Which messages are prefetched.
const (
	PrefetchNone   Prefetch = iota
	PrefetchRecent          // messages of the last 30 days
	PrefetchAll
)

// recent is how old the messages of PrefetchRecent may be.
const recent = 30 * 24 * time.Hour

// UnmarshalText reads "none", "recent" or "all".
func (p *Prefetch) UnmarshalText(text []byte) error {
	switch string(text) {
	case "none":
		*p = PrefetchNone
	case "recent":
		*p = PrefetchRecent
	case "all":
		*p = PrefetchAll
	default:
		return fmt.Errorf("%q is none of none, recent and all", text)
	}
	return nil
}

// Batches returns which messages of a table are to be fetched, the newest first, cut into what is fetched with one command
// each. onDisk tells whether a message need not be fetched. room tells whether so many bytes fit on disk; where they do not,
// nothing more is returned.
func (p Prefetch) Batches(t *table.Table, now time.Time, onDisk func(table.Ref) bool,
	room func(bytes int64) bool) iter.Seq[[]remote.UID] {
	oldest := time.Time{}
	if p == PrefetchRecent {
		oldest = now.Add(-recent)
	}
	return func(yield func([]remote.UID) bool) {
		var batch []remote.UID
		var bytes int64
		for i := t.Len() - 1; i >= 0; i-- {
			e := t.At(i)
			if e.Time.Before(oldest) || onDisk(e.Ref) {
				continue
			}
			if !room(bytes + e.Size) {
				return
			}
			batch, bytes = append(batch, e.UID), bytes+e.Size
			if bytes < BatchBytes && len(batch) < BatchMessages {
				continue
			}
			if !yield(batch) {
				return
			}
			batch, bytes = nil, 0
		}
		if len(batch) > 0 {
			yield(batch)
		}
	}
}
