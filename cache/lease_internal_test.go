package cache

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/buffer"
	"github.com/mailfs/mailfs/remote/remotetest"
)

var leaseEvents = []leaseEvent{leaseBorrow, leaseRetain, leaseRelease, leasePushed, leaseKept, leaseFailed}

// What becomes of a lease is what the table in its comment says, for every state and event.
func TestEveryEventTakesALeaseWhereItsTableSays(t *testing.T) {
	type outcome struct {
		lease
		action leaseAction
		panics bool
	}
	open := func(readers int) lease { return lease{leaseOpen, readers} }
	retained := func(readers int) lease { return lease{leaseRetained, readers} }
	draining := func(readers int) lease { return lease{leaseDraining, readers} }
	done := func(readers int) lease { return lease{leaseDone, readers} }
	recycled := lease{state: leaseRecycled}
	to := func(l lease) outcome { return outcome{lease: l} } // there is nothing to do
	panics := func(l lease) outcome { return outcome{lease: l, panics: true} }
	does := func(l lease, a leaseAction) outcome { return outcome{lease: l, action: a} }
	for from, want := range map[lease][]outcome{ // in the order of leaseEvents
		open(0): {to(open(1)), to(retained(0)), to(open(0)),
			does(recycled, leaseRecycle), does(done(0), leaseAdd), to(done(0))},
		open(1): {to(open(2)), to(retained(1)), to(open(0)),
			to(draining(1)), does(done(1), leaseAdd), to(done(1))},
		open(2): {to(open(3)), to(retained(2)), to(open(1)),
			to(draining(2)), does(done(2), leaseAdd), to(done(2))},
		retained(0): {to(retained(1)), to(retained(0)), to(retained(0)),
			does(done(0), leaseAdd), does(done(0), leaseAdd), to(done(0))},
		retained(1): {to(retained(2)), to(retained(1)), to(retained(0)),
			does(done(1), leaseAdd), does(done(1), leaseAdd), to(done(1))},
		draining(1): {panics(draining(1)), panics(draining(1)), does(recycled, leaseRecycle),
			to(draining(1)), to(draining(1)), to(draining(1))},
		draining(2): {panics(draining(2)), panics(draining(2)), to(draining(1)),
			to(draining(2)), to(draining(2)), to(draining(2))},
		recycled: {panics(recycled), panics(recycled), to(recycled), to(recycled), to(recycled), to(recycled)},
		done(0):  {to(done(0)), to(done(0)), to(done(0)), to(done(0)), to(done(0)), to(done(0))},
		done(1):  {to(done(1)), to(done(1)), to(done(1)), to(done(1)), to(done(1)), to(done(1))},
	} {
		for i, e := range leaseEvents {
			got := outcome{lease: from}
			func() {
				defer func() { got.panics = recover() != nil }()
				got.action = got.next(e)
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
		var l lease
		borrowed, retained, recycled, added, ended, pushed := 0, false, 0, 0, false, false
		for range 1 + random.IntN(20) {
			e := leaseEvents[random.IntN(len(leaseEvents))]
			switch {
			case e == leaseRelease && borrowed == 0, e != leaseRelease && ended:
				continue // nobody has anything to release, or the fetch is in flight no more
			case e == leaseBorrow:
				borrowed++
			case e == leaseRetain:
				retained = true
			case e == leaseRelease:
				borrowed--
			default:
				ended, pushed = true, e == leasePushed
			}
			switch l.next(e) {
			case leaseAdd:
				added++
				retained = true // by the cache
			case leaseRecycle:
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

// The memory of a message that was pushed to the kernel is used again when nobody looks at it any more, and not before.
func TestThePushedMessageNobodyReadsGivesItsMemoryToTheNext(t *testing.T) {
	const size = 40_000
	same := func(a, b []byte) bool { return &a[:1][0] == &b[:1][0] }
	for name, c := range map[string]struct {
		pushed, kept bool
		readers      int
		again        bool // it is used again at last
	}{
		"pushed":                        {pushed: true, again: true},
		"pushed while two look at it":   {pushed: true, readers: 2, again: true},
		"pushed, and somebody keeps it": {pushed: true, kept: true, readers: 1},
		"not pushed":                    {readers: 1},
	} {
		cache := New(Options{Memory: 1 << 20})
		defer cache.Close()
		a, err := cache.Account("", remotetest.NewAccount(), AccountOptions{})
		if err != nil {
			t.Fatal(err)
		}
		m := a.Mailbox(remote.Mailbox{Name: "INBOX"})
		key := bodyKey{mailbox: m, ref: Ref{UIDValidity: 1, UID: 2}}
		f := m.inflight.startLocked(key)
		body := buffer.Get(size)
		f.Finish(body, nil)
		for range c.readers {
			if _, found := m.getOrStart(key, leaseBorrow); found != f {
				t.Fatalf("%s: the fetch is not found", name)
			}
		}
		if c.kept {
			m.getOrStart(key, leaseRetain)
		}
		m.inflight.endFetch(key, f, c.pushed)
		for i := range c.readers {
			if other := buffer.Get(size); same(other, body) {
				t.Fatalf("%s: its memory is used again with %d readers", name, c.readers-i)
			}
			m.inflight.release(key, f)
		}
		other := buffer.Get(size)
		if again := same(other, body); again != c.again {
			t.Errorf("%s: its memory is used again: %v, want %v", name, again, c.again)
		}
		if kept, ok := a.bodies.Get(key); ok == c.again || ok && !bytes.Equal(kept, body) {
			t.Errorf("%s: it is in memory: %v, want %v", name, ok, !c.again)
		}
	}
}
