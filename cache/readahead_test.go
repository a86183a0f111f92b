package cache

import (
	"slices"
	"testing"

	"github.com/mailfs/mailfs/remote"
)

// mailboxOf returns a table of n messages of one size.
func mailboxOf(t *testing.T, n int, size int64) *Table {
	var messages []remote.Message
	for i := range n {
		m := synthetic(i + 1)
		m.UID, m.Size = remote.UID(i+1), size
		messages = append(messages, m)
	}
	return build(messages...)
}

// Who stops after ten messages has had 4 MB or 64 messages fetched for nothing at most, whichever is more; who reads on has
// ever more ahead of him, but not more than he has read, nor than there is room for.
func TestReadaheadGrowsWithTheWalk(t *testing.T) {
	const most = 16 << 20
	for _, size := range []int64{500, 8000, 100_000, 700_000, 3_000_000} {
		table := mailboxOf(t, 3000, size)
		for _, gap := range []int{1, 3, reach} {
			var r readahead
			ahead, farthest := 0, 0 // index of the last message asked for
			for n := range 150 {
				i := n * gap
				want, long := r.step(table, i, most, most, 1, false)
				if len(want) > 0 {
					if first := table.Index(want[0]); first <= max(i, ahead) {
						t.Fatalf("%d bytes, gaps of %d: at %d of %d that is asked for again", size, gap, i, first)
					}
					ahead = table.Index(want[len(want)-1])
				}
				bytes := int64(ahead-i) * size
				farthest = max(farthest, ahead-i)
				switch {
				case n == 0 && ahead > 0:
					t.Errorf("%d bytes: one message read has %d fetched", size, ahead)
				case n < 10 && ahead-i > 64 && bytes > aheadBytes:
					t.Errorf("%d bytes, gaps of %d: %d messages and %d bytes are ahead after %d", size, gap, ahead-i, bytes, n+1)
				case long != (n >= longWalk-1):
					t.Errorf("long is %v after %d", long, n+1)
				case bytes > max(aheadBytes, int64(i)*size) || bytes > most:
					t.Errorf("%d bytes, gaps of %d: %d bytes are ahead after %d", size, gap, bytes, int64(i)*size)
				}
			}
			if farthest == 0 {
				t.Errorf("%d bytes, gaps of %d: nothing was ever ahead", size, gap)
			}
		}
	}
}

// Nothing is asked for while there is no room, and the walk goes on when there is some again.
func TestReadaheadWaitsForRoom(t *testing.T) {
	table := mailboxOf(t, 1000, 10_000)
	var r readahead
	for i := range 20 {
		if want, _ := r.step(table, i, 1<<20, 0, 1, false); len(want) > 0 {
			t.Fatalf("%d messages without room", len(want))
		}
	}
	want, _ := r.step(table, 20, 1<<20, 55_000, 1, false)
	if !slices.Equal(want, []remote.UID{22, 23, 24, 25, 26}) {
		t.Errorf("with room for five: %v", want)
	}
}

// On a long walk the reader may come to anything that was pushed to the kernel without having asked for what is before it.
func TestReadaheadFollowsWhoDoesNotAsk(t *testing.T) {
	table := mailboxOf(t, 2000, 10_000)
	var r readahead
	var last remote.UID
	for i := range 40 {
		if want, _ := r.step(table, i, 16<<20, 16<<20, 1, false); len(want) > 0 {
			last = want[len(want)-1]
		}
	}
	if last < 200 {
		t.Fatalf("only up to %d is ahead", last)
	}
	want, long := r.step(table, table.Index(last), 16<<20, 16<<20, 1, false)
	if !long || len(want) == 0 || want[0] != last+1 {
		t.Errorf("after a step to the end of what is ahead: %v, %v", want, long)
	}
	if trace := traceOf(table, want); !slices.Contains(want, trace) {
		t.Errorf("the trace %d is none of %v", trace, want)
	}
}
