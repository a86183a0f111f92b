package walk

import (
	"slices"
	"sync"
)

// consecutive is how many mailboxes, read to their ends one after the other, make their reader one that goes from mailbox to
// mailbox: in the next one messages are fetched ahead from the first on.
const consecutive = 2

// ConsecutiveMailboxes notices a reader that reads one mailbox after the other to its end. M stands for a mailbox.
type ConsecutiveMailboxes[M comparable] struct {
	mu   sync.Mutex // guards what follows
	at   M          // the mailbox that was read last; the zero value before any was
	done int        // how many mailboxes were read to the end before this one, without a break
}

// Read notes that somebody reads in a mailbox, and tells whether its reader is one that goes from mailbox to mailbox.
// finished tells whether a mailbox was read to its end; it is called under a lock, and must not wait for anything.
func (c *ConsecutiveMailboxes[M]) Read(m M, finished func(M) bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.at
	var none M
	if c.at = m; before == none || before == m {
		return c.done >= consecutive
	}
	if finished(before) {
		c.done++
	} else {
		c.done = 0
	}
	return c.done >= consecutive
}

const (
	// listTogether is how many mailboxes the server is asked about together.
	listTogether = 16
	// listedAhead is how many of the mailboxes that come next must be listed for the server not to be asked yet.
	listedAhead = 8
)

// MailboxesToList returns which mailboxes are to be listed ahead of a reader now, all with one question; none while there is
// time. next are those that come next, in their order; old tells whether one is not listed, or not lately.
func MailboxesToList[M any](next []M, old func(M) bool) (due []M) {
	if !slices.ContainsFunc(next[:min(len(next), listedAhead)], old) {
		return nil
	}
	for _, m := range next {
		if old(m) && len(due) < listTogether {
			due = append(due, m)
		}
	}
	return due
}
