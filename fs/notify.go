package fs

import (
	"strings"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/mailfs/mailfs/cache"
	mail "github.com/mailfs/mailfs/cache/message"
)

// notifier tells the kernel what changed, in a goroutine of its own. To forget a name, the kernel waits for everybody who
// is in the directory, also for a process that waits for an answer of mailfs. So no handler may wait for the notifier.
//
// Changes that the kernel was not told of yet are kept by mailbox. Their number is bounded: where a mailbox loses very many
// messages, only that is kept.
type notifier struct {
	wake chan struct{} // has room for one: wakes run up
	stop chan struct{} // closed by close, ends run
	done chan struct{} // closed by run when it ends

	mu        sync.Mutex // guards what follows
	mailboxes map[*cache.Mailbox]*pendingChanges
	accounts  map[*account]*folder // of accounts whose folders changed, the hierarchy that the kernel knows
}

// pendingChanges are the changes of one mailbox that the kernel was not told of yet.
type pendingChanges struct {
	account  *account
	resized  []cache.Entry
	vanished []cache.Entry
	many     bool // more than maxPending: resized and vanished are empty
}

// maxPending is how many changed messages of a mailbox are kept one by one.
const maxPending = 4096

func newNotifier() *notifier {
	return &notifier{
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		mailboxes: map[*cache.Mailbox]*pendingChanges{}, accounts: map[*account]*folder{},
	}
}

// mailboxChanged notes a change of a mailbox, for run. It waits for nothing.
func (n *notifier) mailboxChanged(a *account, c cache.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.mailboxes[c.Mailbox]
	if p == nil {
		p = &pendingChanges{account: a}
		n.mailboxes[c.Mailbox] = p
	}
	p.resized = append(p.resized, c.Resized...)
	p.vanished = append(p.vanished, c.Vanished...)
	if len(p.vanished)+len(p.resized) > maxPending {
		p.resized, p.vanished, p.many = nil, nil, true
	}
	n.wakeUp()
}

// foldersChanged notes that an account's hierarchy, which was old until now, is another one. It waits for nothing.
func (n *notifier) foldersChanged(a *account, old *folder) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.accounts[a] == nil {
		n.accounts[a] = old
	}
	n.wakeUp()
}

func (n *notifier) wakeUp() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run tells the kernel of changes until the notifier is closed.
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
		n.mailboxes, n.accounts = map[*cache.Mailbox]*pendingChanges{}, map[*account]*folder{}
		n.mu.Unlock()
		for a, old := range accounts {
			a.directoryAt(nil).forgetFolders(old, a.cachedFolder(nil))
		}
		for m, p := range mailboxes {
			p.notify(m)
		}
	}
}

// close ends run and waits for that.
func (n *notifier) close() {
	close(n.stop)
	<-n.done
}

// notify tells the kernel of the changes of a mailbox.
func (p *pendingChanges) notify(m *cache.Mailbox) {
	path, ok := p.account.pathOf(m)
	if !ok {
		return // forgetFolders has the kernel forget a mailbox that is gone
	}
	d := p.account.directoryAt(path)
	if d == nil {
		return // the kernel knows nothing in it
	}
	d.invalidateIfChanged()
	if p.many {
		d.sweep(m)
		return
	}
	for _, e := range p.vanished {
		d.forgetMessage(e.Name, e.Ref)
	}
	for _, e := range p.resized {
		if inode := d.GetChild(e.Name); inode != nil {
			if f, ok := inode.Operations().(*message); ok && f.ref == e.Ref {
				f.invalidateIfChanged(e.Size)
			}
		}
	}
}

// sweep compares all messages of the directory that the kernel may know with those of the mailbox. m is nil where the
// directory is no mailbox any more.
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
		} else if e, ok := find(t, f.ref); ok {
			f.invalidateIfChanged(e.Size)
		}
	}
}

// forgetMessage has the kernel forget a message that vanished, also where there is no node of it: a handler may be about
// to tell the kernel of the message.
func (d *directory) forgetMessage(name string, ref cache.Ref) {
	for _, view := range []struct{ name, suffix string }{{textsName, textSuffix}, {partsName, ""}} {
		if inode := d.GetChild(view.name); inode != nil {
			if shown := strings.TrimSuffix(name, mail.Suffix) + view.suffix; inode.GetChild(shown) != nil {
				inode.NotifyEntry(shown) // the next message of that name may be another one
			}
		}
	}
	inode := d.GetChild(name)
	if inode == nil {
		d.NotifyEntry(name)
		return
	}
	if f, ok := inode.Operations().(*message); ok && f.ref == ref {
		forgetEntry(&d.Inode, name, inode)
	}
}

// forgetFolders has the kernel forget what is not so any more where a folder changed from old to now: folders that are
// gone, messages of another mailbox, and attributes.
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
			forgetEntry(&d.Inode, f.name, inode) // and with it all that is in the folder
		}
	}
}

// forgetEntry has the kernel forget a name as if it were removed here: a program that has the file open sees that it has no
// link any more. Where the kernel refuses, as with a directory that is in use, it at least looks the name up again.
func forgetEntry(parent *gofs.Inode, name string, child *gofs.Inode) {
	if errno := parent.NotifyDelete(name, child); errno != 0 && errno != syscall.ENOENT {
		parent.NotifyEntry(name)
	}
}

// forgetAttributes has the kernel ask for the attributes of an inode before it uses them again. It waits for nobody. The
// errno is of no interest: it says that the kernel does not know the inode.
func forgetAttributes(inode *gofs.Inode) { inode.NotifyContent(-1, 0) }
