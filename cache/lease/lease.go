// Package lease decides who may read the bytes that a fetch brings, and so what becomes of their memory. It is a state machine
// and nothing else: package cache does what it says.
package lease

// Lease says who may read the bytes that a fetch brings. Its zero value is open; the caller guards it by a lock. Bodies come in
// buffers of package buffer: one that was pushed to the kernel and that nobody reads any more goes back there (buffer.Put) and
// is overwritten by the next message; any other belongs to the garbage collector.
//
// What becomes of a lease, by state and event. In brackets is what the caller of Next has to do; "-" changes nothing.
//
//	            borrow    retain    release          pushed              kept        failed
//	open        open      retained  open             draining; without   done (add)  done
//	                                                 readers recycled
//	                                                 (recycle)
//	retained    retained  retained  retained         done (add)          done (add)  done
//	draining    panic     panic     draining; the    -                   -           -
//	                                last: recycled
//	                                (recycle)
//	recycled    panic     panic     -                -                   -           -
//	done        -         -         -                -                   -           -
//
// Borrow and retain come only while the fetch is in flight, which it is no more after pushed, kept or failed.
type Lease struct {
	state   state
	readers int // readers that borrow the bytes now; not counted when done or recycled
}

// state is who may read the bytes.
type state uint8

const (
	open     state = iota // readers may come; all so far borrow the bytes
	retained              // somebody may hold the bytes for good
	draining              // the kernel has the bytes; some readers are not done with theirs
	recycled              // the memory is used again
	done                  // the garbage collector has the memory, or the fetch failed
)

// Event is what happens to a lease.
type Event uint8

const (
	Borrow  Event = iota // a reader comes that will release the bytes
	Retain               // a reader comes that may hold the bytes for good
	Release              // a reader that borrowed the bytes is done with them
	Pushed               // the fetch ends: the bytes are on disk and in the kernel's cache
	Kept                 // the fetch ends: the bytes go to the cache in memory
	Failed               // the fetch ends without bytes
)

// Action is what is to be done with the bytes.
type Action uint8

const (
	Nothing Action = iota
	Add            // add the bytes to the cache in memory
	Recycle        // give the memory back
)

// Next takes the lease to its next state and returns what is to be done with the bytes.
func (l *Lease) Next(e Event) Action {
	switch l.state {
	case open, retained:
		return l.beforeEnd(e)
	case draining, recycled:
		switch {
		case e == Borrow || e == Retain:
			panic("lease: a reader comes to a message whose memory is to be used again")
		case e == Release && l.state == draining:
			if l.readers--; l.readers == 0 {
				l.state = recycled
				return Recycle
			}
		}
	}
	return Nothing
}

// beforeEnd is Next for a fetch that has not ended.
func (l *Lease) beforeEnd(e Event) Action {
	switch e {
	case Borrow:
		l.readers++
	case Release:
		l.readers = max(l.readers-1, 0)
	case Retain:
		l.state = retained
	case Failed:
		l.state = done
	case Pushed:
		switch {
		case l.state == retained:
			l.state = done
			return Add
		case l.readers > 0:
			l.state = draining
		default:
			l.state = recycled
			return Recycle
		}
	case Kept:
		l.state = done
		return Add
	}
	return Nothing
}

// Wanted tells whether a reader has come and is not done.
func (l *Lease) Wanted() bool { return l.state == retained || l.readers > 0 }
