package cache

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// bodies keeps messages in memory, least recently used first out, within a budget of bytes that all accounts share.
type bodies struct {
	budget int64
	// ahead is how many bytes are being fetched ahead of readers, or wait to be pushed to the kernel.
	ahead atomic.Int64

	mu   sync.Mutex // guards what follows
	used int64
	lru  *simplelru.LRU[bodyKey, []byte]
}

// bodyKey names what is kept: a message, its header alone, one piece of it, or what else is made of it.
type bodyKey struct {
	mailbox *Mailbox
	ref     Ref
	header  bool
	piece   uint32 // number of the piece, from 1
	view    view
}

// perBody estimates what the bookkeeping of one body costs: the key, the list's element, and its place in the map.
const perBody = 200

func newBodies(budget int64) *bodies {
	b := &bodies{budget: budget}
	b.lru, _ = simplelru.NewLRU(math.MaxInt, func(_ bodyKey, body []byte) { b.used -= int64(len(body)) + perBody })
	return b
}

func (b *bodies) get(k bodyKey) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lru.Get(k)
}

// add keeps a body. The newest is kept even when it is larger than the budget, alone: somebody is reading it.
func (b *bodies) add(k bodyKey, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lru.Remove(k)
	b.used += int64(len(body)) + perBody
	for b.used > b.budget && b.lru.Len() > 0 {
		b.lru.RemoveOldest()
	}
	b.lru.Add(k, body)
}

// has tells whether a body is kept, which does not count as using it.
func (b *bodies) has(k bodyKey) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lru.Contains(k)
}

// forget drops what is kept of the messages of a mailbox that are void.
func (b *bodies) forget(m *Mailbox, void func(Ref) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.lru.Keys() {
		if k.mailbox == m && void(k.ref) {
			b.lru.Remove(k)
		}
	}
}

func (b *bodies) usage() Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Usage{Messages: b.lru.Len(), Bytes: b.used, Budget: b.budget}
}
