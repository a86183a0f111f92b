package disk

import (
	"encoding/json"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/mailfs/mailfs/remote"
)

// Mailboxes returns the mailboxes as they were when they were last listed; nil, where they never were.
func (s *Store) Mailboxes() (list []remote.Mailbox) {
	s.do("reading the mailboxes", func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			v, err := get(tx.Bucket(accountBucket), mailboxesKey)
			if err != nil || v == nil {
				return err
			}
			return json.Unmarshal(v, &list)
		})
	})
	if list != nil {
		s.list.Store(&list)
	}
	return list
}

// SaveMailboxes keeps the list of mailboxes and forgets the tables of those that are not in it.
func (s *Store) SaveMailboxes(list []remote.Mailbox) {
	s.list.Store(&list)
	s.do("writing the mailboxes", func(db *bbolt.DB) error {
		v, err := json.Marshal(list)
		if err != nil {
			return err
		}
		same := false
		err = db.View(func(tx *bbolt.Tx) error {
			old, err := get(tx.Bucket(accountBucket), mailboxesKey)
			same = string(old) == string(v)
			return err
		})
		if err != nil || same {
			return err
		}
		return db.Update(func(tx *bbolt.Tx) error {
			there := map[string]bool{string(accountBucket): true}
			for _, m := range list {
				there[string(mailboxBucket(m.Name))] = true
			}
			var gone [][]byte
			tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
				if !there[string(name)] {
					gone = append(gone, append([]byte(nil), name...))
				}
				return nil
			})
			for _, name := range gone {
				s.saved.Delete(strings.TrimPrefix(string(name), mailboxPrefix))
				if err := tx.DeleteBucket(name); err != nil {
					return err
				}
			}
			return put(tx.Bucket(accountBucket), mailboxesKey, v)
		})
	})
}
