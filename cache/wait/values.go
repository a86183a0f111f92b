package wait

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Values are values by keys, of which those that were used last are kept. Most is how many.
type Values[K comparable, T any] struct {
	Most int

	mu     sync.Mutex // guards values
	values *simplelru.LRU[K, *Value[T]]
}

// Of returns the value of a key, which nothing was loaded into where the key is new.
func (v *Values[K, T]) Of(k K) *Value[T] {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.values == nil {
		v.values, _ = simplelru.NewLRU[K, *Value[T]](v.Most, nil)
	}
	value, ok := v.values.Get(k)
	if !ok {
		value = &Value[T]{}
		v.values.Add(k, value)
	}
	return value
}
