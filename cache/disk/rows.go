package disk

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"

	"go.etcd.io/bbolt"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// state is what the index says of a mailbox besides its messages, as JSON.
type state struct {
	Version remote.Version
	table.Head
}

// Load returns the table of a mailbox as it was last saved, and the version it is of; nil, if it never was.
func (s *Store) Load(mailbox string) (t *table.Table, version remote.Version) {
	err := s.do("reading "+mailbox, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			b := tx.Bucket(mailboxBucket(mailbox))
			if b == nil {
				return nil
			}
			v, err := get(b, stateKey)
			if err != nil || v == nil {
				return err
			}
			var kept state
			if err := json.Unmarshal(v, &kept); err != nil {
				return errDamaged(err.Error())
			}
			loader := table.NewLoader(kept.Version.UIDValidity, kept.Head)
			err = b.Bucket(rowsBucket).ForEach(func(key, sealed []byte) error {
				rows, err := unseal(key, sealed)
				if err != nil {
					return err
				}
				if err := loader.Add(rows); err != nil {
					return errDamaged(err.Error())
				}
				return nil
			})
			if err != nil {
				return err
			}
			t, version = loader.Table(), kept.Version
			return nil
		})
	})
	if err != nil {
		return nil, remote.Version{}
	}
	if t != nil {
		s.saved.Store(mailbox, true)
	}
	return t, version
}

// Update is what to save of a mailbox.
type Update struct {
	Table   *table.Table
	Version remote.Version // that the table is of
	// Dirty are the UIDs that changed since the table that was saved before: added, vanished, or with other flags.
	Dirty []remote.UID
	Gone  []remote.UID // those of them that vanished
	// All says that everything changed, as with the first table of a UIDVALIDITY. Then what is known of messages with another
	// UIDVALIDITY is removed.
	All bool
}

// Save keeps a table.
func (s *Store) Save(mailbox string, u Update) {
	u.All = u.All || !s.Saved(mailbox)
	err := s.do("writing "+mailbox, func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error { return save(tx, mailbox, u) })
	})
	if err == nil {
		s.saved.Store(mailbox, true)
	} else { // the next change alone would not bring what was not written now
		s.saved.Delete(mailbox)
	}
}

func save(tx *bbolt.Tx, mailbox string, u Update) error {
	b, err := tx.CreateBucketIfNotExists(mailboxBucket(mailbox))
	if err != nil {
		return err
	}
	u.All = u.All || b.Get(stateKey) == nil
	if u.All && b.Bucket(rowsBucket) != nil {
		if err := b.DeleteBucket(rowsBucket); err != nil {
			return err
		}
	}
	if err := putRows(b, u.Table, u.Dirty, u.All); err != nil {
		return err
	}
	validity := u.Table.UIDValidity()
	for _, uid := range u.Gone {
		if err := dropViews(b, uidKey(validity, uid)); err != nil {
			return err
		}
		if headers := b.Bucket(headersBucket); headers != nil {
			if err := headers.Delete(uidKey(validity, uid)); err != nil {
				return err
			}
		}
	}
	if u.All {
		for _, name := range [][]byte{headersBucket, viewsBucket} {
			if err := dropOthers(b.Bucket(name), validity); err != nil {
				return err
			}
		}
	}
	v, err := json.Marshal(state{u.Version, u.Table.Head()})
	if err != nil {
		return err
	}
	return put(b, stateKey, v)
}

// Saved tells whether the index holds all of a mailbox's table, as far as this process knows.
func (s *Store) Saved(mailbox string) bool {
	_, saved := s.saved.Load(mailbox)
	return saved
}

// SaveRows writes again what a table that is saved says of some messages.
func (s *Store) SaveRows(mailbox string, t *table.Table, dirty []remote.UID) {
	if !s.Saved(mailbox) {
		return
	}
	err := s.do("writing "+mailbox, func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error {
			if b := tx.Bucket(mailboxBucket(mailbox)); b != nil {
				return putRows(b, t, dirty, false)
			}
			return nil
		})
	})
	if err != nil {
		s.saved.Delete(mailbox)
	}
}

// putRows writes the segments that some messages are in, or with all those of the whole table.
func putRows(mailbox *bbolt.Bucket, t *table.Table, dirty []remote.UID, all bool) error {
	rows, err := mailbox.CreateBucketIfNotExists(rowsBucket)
	if err != nil {
		return err
	}
	segments := map[uint64]bool{}
	for _, uid := range dirty {
		segments[table.SegmentOf(uid)] = true
	}
	if all {
		for _, n := range t.Segments() {
			segments[n] = true
		}
	}
	for n := range segments {
		key := binary.BigEndian.AppendUint64(nil, n)
		if v := t.Segment(n); v == nil {
			err = rows.Delete(key)
		} else {
			err = put(rows, key, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// uidKey is the key of a message in a bucket.
func uidKey(validity uint32, uid remote.UID) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, validity), uint64(uid))
}

// dropOthers removes from a bucket, which may be nil, what it holds of messages that have another UIDVALIDITY.
func dropOthers(b *bbolt.Bucket, validity uint32) error {
	if b == nil {
		return nil
	}
	from, to := uidKey(validity, 0), uidKey(validity, math.MaxUint64)
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.First(); k != nil && bytes.Compare(k, from) < 0; k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for k, _ := c.Seek(to); k != nil; k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
