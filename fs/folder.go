package fs

import (
	"slices"
	"strings"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
)

// folder is one level of the hierarchy, as of one LIST. A folder never changes: another LIST makes new ones.
type folder struct {
	mailbox *cache.Mailbox // nil where there is no mail
	folders []*folder      // in order of names
	name    string         // of the directory; "" for the account
	changed time.Time      // when the names in folders changed last; zero if they never did
}

// child returns the folder of that name; nil if there is none.
func (f *folder) child(name string) *folder {
	i, ok := slices.BinarySearchFunc(f.folders, name, func(c *folder, n string) int { return strings.Compare(c.name, n) })
	if !ok {
		return nil
	}
	return f.folders[i]
}

// at returns the folder of a path; nil if there is none. A nil folder has none.
func (f *folder) at(path []string) *folder {
	for _, name := range path {
		if f == nil {
			return nil
		}
		f = f.child(name)
	}
	return f
}

// sameFolders tells whether two folders hold folders of the same names.
func (f *folder) sameFolders(g *folder) bool {
	return slices.EqualFunc(f.folders, g.folders, func(a, b *folder) bool { return a.name == b.name })
}

func sameMailbox(a, b remote.Mailbox) bool {
	return a.Name == b.Name && a.Selectable == b.Selectable && a.Role == b.Role && slices.Equal(a.Path, b.Path)
}

// markChanged sets in a new hierarchy when the folders changed last: now, where they hold other folders than in the old
// one, else as in the old one.
func markChanged(old, top *folder, now time.Time) {
	top.changed = old.changed
	if !top.sameFolders(old) {
		top.changed = now
	}
	for _, f := range top.folders {
		if o := old.child(f.name); o != nil {
			markChanged(o, f, now)
		}
	}
}

// level is a folder while the hierarchy is made. Its names are those of LIST.
type level struct {
	mailbox *cache.Mailbox
	names   []string // in the order of LIST
	levels  map[string]*level
}

func (l *level) child(name string) *level {
	c := l.levels[name]
	if c == nil {
		c = &level{levels: map[string]*level{}}
		l.levels[name] = c
		l.names = append(l.names, name)
	}
	return c
}

// hierarchy makes folders of mailboxes. Levels that LIST left out are folders without mail.
func (a *account) hierarchy(list []remote.Mailbox) *folder {
	top := &level{levels: map[string]*level{}}
	for _, m := range list {
		if len(m.Path) == 0 {
			continue
		}
		at := top
		for _, name := range m.Path[:len(m.Path)-1] {
			at = at.child(name)
		}
		name := m.Path[len(m.Path)-1]
		if c := at.levels[name]; c != nil && c.mailbox != nil && m.Selectable {
			name = cutFolderName(name, m.Name) // two spellings of one name, as of INBOX
		}
		if c := at.child(name); m.Selectable {
			c.mailbox = a.cache.Mailbox(m)
		}
	}
	return top.folder("")
}

func (l *level) folder(name string) *folder {
	f := &folder{mailbox: l.mailbox, name: name}
	for i, n := range folderNames(l.names) {
		f.folders = append(f.folders, l.levels[l.names[i]].folder(n))
	}
	slices.SortFunc(f.folders, func(x, y *folder) int { return strings.Compare(x.name, y.name) })
	return f
}
