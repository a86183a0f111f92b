package disk

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mailfs/mailfs/remote"
)

// Errors of opening a store.
var (
	// ErrNewer: the store was written by a newer version of mailfs.
	ErrNewer = errors.New("store was written by a newer version of mailfs")
	// ErrHeld: another process uses the store.
	ErrHeld = errors.New("store is in use by another process")
)

// Options of a store.
type Options struct {
	// Label says whose store it is, for List.
	Label string
	// Pinned is for a store that may hold the only copy of a message: its bodies stay and do not count against the budget, and
	// its index outlives a loss of power. The index of any other store may be damaged by a loss of power, which is noticed;
	// writing it does not wait for the disk.
	Pinned bool
}

// Store is what is kept on disk of one account. It belongs to this process while it is open.
type Store struct {
	dir     string
	bodies  string // directory of the bodies
	pinned  bool
	log     *slog.Logger
	scanned chan struct{} // closed when Bodies knows the files of earlier runs

	mu     sync.Mutex // guards what follows, and is held for nothing but to read or set it
	holder *os.File   // locked; nil when the store is closed
	db     *bbolt.DB  // nil when the store is closed, while a damaged index is replaced, and where no new one could be made

	saved    sync.Map                         // name of a mailbox -> true: db holds all of its table, as this process knows
	saidFull sync.Once                        // logs once that the disk is full
	list     atomic.Pointer[[]remote.Mailbox] // as it was read or saved last; nil before

	pendingViews pendingViews

	roomMu sync.Mutex // guards what follows
	asked  time.Time  // when the system was last asked how much room the disk has
	room   int64      // bytes that may be written until it is asked again
}

// Open opens the store in a directory, or makes one. It returns ErrHeld, ErrNewer, or what the filesystem says, see
// CannotWrite. A store that is open is to be scanned, see Bodies.Scan, and closed.
func Open(dir string, o Options, log *slog.Logger) (*Store, error) {
	var s *Store
	err := error(os.ErrNotExist)
	// Another process that used the store may just be removing it, if nothing is in it.
	for tries := 0; tries < 3 && errors.Is(err, os.ErrNotExist); tries++ {
		if err = os.MkdirAll(filepath.Join(dir, bodiesDir), 0o700); err == nil {
			s, err = openStore(dir, o.Pinned, log)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := putLabel(dir, o.Label); err != nil && !CannotWrite(err) {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openStore opens the store in a directory that is there.
func openStore(dir string, pinned bool, log *slog.Logger) (*Store, error) {
	s := &Store{
		dir: dir, bodies: filepath.Join(dir, bodiesDir), pinned: pinned, log: log, scanned: make(chan struct{}),
	}
	if err := s.lock(); err != nil {
		return nil, err
	}
	var err error
	s.db, err = s.openIndex()
	if err != nil && !errors.Is(err, ErrNewer) && !errors.Is(err, os.ErrPermission) && !CannotWrite(err) {
		s.db, err = s.setAside(err)
	}
	if err != nil {
		s.holder.Close()
		return nil, err
	}
	return s, nil
}

// Dir is the directory of the store's bodies.
func (s *Store) Dir() string { return s.bodies }

// putLabel writes the label of a store.
func putLabel(dir, label string) error {
	path := filepath.Join(dir, labelFile)
	if b, err := os.ReadFile(path); err == nil && string(b) == label+"\n" {
		return nil
	}
	return os.WriteFile(path, []byte(label+"\n"), 0o600)
}

// Close ends the use of the store. Calls after the first do nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	holder, db := s.holder, s.db
	s.holder, s.db = nil, nil
	s.mu.Unlock()
	if holder == nil {
		return nil
	}
	var err error
	if db != nil {
		err = errors.Join(guarded(db.Sync), guarded(db.Close))
	}
	holder.Close() // lets other processes have the store
	return err
}

// RemoveUnused removes the store of an account that was never reached, unless it holds a body or a damaged index. To be called
// before Close.
func (s *Store) RemoveUnused() {
	if _, err := os.Lstat(s.damagedIndex()); err == nil || os.Remove(s.bodies) != nil {
		return
	}
	for _, name := range []string{labelFile, indexFile, holderFile} {
		os.Remove(filepath.Join(s.dir, name))
	}
	os.Remove(s.dir)
}
