package walk

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// mailboxOf returns a table of n messages of one size, whose names are in the order of UIDs.
func mailboxOf(n int, size int64) *table.Table {
	d := table.NewDraft(nil, 1)
	named := func(m *remote.Message) (string, time.Time) {
		return fmt.Sprintf("%08d.eml", m.UID), time.Unix(1.6e9, 0)
	}
	for uid := remote.UID(1); uid <= remote.UID(n); uid++ {
		d.Add(&remote.Message{UID: uid, Size: size}, named)
	}
	t, _ := d.Finish(time.Now())
	return t
}

// For a reader that stops after ten messages 4 MB or 64 messages were fetched for nothing at most, whichever is more. A reader
// that reads on has ever more ahead, but not more than was read already, nor than there is room for.
func TestWhatIsAheadGrowsWithTheWalk(t *testing.T) {
	const most = 16 << 20
	for _, size := range []int64{500, 8000, 100_000, 700_000, 3_000_000} {
		table := mailboxOf(3000, size)
		for _, gap := range []int{1, 3, maxSkip} {
			var walks Walks
			ahead, farthest := 0, 0 // index of the last message asked for
			for n := range 150 {
				i := n * gap
				want, long := walks.Step(table, i, Limits{Ahead: most, Room: most, Part: 1})
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
func TestAWalkWaitsForRoom(t *testing.T) {
	table := mailboxOf(1000, 10_000)
	var walks Walks
	for i := range 20 {
		if want, _ := walks.Step(table, i, Limits{Ahead: 1 << 20, Room: 0, Part: 1}); len(want) > 0 {
			t.Fatalf("%d messages without room", len(want))
		}
	}
	want, _ := walks.Step(table, 20, Limits{Ahead: 1 << 20, Room: 55_000, Part: 1})
	if !slices.Equal(want, []remote.UID{22, 23, 24, 25, 26}) {
		t.Errorf("with room for five: %v", want)
	}
}

// On a long walk the reader may come to anything that was pushed to the kernel without having asked for what is before it.
func TestALongWalkGoesOnWhereItsReaderDidNotAsk(t *testing.T) {
	table := mailboxOf(2000, 10_000)
	var walks Walks
	var last remote.UID
	for i := range 40 {
		if want, _ := walks.Step(table, i, Limits{Ahead: 16 << 20, Room: 16 << 20, Part: 1}); len(want) > 0 {
			last = want[len(want)-1]
		}
	}
	if last < 200 {
		t.Fatalf("only up to %d is ahead", last)
	}
	want, long := walks.Step(table, table.Index(last), Limits{Ahead: 16 << 20, Room: 16 << 20, Part: 1})
	if !long || len(want) == 0 || want[0] != last+1 {
		t.Errorf("after a step to the end of what is ahead: %v, %v", want, long)
	}
	if probe := Probe(table, want); !slices.Contains(want, probe) {
		t.Errorf("the probe %d is none of %v", probe, want)
	}
}

// In what order a shell sorts names, programs read: it need not be the order of UIDs.
func TestAWalkInTheOrderOfNamesIsFollowed(t *testing.T) {
	d := table.NewDraft(nil, 1)
	backwards := func(m *remote.Message) (string, time.Time) {
		return fmt.Sprintf("%08d.eml", 1000-m.UID), time.Unix(1.6e9, 0)
	}
	for uid := remote.UID(1); uid <= 100; uid++ {
		d.Add(&remote.Message{UID: uid, Size: 1000}, backwards)
	}
	table, _ := d.Finish(time.Now())
	var walks Walks
	limits := Limits{Ahead: 1 << 20, Room: 1 << 20, Part: 1}
	walks.Step(table, table.Index(100), limits)
	if want, _ := walks.Step(table, table.Index(99), limits); !slices.Equal(want, []remote.UID{98, 97, 96, 95}) {
		t.Errorf("after two messages in the order of names: %v", want)
	}
	if !walks.Walking() || walks.Finished(table) {
		t.Error("two messages of a hundred are no walk, or the end of one")
	}
	walks.Step(table, table.Index(84), limits)
	for uid := remote.UID(83); uid > 0; uid-- {
		walks.Step(table, table.Index(uid), limits)
	}
	if !walks.Finished(table) {
		t.Error("the reader is at the end, and not taken to be")
	}
}

// A reader that has read two mailboxes to their ends is one that goes from mailbox to mailbox, until it leaves one early.
func TestAReaderOfConsecutiveMailboxesIsNoticed(t *testing.T) {
	var c ConsecutiveMailboxes[string]
	finished := func(mailbox string) bool { return mailbox != "left early" }
	for i, step := range []struct {
		mailbox string
		want    bool
	}{{"a", false}, {"a", false}, {"b", false}, {"c", true}, {"c", true}, {"left early", true}, {"d", false}, {"e", false}, {"f", true}} {
		if got := c.Read(step.mailbox, finished); got != step.want {
			t.Errorf("step %d, %s: %v, want %v", i, step.mailbox, got, step.want)
		}
	}
}

// The first message of a mailbox begins a walk where its reader goes from mailbox to mailbox, and nowhere else.
func TestAConsecutiveMailboxIsReadAheadFromItsFirstMessage(t *testing.T) {
	table := mailboxOf(100, 1000)
	for _, consecutive := range []bool{false, true} {
		var walks Walks
		limits := Limits{Ahead: 1 << 20, Room: 1 << 20, Part: 1, Consecutive: consecutive}
		want, long := walks.Step(table, 0, limits)
		if long || consecutive != (len(want) == 1+64) || consecutive && want[0] != 1 {
			t.Errorf("consecutive %v: %d messages, %v", consecutive, len(want), want)
		}
		var other Walks
		if want, _ := other.Step(table, 50, limits); len(want) > 0 {
			t.Errorf("consecutive %v: a message in the middle has %v fetched", consecutive, want)
		}
	}
}

// What is fetched with one command holds no more than BatchBytes and BatchMessages, but always a message.
func TestBatchesAreBounded(t *testing.T) {
	for size, most := range map[int64]int{100: BatchMessages, 300_000: 3, 2 << 20: 1} {
		table := mailboxOf(300, size)
		var all []remote.UID
		for batch := range Batches(table, slices.Collect(func(yield func(remote.UID) bool) {
			for i := range table.Len() {
				if !yield(table.UID(i)) {
					return
				}
			}
		})) {
			if len(batch) == 0 || len(batch) > most {
				t.Errorf("%d messages of %d bytes in a batch", len(batch), size)
			}
			all = append(all, batch...)
		}
		if len(all) != 300 || !slices.IsSorted(all) {
			t.Errorf("%d messages of 300, sorted %v", len(all), slices.IsSorted(all))
		}
	}
}

// A reader of the first lines has one piece fetched; a reader that goes on has ever more ahead, in whole runs, to the end of
// the message; a jump begins anew.
func TestPiecesAreFetchedAheadOfAReaderThatGoesOn(t *testing.T) {
	const last = 40
	for _, c := range []struct {
		walking bool
		reads   []uint32
		want    string // runs that are fetched at each read: first and last piece, and * where nobody waits for them
	}{
		{false, []uint32{1, 1}, "1-1 |"},
		{false, []uint32{1, 2, 3, 4, 5}, "1-1 |2-5 ||6-9* 10-13* 14-17* |18-21* "},
		{false, []uint32{10, 30, 31}, "10-10 |30-30 |31-34 "},
		{true, []uint32{1}, "1-4 5-8* 9-12* 13-16* "},
		{true, []uint32{1, 2, 38}, "1-4 5-8* 9-12* 13-16* ||38-38 "},
		{false, []uint32{38, 39}, "38-38 |39-40 "},
	} {
		here := map[uint32]bool{}
		p := NewPieces(c.walking)
		var got []string
		for _, number := range c.reads {
			runs := ""
			for run := range p.Step(number, last, func(n uint32) bool { return !here[n] }) {
				runs += fmt.Sprintf("%d-%d", run.From, run.To-1)
				if run.Ahead {
					runs += "*"
				}
				runs += " "
				for n := run.From; n < run.To; n++ {
					here[n] = true
				}
			}
			got = append(got, runs)
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("walking %v, reads %v: %q, want %q", c.walking, c.reads, strings.Join(got, "|"), c.want)
		}
	}
}

// Mailboxes are listed together, once one of the nearest is not listed.
func TestMailboxesAreListedTogetherAndInTime(t *testing.T) {
	next := make([]int, 32)
	for i := range next {
		next[i] = i
	}
	for listed, want := range map[int]int{0: listTogether, 7: listTogether, 8: 0, 32: 0} {
		due := MailboxesToList(next, func(m int) bool { return m >= listed })
		if len(due) != want || want > 0 && due[0] != listed {
			t.Errorf("with %d listed: %v", listed, due)
		}
	}
	if due := MailboxesToList(next[:3], func(int) bool { return true }); len(due) != 3 {
		t.Errorf("of the last three: %v", due)
	}
}

// What is prefetched is not on disk, is young enough, and fits; the newest comes first.
func TestTheNewestMessagesArePrefetchedWhileThereIsRoom(t *testing.T) {
	now := time.Unix(1.7e9, 0)
	d := table.NewDraft(nil, 1)
	aDayEach := func(m *remote.Message) (string, time.Time) {
		return fmt.Sprintf("%08d.eml", m.UID), now.Add(time.Duration(m.UID-100) * 24 * time.Hour)
	}
	for uid := remote.UID(1); uid <= 100; uid++ {
		d.Add(&remote.Message{UID: uid, Size: BatchBytes / 4}, aDayEach)
	}
	listing, _ := d.Finish(now)
	for _, c := range []struct {
		prefetch Prefetch
		room     int // batches for which there is room
		want     string
	}{
		{PrefetchAll, 2, "[100 99 98 97] [95 94 93 92]"}, // and 96 is on disk
		{PrefetchRecent, 100, "[100 99 98 97] [95 94 93 92] [91 90 89 88] [87 86 85 84] [83 82 81 80] [79 78 77 76] [75 74 73 72] [71 70]"},
	} {
		var got []string
		onDisk := func(r table.Ref) bool { return r.UID == 96 }
		for batch := range c.prefetch.Batches(listing, now, onDisk, func(int64) bool { return len(got) < c.room }) {
			got = append(got, fmt.Sprint(batch))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("prefetch %d: %v, want %v", c.prefetch, strings.Join(got, " "), c.want)
		}
	}
}
