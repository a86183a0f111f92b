package disk

import (
	"errors"

	"go.etcd.io/bbolt"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// perHeader estimates, in bytes, what the fields of one message take in the index beside themselves.
const perHeader = 60

// saveHeaders keeps the header fields of messages, unless the disk is nearly full: the rest is for tables.
func (s *Store) saveHeaders(mailbox string, validity uint32, headers map[remote.UID][]byte) {
	if len(headers) == 0 {
		return
	}
	size := int64(0)
	for _, h := range headers {
		size += int64(len(h)) + perHeader
	}
	s.do("writing headers of "+mailbox, func(db *bbolt.DB) error {
		if room, err := spareRoom(s.dir); err != nil || room < size {
			return errors.Join(err, errSpare)
		}
		return db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(mailboxBucket(mailbox))
			if err != nil {
				return err
			}
			if b, err = b.CreateBucketIfNotExists(headersBucket); err != nil {
				return err
			}
			b.FillPercent = 0.9 // mostly appended
			for uid, h := range headers {
				if err := put(b, uidKey(validity, uid), h); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// Header returns the header fields of a message; nil if they are not known.
func (s *Store) Header(mailbox string, ref table.Ref) (header []byte) {
	s.do("reading a header of "+mailbox, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			b := tx.Bucket(mailboxBucket(mailbox))
			if b == nil {
				return nil
			}
			v, err := get(b.Bucket(headersBucket), uidKey(ref.UIDValidity, ref.UID))
			header = append([]byte(nil), v...)
			return err
		})
	})
	return header
}
