package fs

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/mailfs/mailfs/cache"
)

// journey notices who goes through the mailboxes of an account one after the other, and says which will be next.
type journey struct {
	mu     sync.Mutex // guards what follows
	top    *folder    // whose mailboxes the routes lead through
	routes []*route
}

// route is an order in which programs go through mailboxes, each folder before those in it.
type route struct {
	mailboxes []*cache.Mailbox
	places    map[*cache.Mailbox]int // in mailboxes
	last      int                    // where somebody was last
	steps     int                    // that were made along it without a break
}

const (
	// travelling is how many steps make a journey.
	travelling = 2
	// skipped is how many mailboxes may be left out in a step.
	skipped = 3
)

// visit notes that a mailbox is listed, and has those listed that will be next.
func (a *account) visit(m *cache.Mailbox) {
	top := a.top.Load()
	if m == nil || top == nil {
		return
	}
	j := &a.journey
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.top != top {
		j.top, j.routes = top, a.routes(top)
	}
	var next []*cache.Mailbox
	for _, r := range j.routes {
		if n := r.step(m); next == nil {
			next = n
		}
	}
	if len(next) > 0 {
		a.cache.ListAhead(next)
	}
}

// routes returns the orders in which programs go: by names, in which folders are listed, and by inode numbers, in which cp
// and tar sort what they read.
func (a *account) routes(top *folder) []*route {
	byName, byInode := newRoute(), newRoute()
	byName.add(top, nil, func(f *folder, _ []string) []*folder { return f.folders })
	byInode.add(top, nil, func(f *folder, path []string) []*folder {
		inodes := make(map[*folder]uint64, len(f.folders))
		for _, c := range f.folders {
			inodes[c] = a.fsys.inodes.directory(a.cache.Name(), append(path[:len(path):len(path)], c.name))
		}
		return slices.SortedFunc(maps.Keys(inodes), func(c, d *folder) int { return cmp.Compare(inodes[c], inodes[d]) })
	})
	return []*route{byName, byInode}
}

func newRoute() *route { return &route{places: map[*cache.Mailbox]int{}, last: -1} }

// add adds a folder, then those in it in the order that they are in.
func (r *route) add(f *folder, path []string, in func(f *folder, path []string) []*folder) {
	if f.mailbox != nil {
		r.places[f.mailbox] = len(r.mailboxes)
		r.mailboxes = append(r.mailboxes, f.mailbox)
	}
	for _, c := range in(f, path) {
		r.add(c, append(path[:len(path):len(path)], c.name), in)
	}
}

// step goes to a mailbox and returns those that are next on the way, if somebody travels along this route.
func (r *route) step(m *cache.Mailbox) []*cache.Mailbox {
	at, ok := r.places[m]
	switch {
	case ok && at == r.last:
	case ok && at > r.last && at <= r.last+1+skipped:
		r.steps++
	default:
		r.steps = 0
	}
	r.last = at
	if r.steps < travelling {
		return nil
	}
	return r.mailboxes[at+1 : min(at+1+cache.MaxListAhead, len(r.mailboxes))]
}
