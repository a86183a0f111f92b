package sizes

import (
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// listing returns a table of messages with the UIDs 1, 2, ... and the sizes that were announced.
func listing(sizes ...int64) *table.Table {
	d := table.NewDraft(nil, 7)
	for i, size := range sizes {
		d.Add(&remote.Message{UID: remote.UID(i + 1), Size: size}, func(*remote.Message) (string, time.Time) { return "x", time.Unix(0, 0) })
	}
	t, _ := d.Finish(time.Now())
	return t
}

func TestAWrongSizeIsSetRightInTheNextTableToo(t *testing.T) {
	var c Corrections
	now := listing(10, 20, 30)
	current := func() *table.Table { return now }
	if _, i, announced, verified := c.Note(current, table.Ref{UIDValidity: 7, UID: 2}, 21); i != 1 || announced != 20 || verified {
		t.Fatalf("index %d, announced %d, verified %v", i, announced, verified)
	}
	next := listing(10, 20, 30)
	c.Apply(next, false, func() { now = next })
	if now != next || next.Size(1) != 21 || next.Size(0) != 10 {
		t.Fatalf("sizes are %d and %d", next.Size(0), next.Size(1))
	}
	c.Forget(func(uid remote.UID) bool { return uid == 2 })
	next = listing(10, 20)
	if c.Apply(next, false, func() {}); next.Size(1) != 20 {
		t.Fatalf("a size that was forgotten is %d", next.Size(1))
	}
}

func TestAnotherUIDVALIDITYVoidsWhatIsKnownOfSizes(t *testing.T) {
	var c Corrections
	now := listing(10)
	current := func() *table.Table { return now }
	c.Note(current, table.Ref{UIDValidity: 7, UID: 1}, 11)
	if _, i, _, _ := c.Note(current, table.Ref{UIDValidity: 8, UID: 1}, 12); i >= 0 {
		t.Fatal("a message of another UIDVALIDITY is found")
	}
	next := listing(10)
	if c.Apply(next, true, func() {}); next.Size(0) != 10 {
		t.Fatalf("the size is %d", next.Size(0))
	}
}

func TestSizesHoldWhereEnoughWereRightAndNoneWrong(t *testing.T) {
	var e Evidence
	if e.Right.Add(3); !e.Hold(3) || e.Hold(4) {
		t.Fatal("three right sizes are not enough for three, or are for four")
	}
	if e.Wrong.Add(1); e.Hold(3) {
		t.Fatal("sizes hold though one was wrong")
	}
}
