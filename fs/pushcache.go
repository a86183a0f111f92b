package fs

import "github.com/mailfs/mailfs/cache"

// pushTarget is the mailbox of the message that was pushed last, and where that mailbox is: of one mailbox, thousands of
// messages may be pushed in a row. Only the goroutine that calls pushToKernel uses it.
type pushTarget struct {
	mailbox *cache.Mailbox
	top     *folder // the hierarchy in which path was found
	path    []string
}

// pushToKernel puts a message into the kernel's cache before anybody reads it, if the kernel knows the file: its reader
// then waits for nobody. It tells whether the kernel has taken the message.
//
// It waits for the pages of the file, which the kernel keeps locked while it waits for mailfs to answer a read of them.
// So a handler never calls it.
func (a *account) pushToKernel(p cache.Pushed) bool {
	if top := a.top.Load(); a.pushTarget.mailbox != p.Mailbox || a.pushTarget.top != top {
		path, ok := a.pathOf(p.Mailbox)
		if !ok {
			return false
		}
		a.pushTarget = pushTarget{p.Mailbox, top, path}
	}
	d := a.directoryAt(a.pushTarget.path)
	if d == nil {
		return false
	}
	inode := d.GetChild(p.Entry.Name)
	if inode == nil {
		return false
	}
	m, ok := inode.Operations().(*message)
	return ok && m.ref == p.Entry.Ref && m.kernelHas(p.Entry.Size) && inode.WriteCache(0, p.Body) == 0
}
