package fs

import (
	"slices"
	"testing"

	"github.com/mailfs/mailfs/cache"
)

func TestTwoStepsInAnOrderPredictTheNextMailboxes(t *testing.T) {
	o := newOrder()
	for i := range 3 * cache.MaxListAhead {
		m := &cache.Mailbox{}
		o.mailboxes = append(o.mailboxes, m)
		o.indexes[m] = i
	}
	last := len(o.mailboxes) - 1
	for _, c := range []struct {
		listed int
		want   []*cache.Mailbox
	}{
		{maxSkip + 1, nil},
		{maxSkip + 2, nil}, // the first step
		{maxSkip + 3, o.mailboxes[maxSkip+4:][:cache.MaxListAhead]},
		{maxSkip + 3, o.mailboxes[maxSkip+4:][:cache.MaxListAhead]}, // once more is no step
		{2*maxSkip + 4, o.mailboxes[2*maxSkip+5:][:cache.MaxListAhead]},
		{3*maxSkip + 6, nil}, // one too many left out
		{0, nil},
		{last - 1, nil},
		{last, nil},
	} {
		if got := o.step(o.mailboxes[c.listed]); !slices.Equal(got, c.want) {
			t.Errorf("after mailbox %d come %d mailboxes, want %d", c.listed, len(got), len(c.want))
		}
	}
	if got := o.step(&cache.Mailbox{}); got != nil {
		t.Errorf("after a mailbox of no order come %d mailboxes", len(got))
	}
}
