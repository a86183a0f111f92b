package fs

import (
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/mailfs/mailfs/cache"
)

// notifier tells the kernel what changed, in a goroutine of its own: forgetting a name waits for everybody who is in
// the directory, also for one who waits for the server, so nobody who answers the kernel may wait for it.
//
// What it has not told yet is kept by mailbox, and is bounded: of a mailbox that loses very many messages it is only
// noted that it did.
type notifier struct {
	wake chan struct{}
	stop chan struct{}
	done chan struct{}

	mu        sync.Mutex // guards what follows
	mailboxes map[*cache.Mailbox]*news
	accounts  map[*account]*folder // what the kernel was told of the hierarchy
}

// news of one mailbox.
type news struct {
	account  *account
	resized  []cache.Entry
	vanished []cache.Entry
	many     bool // too many to be named
}

// maxNews is how many messages of a mailbox are remembered by name.
const maxNews = 4096

func newNotifier() *notifier {
	return &notifier{
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		mailboxes: map[*cache.Mailbox]*news{}, accounts: map[*account]*folder{},
	}
}

// mailbox takes note of a change. It waits for nothing.
func (n *notifier) mailbox(a *account, c cache.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.mailboxes[c.Mailbox]
	if w == nil {
		w = &news{account: a}
		n.mailboxes[c.Mailbox] = w
	}
	w.resized = append(w.resized, c.Resized...)
	w.vanished = append(w.vanished, c.Vanished...)
	if len(w.vanished)+len(w.resized) > maxNews {
		w.resized, w.vanished, w.many = nil, nil, true
	}
	n.ring()
}

// folders takes note of a change of an account's hierarchy, which was old until now. It waits for nothing.
func (n *notifier) folders(a *account, old *folder) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.accounts[a] == nil {
		n.accounts[a] = old
	}
	n.ring()
}

func (n *notifier) ring() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run tells the kernel until the notifier is stopped.
func (n *notifier) run() {
	defer close(n.done)
	for {
		select {
		case <-n.stop:
			return
		case <-n.wake:
		}
		n.mu.Lock()
		mailboxes, accounts := n.mailboxes, n.accounts
		n.mailboxes, n.accounts = map[*cache.Mailbox]*news{}, map[*account]*folder{}
		n.mu.Unlock()
		for a, old := range accounts {
			a.find(nil).forgetFolders(old, a.known(nil))
		}
		for m, w := range mailboxes {
			w.tell(m)
		}
	}
}

// close ends run and waits for it.
func (n *notifier) close() {
	close(n.stop)
	<-n.done
}

// tell tells the kernel the news of a mailbox.
func (w *news) tell(m *cache.Mailbox) {
	path, ok := w.account.path(m)
	if !ok {
		return // forgetFolders takes care of mailboxes that are gone
	}
	d := w.account.find(path)
	if d == nil {
		return // nothing in it is known to the kernel
	}
	d.invalidateIfChanged()
	if w.many {
		d.sweep(m)
		return
	}
	for _, e := range w.vanished {
		d.forgetMessage(e.Name, e.Ref)
	}
	for _, e := range w.resized {
		if inode := d.GetChild(e.Name); inode != nil {
			if f, ok := inode.Operations().(*message); ok && f.ref == e.Ref {
				f.invalidateIfChanged(e.Size)
			}
		}
	}
}

// sweep compares all messages that the kernel may know with what there is; m is nil where there is nothing any more.
func (d *directory) sweep(m *cache.Mailbox) {
	var t *cache.Table
	if m != nil {
		t = m.Known()
	}
	for name, inode := range d.Children() {
		f, ok := inode.Operations().(*message)
		if !ok {
			continue
		}
		if t == nil || f.mailbox != m || gone(m, f.ref) {
			d.forgetMessage(name, f.ref)
		} else if e, ok := t.Find(f.ref.UID); ok {
			f.invalidateIfChanged(e.Size)
		}
	}
}

// forgetMessage has the kernel forget a message that vanished. Also one that we do not know the kernel to know: it may
// just be about to be told of it.
func (d *directory) forgetMessage(name string, ref cache.Ref) {
	inode := d.GetChild(name)
	if inode == nil {
		d.NotifyEntry(name)
		return
	}
	if f, ok := inode.Operations().(*message); ok && f.ref == ref {
		forgetEntry(&d.Inode, name, inode)
	}
}

// forgetFolders has the kernel forget the folders that are not there any more, and what else it knows of the directory
// that is not so any more.
func (d *directory) forgetFolders(old, now *folder) {
	d.invalidateIfChanged()
	if old.mailbox != nil && old.mailbox != now.mailbox {
		d.sweep(now.mailbox)
	}
	for _, f := range old.folders {
		inode := d.GetChild(f.name)
		if inode == nil {
			continue
		}
		child, ok := inode.Operations().(*directory)
		if !ok {
			continue
		}
		if n := now.child(f.name); n != nil {
			child.forgetFolders(f, n)
		} else {
			forgetEntry(&d.Inode, f.name, inode) // and with it what is in it
		}
	}
}

// forgetEntry has the kernel forget a name, as if it were removed here: who has it open sees that it has no link any
// more. Where the kernel won't (a directory that is in use), it at least looks it up again next time.
func forgetEntry(parent *gofs.Inode, name string, child *gofs.Inode) {
	if errno := parent.NotifyDelete(name, child); errno != 0 && errno != syscall.ENOENT {
		parent.NotifyEntry(name)
	}
}

// forgetAttributes has the kernel ask for the attributes of an inode before it uses them again. It waits for nobody.
// That the kernel does not know the inode is as good.
func forgetAttributes(inode *gofs.Inode) { inode.NotifyContent(-1, 0) }
