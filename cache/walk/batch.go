package walk

import (
	"iter"
	"maps"
	"slices"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// Batches cuts what Step returned into what is fetched with one command each.
func Batches(t *table.Table, uids []remote.UID) iter.Seq[[]remote.UID] {
	return func(yield func([]remote.UID) bool) {
		for len(uids) > 0 {
			n, bytes := 0, int64(0)
			for ; n < len(uids) && n < BatchMessages; n++ {
				if bytes += t.Size(t.Index(uids[n])); bytes > BatchBytes && n > 0 {
					break
				}
			}
			if !yield(uids[:n]) {
				return
			}
			uids = uids[n:]
		}
	}
}

// Cut returns messages in order of their UIDs, in groups of about BatchBytes. sizes are the bytes to fetch of each.
func Cut(sizes map[remote.UID]int64) iter.Seq[[]remote.UID] {
	return func(yield func([]remote.UID) bool) {
		uids := slices.Sorted(maps.Keys(sizes))
		for len(uids) > 0 {
			n, size := 0, int64(0)
			for n < len(uids) && (n == 0 || size < BatchBytes) {
				size += sizes[uids[n]]
				n++
			}
			if !yield(uids[:n]) {
				return
			}
			uids = uids[n:]
		}
	}
}

// Probe returns which of the messages of a step is left to be asked for: the first that is small, or else the first; 0 of
// none.
func Probe(t *table.Table, uids []remote.UID) remote.UID {
	for _, uid := range uids {
		if t.Size(t.Index(uid)) <= SmallMessage {
			return uid
		}
	}
	if len(uids) == 0 {
		return 0
	}
	return uids[0]
}
