package cache

import (
	"sync"
	"time"

	"github.com/mailfs/mailfs/cache/identity"
	"github.com/mailfs/mailfs/cache/lease"
	"github.com/mailfs/mailfs/cache/wait"
	"github.com/mailfs/mailfs/remote/buffer"
)

// fetch is one fetch that several may wait for: of a message, a header, a piece, or a view.
type fetch struct {
	wait.Result

	// Of a message that is fetched ahead of readers, set before the fetch is sent; zero for any other fetch.
	ahead int64 // size of the message in bytes, counted in bodies.ahead until the fetch ends
	place int64 // inflight.aheadAsked just after this message was asked for
	push  bool  // the message is to be pushed to the kernel, see [Pushed]

	lease  lease.Lease // of Result.Body; guarded by inflight.mu
	holder uint32      // Holders.Of the message when the fetch began
}

// inflight are the fetches of a mailbox that are under way.
type inflight struct {
	bodies  *bodies           // the cache in memory, which takes what is fetched
	holders *identity.Holders // of the mailbox

	mu           sync.Mutex // guards what follows, and the leases of the fetches
	fetches      map[bodyKey]*fetch
	foreground   int                // commands under way that readers wait for
	batched      map[bodyKey]*fetch // to be sent with one command soon; nil if none is
	aheadAsked   int64              // bytes that were asked for ahead of readers so far
	aheadDone    int64              // bytes of these that have come, or won't
	fetchedAlone time.Time          // when one of these messages was last asked for on its own
}

// startLocked adds a fetch that others can wait for. The caller has it sent.
func (i *inflight) startLocked(key bodyKey) *fetch {
	if i.fetches == nil {
		i.fetches = map[bodyKey]*fetch{}
	}
	f := &fetch{holder: i.holders.Of(key.ref.UID)}
	f.Init()
	i.fetches[key] = f
	return f
}

// missingLocked tells whether something is neither in memory nor under way.
func (i *inflight) missingLocked(key bodyKey) bool {
	return i.fetches[key] == nil && !i.bodies.Has(key)
}

// attachLocked returns the fetch that is under way already, for a caller that may hold its bytes for good; nil if none is.
func (i *inflight) attachLocked(key bodyKey) *fetch {
	f := i.fetches[key]
	if f != nil {
		i.leaseLocked(key, f, lease.Retain, nil)
	}
	return f
}

// finish ends a fetch, with what it brought or with an error, for all that wait. The body is added to memory before the fetch
// leaves inflight, so that it is found in one of the two.
func (i *inflight) finish(key bodyKey, f *fetch, body []byte, err error) {
	end := lease.Kept
	if err != nil {
		end = lease.Failed
	}
	i.mu.Lock()
	i.leaseLocked(key, f, end, body)
	i.endedLocked(key, f)
	i.aheadDone += f.ahead
	i.mu.Unlock()
	i.bodies.ahead.Add(-f.ahead)
	f.Finish(body, err)
}

// came counts what a fetch has brought that is pushed before it ends.
func (i *inflight) came(f *fetch) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.aheadDone += f.ahead
}

// endFetch ends a finished fetch whose body was to be pushed. pushed: the kernel has the body.
func (i *inflight) endFetch(key bodyKey, f *fetch, pushed bool) {
	end := lease.Kept
	if pushed {
		end = lease.Pushed
	}
	i.bodies.ahead.Add(-f.ahead)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leaseLocked(key, f, end, f.Body)
	i.endedLocked(key, f)
}

// endedLocked takes a fetch off those that are under way, unless another has begun in its place, see Mailbox.forgetMemory.
func (i *inflight) endedLocked(key bodyKey, f *fetch) {
	if i.fetches[key] == f {
		delete(i.fetches, key)
	}
}

// void tells whether what a fetch brings must not be kept: the message has left the listing since the fetch began.
func (i *inflight) void(key bodyKey, f *fetch) bool { return i.holders.Of(key.ref.UID) != f.holder }

// wanted tells whether a reader has come for what a fetch brings, and is not done.
func (i *inflight) wanted(f *fetch) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return f.lease.Wanted()
}

// failLocked ends fetches that were not sent.
func (i *inflight) failLocked(fetches map[bodyKey]*fetch, err error) {
	for key, f := range fetches {
		i.leaseLocked(key, f, lease.Failed, nil)
		i.endedLocked(key, f)
		f.Finish(nil, err)
	}
}

// release notes that a reader that borrowed what a fetch brought is done with it.
func (i *inflight) release(key bodyKey, f *fetch) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leaseLocked(key, f, lease.Release, nil)
}

// add adds to memory what has come of a fetch that goes on, unless that is void.
func (i *inflight) add(key bodyKey, f *fetch, body []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.void(key, f) {
		i.bodies.Add(key, body)
	}
}

// leaseLocked notes an event in the lease of a fetch, and does what is to be done with the bytes. body is what the fetch
// brought where it ends with this event, and nil else.
func (i *inflight) leaseLocked(key bodyKey, f *fetch, e lease.Event, body []byte) {
	switch f.lease.Next(e) {
	case lease.Add:
		if !i.void(key, f) {
			i.bodies.Add(key, body)
		}
	case lease.Recycle:
		buffer.Put(f.Body)
	}
}
