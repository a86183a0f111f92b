package wait

import "sync"

// Answered notes which of the things that were asked for with one command have come.
type Answered[K comparable] struct {
	mu   sync.Mutex // guards what follows
	done map[K]bool
}

// First notes that something has come, and tells whether it is the first time.
func (a *Answered[K]) First(k K) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done == nil {
		a.done = map[K]bool{}
	}
	was := a.done[k]
	a.done[k] = true
	return !was
}

// Count returns how many things have come.
func (a *Answered[K]) Count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.done)
}
