package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// An index that can't be read, or in which a value does not fit its checksum, counts as damaged as a whole: it is set aside
// and begun anew.

func (s *Store) indexPath() string { return filepath.Join(s.dir, indexFile) }

// damagedIndex is where a damaged index is kept.
func (s *Store) damagedIndex() string { return s.indexPath() + damagedEnd }

// openIndex opens the index, or makes one.
func (s *Store) openIndex() (db *bbolt.DB, err error) {
	err = guarded(func() error {
		db, err = s.openGuarded()
		return err
	})
	return db, err
}

func (s *Store) openGuarded() (*bbolt.DB, error) {
	// The list of free pages is kept in the file: bbolt would rebuild it in a goroutine of its own, where a damaged page is
	// the end of the process.
	db, err := bbolt.Open(s.indexPath(), 0o600, &bbolt.Options{
		Timeout: lockWait, FreelistType: bbolt.FreelistMapType, NoSync: !s.pinned, NoGrowSync: !s.pinned,
	})
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", s.indexPath(), err)
	}
	begun := false
	err = db.View(func(tx *bbolt.Tx) error {
		if info, err := os.Stat(s.indexPath()); err == nil && info.Size() < tx.Size() { // reading beyond the end would be fatal
			return errDamaged("the file was cut")
		}
		v, err := get(tx.Bucket(accountBucket), formatKey)
		if begun = v != nil; begun && (len(v) != 1 || v[0] > indexFormat) {
			return ErrNewer
		}
		return err
	})
	if err == nil && !begun { // else nothing is written: the disk may be full
		err = db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(accountBucket)
			if err != nil {
				return err
			}
			return put(b, formatKey, []byte{indexFormat})
		})
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// setAside keeps a damaged index under another name and begins a new one.
func (s *Store) setAside(why error) (*bbolt.DB, error) {
	s.log.Warn("the index of the store is damaged: set aside and begun anew", "error", why, "aside", s.damagedIndex())
	if err := os.Rename(s.indexPath(), s.damagedIndex()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return s.openIndex()
}

// errDamaged says what is wrong with an index.
type errDamaged string

func (e errDamaged) Error() string { return "damaged: " + string(e) }

// guarded turns a panic into an error: bbolt panics over pages that make no sense, and a page that is not there is a
// fault of memory.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = errDamaged(fmt.Sprint(v))
		}
	}()
	return f()
}

// do runs a transaction; what says in logs what it is for. A damaged index is set aside and the transaction is not repeated:
// what it was to read is not known any more, and what it was to write is written with the next change of the mailbox, which is
// saved in full then. Other errors, as of a full disk, are logged only: the index is a convenience.
func (s *Store) do(what string, transact func(*bbolt.DB) error) error {
	s.mu.Lock()
	db := s.db
	s.mu.Unlock()
	if db == nil {
		return bolterrors.ErrDatabaseNotOpen
	}
	err := guarded(func() error { return transact(db) })
	var damaged errDamaged
	if !errors.As(err, &damaged) {
		switch {
		case errors.Is(err, bolterrors.ErrDatabaseNotOpen): // it was closed just now
		case CannotWrite(err):
			s.saidFull.Do(func() { s.log.Warn("the disk is full: what is new is not kept", "what", what, "error", err) })
		case err != nil:
			s.log.Warn("the index of the store could not be used", "what", what, "error", err)
		}
		return err
	}
	if s.replace(db, err) {
		if list := s.list.Load(); list != nil { // tables are saved in full after the next synchronisation
			s.SaveMailboxes(*list)
		}
	}
	return err
}

// replace begins a new index in place of a damaged one, unless another transaction has noticed the damage first. It tells
// whether it did. Until it has, nothing is known and nothing is kept.
func (s *Store) replace(damaged *bbolt.DB, why error) bool {
	s.mu.Lock()
	first := s.db == damaged
	if first {
		s.db = nil
	}
	s.mu.Unlock()
	if !first {
		return false
	}
	if err := guarded(damaged.Close); err != nil { // waits for the other transactions
		s.log.Debug("closing the damaged index", "error", err)
	}
	s.saved.Clear()
	db, err := s.setAside(why)
	if err != nil {
		s.log.Error("no new index could be made: nothing is kept", "error", err)
		return false
	}
	s.mu.Lock()
	open := s.holder != nil
	if open {
		s.db = db
	}
	s.mu.Unlock()
	if !open {
		db.Close()
	}
	return open
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// put writes a value, with its checksum.
func put(b *bbolt.Bucket, key, value []byte) error {
	return b.Put(key, binary.LittleEndian.AppendUint32(value[:len(value):len(value)], checksum(key, value)))
}

// unseal takes the checksum off a value.
func unseal(key, sealed []byte) ([]byte, error) {
	n := len(sealed) - 4
	if n < 0 || binary.LittleEndian.Uint32(sealed[n:]) != checksum(key, sealed[:n]) {
		return nil, errDamaged(fmt.Sprintf("checksum of %q", key))
	}
	return sealed[:n], nil
}

// get returns a value, which is valid in the transaction only; nil if there is none, or no bucket.
func get(b *bbolt.Bucket, key []byte) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	sealed := b.Get(key)
	if sealed == nil {
		return nil, nil
	}
	return unseal(key, sealed)
}
