package fs

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/mailfs/mailfs/cache"
)

// mailboxOrder notices that a program lists the mailboxes of an account one after the other, and predicts the next ones.
type mailboxOrder struct {
	mu     sync.Mutex // guards what follows
	top    *folder    // the hierarchy that the orders are made of
	orders []*order
}

// order is an order in which programs list mailboxes, each folder before those in it.
type order struct {
	mailboxes []*cache.Mailbox
	indexes   map[*cache.Mailbox]int // in mailboxes
	last      int                    // index of the mailbox that was listed last; -1 before the first
	steps     int                    // how many mailboxes in a row were listed in this order
}

const (
	// minSteps is how many steps in an order make a prediction: a single one happens by chance.
	minSteps = 2
	// maxSkip is how many mailboxes a program may leave out in a step.
	maxSkip = 3
)

// noteListed notes that a mailbox is listed, and has the cache list ahead those that are probably next. A nil mailbox is
// a folder without mail.
func (a *account) noteListed(m *cache.Mailbox) {
	top := a.top.Load()
	if m == nil || top == nil {
		return
	}
	if next := a.nextMailboxes(top, m); len(next) > 0 {
		a.cache.ListAhead(next)
	}
}

// nextMailboxes returns the mailboxes that are probably listed after a mailbox, the next one first.
func (a *account) nextMailboxes(top *folder, m *cache.Mailbox) (next []*cache.Mailbox) {
	o := &a.mailboxOrder
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.top != top {
		o.top, o.orders = top, a.orders(top)
	}
	for _, order := range o.orders { // all of them, since each counts its steps
		if n := order.step(m); next == nil {
			next = n
		}
	}
	return next
}

// orders returns the orders in which programs list mailboxes: by names, in which mailfs lists folders, and by inode
// numbers, in which cp and tar sort what they read.
func (a *account) orders(top *folder) []*order {
	byName, byInode := newOrder(), newOrder()
	byName.add(top, nil, func(f *folder, _ []string) []*folder { return f.folders })
	byInode.add(top, nil, func(f *folder, path []string) []*folder {
		inodes := make(map[*folder]uint64, len(f.folders))
		for _, c := range f.folders {
			inodes[c] = a.fsys.inodes.directory(a.cache.Name(), append(path[:len(path):len(path)], c.name))
		}
		return slices.SortedFunc(maps.Keys(inodes), func(c, d *folder) int { return cmp.Compare(inodes[c], inodes[d]) })
	})
	return []*order{byName, byInode}
}

func newOrder() *order { return &order{indexes: map[*cache.Mailbox]int{}, last: -1} }

// add adds the mailbox of a folder, then those below it. sorted returns the folders in a folder, in the order to be made.
func (o *order) add(f *folder, path []string, sorted func(f *folder, path []string) []*folder) {
	if f.mailbox != nil {
		o.indexes[f.mailbox] = len(o.mailboxes)
		o.mailboxes = append(o.mailboxes, f.mailbox)
	}
	for _, c := range sorted(f, path) {
		o.add(c, append(path[:len(path):len(path)], c.name), sorted)
	}
}

// step notes that a mailbox is listed and returns the next ones, if enough were listed in this order.
func (o *order) step(m *cache.Mailbox) []*cache.Mailbox {
	i, ok := o.indexes[m]
	switch {
	case ok && i == o.last:
	case ok && i > o.last && i <= o.last+1+maxSkip:
		o.steps++
	default:
		o.steps = 0
	}
	o.last = i
	if o.steps < minSteps {
		return nil
	}
	return o.mailboxes[i+1 : min(i+1+cache.MaxListAhead, len(o.mailboxes))]
}
