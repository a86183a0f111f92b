package fs

import "github.com/mailfs/mailfs/cache"

// arriving is where the mailbox is of which messages arrived last: a walk stays in one, and there may be thousands. It
// belongs to the one goroutine that calls arrived.
type arriving struct {
	mailbox *cache.Mailbox
	top     *folder // the hierarchy in which path was found
	path    []string
}

// arrived gives the kernel a message before it is asked for, if the kernel knows the file: who reads it then asks nobody.
// It tells whether the kernel has it.
//
// The kernel holds a page of a file locked while it waits for us to fill it, and this waits for the page. So it is never
// called by who answers the kernel.
func (a *account) arrived(r cache.Pushed) bool {
	if top := a.top.Load(); a.arriving.mailbox != r.Mailbox || a.arriving.top != top {
		path, ok := a.path(r.Mailbox)
		if !ok {
			return false
		}
		a.arriving = arriving{r.Mailbox, top, path}
	}
	d := a.find(a.arriving.path)
	if d == nil {
		return false
	}
	inode := d.GetChild(r.Entry.Name)
	if inode == nil {
		return false
	}
	m, ok := inode.Operations().(*message)
	return ok && m.ref == r.Entry.Ref && m.hasTold(r.Entry.Size) && inode.WriteCache(0, r.Body) == 0
}
