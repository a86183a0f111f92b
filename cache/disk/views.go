package disk

import (
	"bytes"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/mailfs/mailfs/cache/table"
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
