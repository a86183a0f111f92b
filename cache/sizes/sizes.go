// Package sizes is what has been learnt of the sizes that a server announces: how often they were right, and those that were
// wrong.
package sizes

import (
	"sync"
	"sync/atomic"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// Evidence counts how often what a server announces turned out to be right, and how often wrong.
type Evidence struct{ Right, Wrong atomic.Int64 }

// Hold tells whether what the server announces was right at least so often, and never wrong.
func (e *Evidence) Hold(enough int64) bool { return e.Wrong.Load() == 0 && e.Right.Load() >= enough }

// Corrections are the sizes of messages of a mailbox that the server announced wrongly, in the present UIDVALIDITY.
type Corrections struct {
	mu   sync.Mutex // guards size, and that a new table takes over what is in it
	size map[remote.UID]int64
}

// Apply sets the sizes that were announced wrongly in a new table, and puts the table in place. anew says that the table has
// another UIDVALIDITY, so that what is known of sizes is void. place is called under the lock, and must not wait.
func (c *Corrections) Apply(t *table.Table, anew bool, place func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if anew {
		c.size = nil
	}
	for uid, size := range c.size {
		if i := t.Index(uid); i >= 0 {
			t.SetSize(i, size)
		} else {
			delete(c.size, uid)
		}
	}
	place()
}

// Note sets the size that a message really has in the table that current returns, and remembers it where another one was
// announced. It returns that table, the index of the message in it (-1 if it is not there), the size before, and whether that
// was seen on the message itself already.
func (c *Corrections) Note(current func() *table.Table, ref table.Ref, size int64) (
	t *table.Table, i int, announced int64, verified bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t = current()
	if t == nil || t.UIDValidity() != ref.UIDValidity {
		return t, -1, 0, false
	}
	if i = t.Index(ref.UID); i < 0 {
		return t, i, 0, false
	}
	if announced, verified = t.SetSize(i, size); announced != size {
		if c.size == nil {
			c.size = map[remote.UID]int64{}
		}
		c.size[ref.UID] = size
	}
	return t, i, announced, verified
}

// Forget drops what is known of messages for which void returns true.
func (c *Corrections) Forget(void func(remote.UID) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for uid := range c.size {
		if void(uid) {
			delete(c.size, uid)
		}
	}
}
