package lease

import (
	"math/rand/v2"
	"testing"
)

var events = []Event{Borrow, Retain, Release, Pushed, Kept, Failed}

// What becomes of a lease is what the table in its comment says, for every state and event.
func TestEveryEventTakesALeaseWhereItsTableSays(t *testing.T) {
	type outcome struct {
		Lease
		action Action
		panics bool
	}
	isOpen := func(readers int) Lease { return Lease{open, readers} }
	isRetained := func(readers int) Lease { return Lease{retained, readers} }
	isDraining := func(readers int) Lease { return Lease{draining, readers} }
	isDone := func(readers int) Lease { return Lease{done, readers} }
	isRecycled := Lease{state: recycled}
	to := func(l Lease) outcome { return outcome{Lease: l} } // there is nothing to do
	panics := func(l Lease) outcome { return outcome{Lease: l, panics: true} }
	does := func(l Lease, a Action) outcome { return outcome{Lease: l, action: a} }
	for from, want := range map[Lease][]outcome{ // in the order of events
		isOpen(0): {to(isOpen(1)), to(isRetained(0)), to(isOpen(0)),
			does(isRecycled, Recycle), does(isDone(0), Add), to(isDone(0))},
		isOpen(1): {to(isOpen(2)), to(isRetained(1)), to(isOpen(0)),
			to(isDraining(1)), does(isDone(1), Add), to(isDone(1))},
		isOpen(2): {to(isOpen(3)), to(isRetained(2)), to(isOpen(1)),
			to(isDraining(2)), does(isDone(2), Add), to(isDone(2))},
		isRetained(0): {to(isRetained(1)), to(isRetained(0)), to(isRetained(0)),
			does(isDone(0), Add), does(isDone(0), Add), to(isDone(0))},
		isRetained(1): {to(isRetained(2)), to(isRetained(1)), to(isRetained(0)),
			does(isDone(1), Add), does(isDone(1), Add), to(isDone(1))},
		isDraining(1): {panics(isDraining(1)), panics(isDraining(1)), does(isRecycled, Recycle),
			to(isDraining(1)), to(isDraining(1)), to(isDraining(1))},
		isDraining(2): {panics(isDraining(2)), panics(isDraining(2)), to(isDraining(1)),
			to(isDraining(2)), to(isDraining(2)), to(isDraining(2))},
		isRecycled: {panics(isRecycled), panics(isRecycled), to(isRecycled), to(isRecycled), to(isRecycled), to(isRecycled)},
		isDone(0):  {to(isDone(0)), to(isDone(0)), to(isDone(0)), to(isDone(0)), to(isDone(0)), to(isDone(0))},
		isDone(1):  {to(isDone(1)), to(isDone(1)), to(isDone(1)), to(isDone(1)), to(isDone(1)), to(isDone(1))},
	} {
		for i, e := range events {
			got := outcome{Lease: from}
			func() {
				defer func() { got.panics = recover() != nil }()
				got.action = got.Next(e)
			}()
			if got != want[i] {
				t.Errorf("%+v, event %d: %+v, want %+v", from, e, got, want[i])
			}
		}
	}
}

// In whatever order readers come and go and the fetch ends: its memory is used again once at most, never while somebody may
// read it, and at last always where only readers that borrowed it have come and the kernel has it.
func TestAMessageIsRecycledOnceAndNeverUnderAReader(t *testing.T) {
	for seed := range uint64(20_000) {
		random := rand.New(rand.NewPCG(seed, 0))
		var l Lease
		borrowed, retained, recycled, added, ended, pushed := 0, false, 0, 0, false, false
		for range 1 + random.IntN(20) {
			e := events[random.IntN(len(events))]
			switch {
			case e == Release && borrowed == 0, e != Release && ended:
				continue // nobody has anything to release, or the fetch is in flight no more
			case e == Borrow:
				borrowed++
			case e == Retain:
				retained = true
			case e == Release:
				borrowed--
			default:
				ended, pushed = true, e == Pushed
			}
			switch l.Next(e) {
			case Add:
				added++
				retained = true // by the cache
			case Recycle:
				recycled++
				if retained || borrowed > 0 || !pushed {
					t.Fatalf("seed %d: recycled with %d readers, retained %v, pushed %v", seed, borrowed, retained, pushed)
				}
			}
			if recycled > 1 || added > 1 || recycled+added > 1 {
				t.Fatalf("seed %d: recycled %d times, added %d times", seed, recycled, added)
			}
		}
		if recycled == 0 && pushed && borrowed == 0 && !retained {
			t.Fatalf("seed %d: nobody reads it, and it is not recycled: %+v", seed, l)
		}
	}
}
