// Package memory keeps bytes in memory, the least recently used first out, within a budget.
package memory

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Bodies are bodies of messages and what else is of their kind, by keys.
type Bodies[K comparable] struct {
	budget int64 // bytes

	mu   sync.Mutex // guards what follows
	used int64      // bytes, with perBody for each body
	lru  *simplelru.LRU[K, []byte]
}

// perBody estimates, in bytes, what the bookkeeping of one body takes: the key, the list's element, and its place in the map.
const perBody = 200

// New returns bodies that take as many bytes as the budget says at most.
func New[K comparable](budget int64) *Bodies[K] {
	b := &Bodies[K]{budget: budget}
	b.lru, _ = simplelru.NewLRU(math.MaxInt, func(_ K, body []byte) { b.used -= int64(len(body)) + perBody })
	return b
}

// Get returns a body, which counts as using it.
func (b *Bodies[K]) Get(k K) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lru.Get(k)
}

// Add adds a body, in place of those that were not used for the longest time. A body that is larger than the budget is kept
// as well, alone: somebody is reading it.
func (b *Bodies[K]) Add(k K, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lru.Remove(k)
	b.used += int64(len(body)) + perBody
	for b.used > b.budget && b.lru.Len() > 0 {
		b.lru.RemoveOldest()
	}
	b.lru.Add(k, body)
}

// Has tells whether a body is there, which does not count as using it.
func (b *Bodies[K]) Has(k K) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lru.Contains(k)
}

// Forget drops the bodies that are void.
func (b *Bodies[K]) Forget(void func(K) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.lru.Keys() {
		if void(k) {
			b.lru.Remove(k)
		}
	}
}

// Usage returns how many bodies there are and how many bytes they take.
func (b *Bodies[K]) Usage() (bodies int, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lru.Len(), b.used
}
