package walk

import (
	"time"

	"github.com/mailfs/mailfs/remote"
)

// maxRelist is the longest time between two attempts to list messages that the server does not tell all of.
const maxRelist = time.Hour

// Relist says when messages that are incomplete (remote.Message) are listed again: at once, then ever more seldom.
type Relist struct {
	next  time.Time     // not before then
	pause time.Duration // after the last attempt
}

// Known returns what of the known messages a synchronisation is to say that it knows: all, or those that are not to be listed
// again now. refresh is the shortest time between two attempts.
func (r *Relist) Known(known, incomplete *remote.UIDSet, refresh time.Duration) *remote.UIDSet {
	if incomplete.Len() == 0 {
		*r = Relist{}
		return known
	}
	if time.Now().Before(r.next) {
		return known
	}
	r.pause = min(max(2*r.pause, refresh), maxRelist)
	r.next = time.Now().Add(r.pause)
	return known.Minus(incomplete)
}
