package disk

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// Scan finds the files of a store that earlier runs have written, and removes files that such a run had not written in full. It
// may take long. Meanwhile bodies are written and read, and the files together may exceed the budget. To be called once for
// a store.
func (b *Bodies) Scan(s *Store) {
	defer close(s.scanned)
	b.mu.Lock()
	if b.scans++; b.gone == nil {
		b.gone = map[Key]bool{}
	}
	b.mu.Unlock()
	all := b.find(s)
	b.mu.Lock()
	defer b.unlockAndSweep()
	if !s.pinned {
		b.admitLocked(s, all)
	}
	if b.scans--; b.scans == 0 {
		b.gone = nil
	}
}

// found is a file that a scan has found.
type found struct {
	Key
	size int64     // bytes
	used time.Time // when it was last read or written
}

// find returns the bodies of a store, and removes other files.
func (b *Bodies) find(s *Store) (all []found) {
	filepath.WalkDir(s.bodies, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		k, ok := s.keyOf(path)
		info, err := e.Info()
		switch {
		case err != nil:
		case ok:
			all = append(all, found{k, info.Size(), info.ModTime()})
		case !b.writing(s, path):
			os.Remove(path)
		}
		return nil
	})
	return all
}

// writing tells whether a path is the temporary name of a file that is being written.
func (b *Bodies) writing(s *Store, path string) bool {
	k, ok := s.keyOf(strings.TrimSuffix(path, tempEnd))
	b.mu.Lock()
	defer b.mu.Unlock()
	return ok && (s.pinned && b.pending[k] != nil || b.lru.Contains(k))
}

// admitLocked adds the files that a scan of a store has found, as read less recently than those that are known already, and
// drops files until all are within the budget.
func (b *Bodies) admitLocked(s *Store, all []found) {
	newer := slices.DeleteFunc(b.lru.Keys(), func(k Key) bool { return k.store != s })
	slices.SortFunc(all, func(a, b found) int { return a.used.Compare(b.used) })
	for _, f := range all {
		if !b.lru.Contains(f.Key) && !b.gone[f.Key] {
			b.used += f.size
			b.lru.Add(f.Key, f.size)
		}
	}
	for _, k := range newer {
		b.lru.Get(k)
	}
	for b.used > b.budget && b.lru.Len() > 0 {
		b.lru.RemoveOldest()
	}
}

// keyOf returns the key of the body that has a path; false for a file that is no body.
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

// Forget removes the bodies of a mailbox but for those of one UIDVALIDITY; all, if that is 0. It waits until the store was
// scanned.
func (b *Bodies) Forget(s *Store, mailbox Hash, but uint32) {
	<-s.scanned // then all are known
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

// ForgetSome removes the bodies of some messages of a mailbox.
func (b *Bodies) ForgetSome(s *Store, mailbox Hash, validity uint32, uids *remote.UIDSet) {
	dir := Key{store: s, mailbox: mailbox, ref: table.Ref{UIDValidity: validity}}.dir()
	if uids.Len() <= fewFiles {
		if _, err := os.Lstat(dir); err != nil {
			return
		}
		for _, r := range uids.Ranges() {
			for uid := r.First; uid <= r.Last; uid++ {
				b.Remove(s.Key(mailbox, table.Ref{UIDValidity: validity, UID: uid}))
			}
		}
		return
	}
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if uid, err := strconv.ParseUint(f.Name(), 10, 64); err == nil && uids.Contains(remote.UID(uid)) {
			b.Remove(s.Key(mailbox, table.Ref{UIDValidity: validity, UID: remote.UID(uid)}))
		}
	}
}

// fewFiles is up to how many files are removed without listing their directory.
const fewFiles = 64
