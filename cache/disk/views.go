package disk

import (
	"bytes"
	"fmt"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// View names something small that is known of what is made of a message: what parts it has, or how long a view is.
type View struct {
	table.Ref
	Name string
}

func (v View) key() []byte {
	return fmt.Appendf(uidKey(v.UIDValidity, v.UID), "%d %s", viewVersion, v.Name)
}

// saveViews keeps what is known of views of a mailbox's messages. For a mailbox of which nothing else is kept it does nothing.
func (s *Store) saveViews(mailbox string, views map[View][]byte) {
	s.do("writing views of "+mailbox, func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(mailboxBucket(mailbox))
			if b == nil {
				return nil
			}
			b, err := b.CreateBucketIfNotExists(viewsBucket)
			if err != nil {
				return err
			}
			for v, value := range views {
				if err := put(b, v.key(), value); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// View returns what is known of a view; nil if nothing is.
func (s *Store) View(mailbox string, v View) (value []byte) {
	s.do("reading a view of "+mailbox, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			b := tx.Bucket(mailboxBucket(mailbox))
			if b == nil {
				return nil
			}
			found, err := get(b.Bucket(viewsBucket), v.key())
			value = bytes.Clone(found)
			return err
		})
	})
	return value
}

// dropViews forgets the views of the message that has a key.
func dropViews(mailbox *bbolt.Bucket, message []byte) error {
	b := mailbox.Bucket(viewsBucket)
	if b == nil {
		return nil
	}
	c := b.Cursor()
	for key, _ := c.Seek(message); bytes.HasPrefix(key, message); key, _ = c.Seek(message) {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// sizeOf begins the name under which the length of a view is kept.
const sizeOf = "size of "

// ForgetViews forgets what is known of views of some messages of a mailbox, and returns the names of the views whose length was
// known.
func (s *Store) ForgetViews(mailbox string, validity uint32, uids *remote.UIDSet) map[string]bool {
	names := map[string]bool{}
	note := func(name string) {
		if of, ok := strings.CutPrefix(name, sizeOf); ok {
			names[of] = true
		}
	}
	s.pendingViews.mu.Lock()
	for v := range s.pendingViews.byMailbox[mailbox] {
		if v.UIDValidity == validity && uids.Contains(v.UID) {
			note(v.Name)
			delete(s.pendingViews.byMailbox[mailbox], v)
		}
	}
	s.pendingViews.mu.Unlock()
	// views calls f with the bucket of the views of the mailbox and the keys of those that are to be forgotten, if there are any.
	views := func(tx *bbolt.Tx, f func(b *bbolt.Bucket, keys [][]byte) error) error {
		b := tx.Bucket(mailboxBucket(mailbox))
		if b == nil {
			return nil
		}
		if b = b.Bucket(viewsBucket); b == nil {
			return nil
		}
		var keys [][]byte
		c := b.Cursor()
		for _, r := range uids.Ranges() {
			end := uidKey(validity, r.Last+1)
			for k, _ := c.Seek(uidKey(validity, r.First)); k != nil && bytes.Compare(k, end) < 0; k, _ = c.Next() {
				keys = append(keys, bytes.Clone(k))
			}
		}
		if len(keys) == 0 {
			return nil
		}
		return f(b, keys)
	}
	s.do("forgetting views of "+mailbox, func(db *bbolt.DB) error {
		some := false
		err := db.View(func(tx *bbolt.Tx) error {
			return views(tx, func(*bbolt.Bucket, [][]byte) error { some = true; return nil })
		})
		if err != nil || !some { // most often: nothing is written then
			return err
		}
		return db.Update(func(tx *bbolt.Tx) error {
			return views(tx, func(b *bbolt.Bucket, keys [][]byte) error {
				for _, k := range keys {
					if _, name, ok := strings.Cut(string(k[len(uidKey(0, 0)):]), " "); ok {
						note(name)
					}
					if err := b.Delete(k); err != nil {
						return err
					}
				}
				return nil
			})
		})
	})
	return names
}
