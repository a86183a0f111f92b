package cache

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// viewVersion changes with the form of views: what the store knows of those of another form is not relied on.
const viewVersion = 1

// viewsBucket of a mailbox holds what is known of its messages' views, and is small: what parts messages have, and how long
// views are. uidKey and the name of the view -> value.
var viewsBucket = []byte("views")

// viewKeeper collects what is to be written of views, so that it is written together.
type viewKeeper struct {
	mu      sync.Mutex // guards pending
	pending map[string]map[string][]byte
}

// viewsTogether is how long to wait for more to write.
const viewsTogether = time.Second

// indexView has the store remember something of a view.
func (m *Mailbox) indexView(ref Ref, v view, value []byte) {
	a := m.account
	if a.index == nil {
		return
	}
	k := &a.views
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pending == nil {
		k.pending = map[string]map[string][]byte{}
		a.run(func(ctx context.Context) { // where it does not, the account is closed
			select {
			case <-ctx.Done():
			case <-time.After(viewsTogether):
			}
			k.mu.Lock()
			pending := k.pending
			k.pending = nil
			k.mu.Unlock()
			for mailbox, views := range pending {
				a.index.saveViews(mailbox, views)
			}
		})
	}
	if k.pending[m.name] == nil {
		k.pending[m.name] = map[string][]byte{}
	}
	k.pending[m.name][string(viewIndexKey(ref, v))] = value
}

// indexedView returns what the store remembers of a view; nil if it remembers nothing.
func (m *Mailbox) indexedView(ref Ref, v view) []byte {
	if m.account.index == nil {
		return nil
	}
	return m.account.index.view(m.name, ref, v)
}

func viewIndexKey(ref Ref, v view) []byte {
	return fmt.Appendf(uidKey(ref.UIDValidity, ref.UID), "%d %s", viewVersion, v)
}

// saveViews keeps what is known of views of a mailbox's messages.
func (x *index) saveViews(mailbox string, views map[string][]byte) {
	x.do("writing views of "+mailbox, func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(mailboxBucket(mailbox))
			if b == nil { // nothing is kept of it
				return nil
			}
			b, err := b.CreateBucketIfNotExists(viewsBucket)
			if err != nil {
				return err
			}
			for key, value := range views {
				if err := put(b, []byte(key), value); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// view returns what is known of a view; nil if nothing is.
func (x *index) view(mailbox string, ref Ref, v view) (value []byte) {
	x.do("reading a view of "+mailbox, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			b := tx.Bucket(mailboxBucket(mailbox))
			if b == nil {
				return nil
			}
			found, err := get(b.Bucket(viewsBucket), viewIndexKey(ref, v))
			value = bytes.Clone(found)
			return err
		})
	})
	return value
}

// dropViews forgets the views of a message.
func dropViews(mailbox *bbolt.Bucket, of []byte) error {
	b := mailbox.Bucket(viewsBucket)
	if b == nil {
		return nil
	}
	c := b.Cursor()
	for key, _ := c.Seek(of); bytes.HasPrefix(key, of); key, _ = c.Seek(of) {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}
