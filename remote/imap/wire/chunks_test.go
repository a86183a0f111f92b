package wire

import (
	"testing"

	"github.com/mailfs/mailfs/remote"
)

func TestChunksHoldEachUIDOnceInFewRanges(t *testing.T) {
	want := &remote.UIDSet{}
	want.AddRange(1, 10)
	for u := remote.UID(20); u < 2000; u += 10 {
		want.Add(u)
	}
	have := remote.NewUIDSet(15, 1015)
	union, covered := &remote.UIDSet{}, 0
	for _, c := range Chunks(want, have, 50) {
		if c.Overlaps(have) || c.Overlaps(union) {
			t.Fatalf("chunk %v overlaps", c.Ranges())
		}
		if len(c.Ranges()) > 2 {
			t.Fatalf("chunk %v is not compact", c.Ranges())
		}
		if n := want.Minus(want.Minus(c)).Len(); n > 50 {
			t.Fatalf("chunk of %d", n)
		}
		for _, r := range c.Ranges() {
			union.AddRange(r.First, r.Last)
		}
		covered++
	}
	if left := want.Minus(union); left.Len() != 0 {
		t.Fatalf("left out %v", left.Ranges())
	}
	if covered != 5 {
		t.Fatalf("%d chunks", covered)
	}
}
