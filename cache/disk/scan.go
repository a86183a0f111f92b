package disk

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// Scan finds the files of a store that earlier runs have written, and removes what such a run was writing when it ended. It
// may take long; nothing is written to the store before it has ended. To be called once for a store.
func (b *Bodies) Scan(s *Store) {
	defer close(s.scanned)
	type found struct {
		Key
		size int64
		used time.Time
	}
	var all []found
	filepath.WalkDir(s.bodies, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		k, ok := s.keyOf(path)
		info, err := e.Info()
		if err != nil {
			return nil
		}
		if !ok {
			os.Remove(path)
			return nil
		}
		all = append(all, found{k, info.Size(), info.ModTime()})
		return nil
	})
	if s.pinned {
		return
	}
	slices.SortFunc(all, func(a, b found) int { return a.used.Compare(b.used) })
	b.mu.Lock()
	defer b.unlockAndSweep()
	for _, f := range all {
		b.used += f.size
		b.lru.Add(f.Key, f.size)
	}
	for b.used > b.budget && b.lru.Len() > 0 {
		b.lru.RemoveOldest()
	}
}

// keyOf is the inverse of Key.path; false for a file that is no body.
func (s *Store) keyOf(path string) (k Key, ok bool) {
	rel, err := filepath.Rel(s.bodies, path)
	if err != nil {
		return k, false
	}
	dir, uid := filepath.Split(rel)
	mailbox, validity := filepath.Split(filepath.Clean(dir))
	hash, err1 := hex.DecodeString(filepath.Clean(mailbox))
	v, err2 := strconv.ParseUint(validity, 10, 32)
	u, err3 := strconv.ParseUint(uid, 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil || len(hash) != len(k.mailbox) {
		return k, false
	}
	k = Key{store: s, ref: table.Ref{UIDValidity: uint32(v), UID: remote.UID(u)}}
	copy(k.mailbox[:], hash)
	return k, k.path() == path
}

// Forget removes the bodies of a mailbox but for those of one UIDVALIDITY; all, if that is 0.
func (b *Bodies) Forget(s *Store, mailbox Hash, but uint32) {
	b.mu.Lock()
	for _, k := range b.lru.Keys() {
		if k.store == s && k.mailbox == mailbox && k.ref.UIDValidity != but {
			b.lru.Remove(k)
		}
	}
	b.unlockAndSweep()
	top := filepath.Join(s.bodies, hex.EncodeToString(mailbox[:]))
	dirs, _ := os.ReadDir(top)
	for _, dir := range dirs {
		if dir.Name() != strconv.FormatUint(uint64(but), 10) {
			os.RemoveAll(filepath.Join(top, dir.Name()))
		}
	}
}

// ForgetFrom removes the bodies of a mailbox from a message on. It waits until the store was scanned.
func (b *Bodies) ForgetFrom(s *Store, mailbox Hash, from table.Ref) {
	<-s.scanned // then all are known
	b.mu.Lock()
	defer b.unlockAndSweep()
	for _, k := range b.lru.Keys() {
		if k.store == s && k.mailbox == mailbox && k.ref.UIDValidity == from.UIDValidity && k.ref.UID >= from.UID {
			b.lru.Remove(k)
		}
	}
}
