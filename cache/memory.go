package cache

import (
	"sync/atomic"

	"github.com/mailfs/mailfs/cache/memory"
)

// bodies are the messages in memory, of all accounts.
type bodies struct {
	*memory.Bodies[bodyKey]
	// ahead is how many bytes are being fetched ahead of readers, or wait to be pushed to the kernel.
	ahead atomic.Int64
}

func newBodies(budget int64) *bodies { return &bodies{Bodies: memory.New[bodyKey](budget)} }

// bodyKey names what is in memory or being fetched: a message, its header alone, one piece of it, or a view of it.
type bodyKey struct {
	mailbox *Mailbox
	ref     Ref
	header  bool
	piece   uint32 // number of the piece, from 1; 0 where it is no piece
	view    view   // "" where it is no view
}
