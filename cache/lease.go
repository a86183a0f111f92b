package cache

// lease says who may read the bytes that a fetch brings, and so what becomes of their memory. It is guarded by
// inflight.mu. Bodies come in buffers of package buffer: one that was pushed to the kernel and that nobody reads any more
// goes back there (buffer.Put) and is overwritten by the next message; any other belongs to the garbage collector.
//
// What becomes of a lease, by state and event. In brackets is what the caller of next has to do; "-" changes nothing.
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
// Borrow and retain come only while the fetch is in inflight.fetches, which it leaves at pushed, kept or failed.
type lease struct {
	state   leaseState
	readers int // readers that borrow the bytes now; not counted when done or recycled
}

// leaseState is who may read the bytes.
type leaseState uint8

const (
	leaseOpen     leaseState = iota // readers may come; all so far borrow the bytes
	leaseRetained                   // somebody may hold the bytes for good
	leaseDraining                   // the kernel has the bytes; some readers are not done with theirs
	leaseRecycled                   // the memory is used again
	leaseDone                       // the garbage collector has the memory, or the fetch failed
)

// leaseEvent is what happens to a lease.
type leaseEvent uint8

const (
	leaseBorrow  leaseEvent = iota // a reader comes that will release the bytes
	leaseRetain                    // a reader comes that may hold the bytes for good
	leaseRelease                   // a reader that borrowed the bytes is done with them
	leasePushed                    // the fetch ends: the bytes are on disk and in the kernel's cache
	leaseKept                      // the fetch ends: the bytes go to the cache in memory
	leaseFailed                    // the fetch ends without bytes
)

// leaseAction is what is to be done with the bytes.
type leaseAction uint8

const (
	leaseNothing leaseAction = iota
	leaseAdd                 // add the bytes to the cache in memory
	leaseRecycle             // give the memory back
)

// next takes the lease to its next state and returns what is to be done with the bytes.
func (l *lease) next(e leaseEvent) leaseAction {
	switch l.state {
	case leaseOpen, leaseRetained:
		return l.beforeEnd(e)
	case leaseDraining, leaseRecycled:
		switch {
		case e == leaseBorrow || e == leaseRetain:
			panic("cache: a reader comes to a message whose memory is to be used again")
		case e == leaseRelease && l.state == leaseDraining:
			if l.readers--; l.readers == 0 {
				l.state = leaseRecycled
				return leaseRecycle
			}
		}
	}
	return leaseNothing
}

// beforeEnd is next for a fetch that has not ended.
func (l *lease) beforeEnd(e leaseEvent) leaseAction {
	switch e {
	case leaseBorrow:
		l.readers++
	case leaseRelease:
		l.readers = max(l.readers-1, 0)
	case leaseRetain:
		l.state = leaseRetained
	case leaseFailed:
		l.state = leaseDone
	case leasePushed:
		switch {
		case l.state == leaseRetained:
			l.state = leaseDone
			return leaseAdd
		case l.readers > 0:
			l.state = leaseDraining
		default:
			l.state = leaseRecycled
			return leaseRecycle
		}
	case leaseKept:
		l.state = leaseDone
		return leaseAdd
	}
	return leaseNothing
}

// wanted tells whether a reader has come and is not done.
func (l *lease) wanted() bool { return l.state == leaseRetained || l.readers > 0 }
