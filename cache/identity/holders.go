package identity

import (
	"iter"
	"sync"

	"github.com/mailfs/mailfs/remote"
)

// Holders numbers the messages that had the same UID of a mailbox, one after the other, since the process began.
type Holders struct {
	mu     sync.Mutex            // guards what follows; taken last
	serial uint32                // the highest number given
	all    uint32                // number of every UID that is not in next, or has a lower one there
	next   map[remote.UID]uint32 // Ref.Holder of the message that has the UID now
	left   map[remote.UID]bool   // UIDs whose message has left the listing
	many   bool                  // there were too many of them: each UID that is listed anew counts as one of them
}

// maxHolders is how many UIDs are numbered one by one, and how many are remembered to have left.
const maxHolders = 1 << 16

// Of returns Ref.Holder of a message that is listed now and was not before.
func (h *Holders) Of(uid remote.UID) uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(h.all, h.next[uid])
}

// Leave notes that messages have left the listing.
func (h *Holders) Leave(uids *remote.UIDSet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.many = h.many || len(h.left)+uids.Len() > maxHolders; h.many {
		h.left = nil
		return
	}
	if h.left == nil {
		h.left = map[remote.UID]bool{}
	}
	for uid := range each(uids) {
		h.left[uid] = true
	}
}

// Back returns those of some UIDs, which are listed anew, that another message had before.
func (h *Holders) Back(uids []remote.UID) *remote.UIDSet {
	h.mu.Lock()
	defer h.mu.Unlock()
	set := &remote.UIDSet{}
	for _, uid := range uids {
		if h.many || h.left[uid] {
			set.Add(uid)
		}
		delete(h.left, uid)
	}
	return set
}

// Pass notes that other messages have UIDs now.
func (h *Holders) Pass(uids *remote.UIDSet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serial++
	if len(h.next)+uids.Len() > maxHolders {
		h.next, h.all = nil, h.serial
		return
	}
	if h.next == nil {
		h.next = map[remote.UID]uint32{}
	}
	for uid := range each(uids) {
		h.next[uid] = h.serial
	}
}

// PassAll notes that other messages have all UIDs now, and returns their Ref.Holder.
func (h *Holders) PassAll() uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serial++
	h.next, h.left, h.all = nil, nil, h.serial
	return h.all
}

// each returns the UIDs of a set.
func each(set *remote.UIDSet) iter.Seq[remote.UID] {
	return func(yield func(remote.UID) bool) {
		for _, r := range set.Ranges() {
			for uid := r.First; uid <= r.Last; uid++ {
				if !yield(uid) {
					return
				}
			}
		}
	}
}
