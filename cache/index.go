package cache

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/mailfs/mailfs/cache/table"
	"github.com/mailfs/mailfs/remote"
)

// indexFormat is the version of what the index holds. A store of a newer one is refused.
const indexFormat = 1

// Errors of opening a store.
var (
	// ErrStoreNewer: the store was written by a newer version of mailfs.
	ErrStoreNewer = errors.New("store was written by a newer version of mailfs")
	// ErrStoreHeld: another process uses the store.
	ErrStoreHeld = errors.New("store is in use by another process")
)

// index keeps on disk what is known of the mailboxes of one account: the list of them, their tables, and header fields.
//
//	account            "format", "mailboxes"
//	mailbox:NAME       "state", and three buckets:
//	  rows             segment of the table -> its columns
//	  headers          UID -> header fields
//	  views            UID and name of a view -> what is known of it
//
// Every value ends in a checksum over key and value. What does not fit its checksum, or can't be read at all, makes the
// whole index count as damaged: it is set aside, and begun anew.
type index struct {
	dir     string
	durable bool
	log     *slog.Logger

	mu     sync.RWMutex // held for writing while db is replaced
	db     *bbolt.DB
	holder *os.File // locked

	whole sync.Map  // mailbox name -> true: all of its table is in db as of this process
	full  sync.Once // that the disk takes no more is said once

	list atomic.Pointer[[]remote.Mailbox] // as it was read or saved last
}

// state is what the index says of a mailbox besides its messages.
type state struct {
	Version remote.Version
	table.Head
}

var (
	accountBucket = []byte("account")
	rowsBucket    = []byte("rows")
	headersBucket = []byte("headers")
	formatKey     = []byte("format")
	mailboxesKey  = []byte("mailboxes")
	stateKey      = []byte("state")
)

func mailboxBucket(name string) []byte { return []byte("mailbox:" + name) }

// How long to wait for another process to let go of a store: for one that serves a mount that is gone, to notice; and for
// one that has said that it is ending, to bring everything to disk.
const (
	lockWait = 500 * time.Millisecond
	lockEnds = 20 * time.Second
)

// full tells whether an error means that nothing can be written, whatever it is.
func full(err error) bool {
	for _, e := range []error{errSpare, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// openIndex opens or makes the index in a directory. ErrStoreHeld, ErrStoreNewer, or what the filesystem says.
//
// An index that is durable outlives the loss of power. One that is not may be damaged by it, which is noticed, and is as
// good as any when only this process dies: it costs no waiting for the disk.
func openIndex(dir string, durable bool, log *slog.Logger) (*index, error) {
	x := &index{dir: dir, durable: durable, log: log}
	if err := x.lock(true); err != nil {
		return nil, err
	}
	err := x.open()
	if err != nil && !errors.Is(err, ErrStoreNewer) && !errors.Is(err, os.ErrPermission) && !full(err) {
		err = x.setAside(err)
	}
	if err != nil {
		x.unlock()
		return nil, err
	}
	return x, nil
}

// Files of a store, beside [labelFile].
const (
	bodiesDir  = "bodies"
	indexFile  = "index.db"
	holderFile = "holder"
)

// lock takes the store for this process, which it tells who else wants it. Patiently, it waits for a process that is ending.
// ErrStoreHeld says who has it.
func (x *index) lock(patiently bool) error {
	path := filepath.Join(x.dir, holderFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	var who string
	for began := time.Now(); ; time.Sleep(lockWait / 50) {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		who = holder(f)
		limit := lockWait
		if strings.HasSuffix(who, ending) {
			limit = lockEnds
		}
		if !patiently || time.Since(began) > limit {
			break
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%w (%s)", ErrStoreHeld, who)
	} else if err == nil {
		var at, is os.FileInfo
		if is, err = f.Stat(); err == nil {
			at, err = os.Stat(path)
		}
		if err == nil && !os.SameFile(at, is) {
			err = os.ErrNotExist // who held the store has removed it
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	x.holder = f
	x.sign("")
	return nil
}

// ending is what a process adds to its sign in a store that it will soon let go of.
const ending = "ending"

// sign writes down who holds the store. It is held all the same if that can't be written.
func (x *index) sign(adding string) {
	if _, err := x.holder.WriteAt(fmt.Appendf(nil, "process %-10d %-6s\n", os.Getpid(), adding), 0); err != nil {
		x.log.Debug("who holds the store can't be written down", "error", err)
	}
}

// holder reads who holds a store.
func holder(f io.ReaderAt) string {
	who, _ := io.ReadAll(io.NewSectionReader(f, 0, 100))
	return strings.Join(strings.Fields(string(who)), " ")
}

// closing tells who wants the store that it will soon be free.
func (x *index) closing() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.holder != nil {
		x.sign(ending)
	}
}

// unlock lets others have the store.
func (x *index) unlock() { x.holder.Close() }

// path of the database.
func (x *index) path() string { return filepath.Join(x.dir, indexFile) }

// aside is where a damaged database is kept.
func (x *index) aside() string { return x.path() + ".damaged" }

func (x *index) open() error {
	return guarded(x.openGuarded)
}

func (x *index) openGuarded() error {
	// The list of free pages is kept in the file: bbolt would rebuild it in a goroutine of its own, where a damaged page is
	// the end of the process.
	db, err := bbolt.Open(x.path(), 0o600, &bbolt.Options{
		Timeout: lockWait, FreelistType: bbolt.FreelistMapType, NoSync: !x.durable, NoGrowSync: !x.durable,
	})
	if err != nil {
		return fmt.Errorf("opening %s: %w", x.path(), err)
	}
	begun := false
	err = db.View(func(tx *bbolt.Tx) error {
		if info, err := os.Stat(x.path()); err == nil && info.Size() < tx.Size() { // reading beyond the end would be fatal
			return errDamaged("the file was cut")
		}
		v, err := get(tx.Bucket(accountBucket), formatKey)
		if begun = v != nil; begun && (len(v) != 1 || v[0] > indexFormat) {
			return ErrStoreNewer
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
		return errors.Join(err, db.Close())
	}
	x.db = db
	return nil
}

// setAside keeps a damaged index under another name and begins a new one.
func (x *index) setAside(why error) error {
	aside := x.aside()
	x.log.Warn("the index of the store is damaged: set aside and begun anew", "error", why, "aside", aside)
	if err := os.Rename(x.path(), aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return x.open()
}

// close ends the use of the store.
func (x *index) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.holder == nil {
		return nil
	}
	var err error
	if x.db != nil {
		err = errors.Join(guarded(x.db.Sync), guarded(x.db.Close))
	}
	x.db = nil
	x.unlock()
	x.holder = nil
	return err
}

// removeUnused removes the store of an account that never was reached, before close, unless it holds a body or an index
// that was set aside.
func (x *index) removeUnused() {
	if _, err := os.Lstat(x.aside()); err == nil || os.Remove(filepath.Join(x.dir, bodiesDir)) != nil {
		return
	}
	for _, name := range []string{labelFile, indexFile, holderFile} {
		os.Remove(filepath.Join(x.dir, name))
	}
	os.Remove(x.dir)
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

// do runs a transaction. A damaged index is set aside and the transaction forgotten: what it wanted to read is not known
// any more, and what it wanted to write is written whole next time. Other errors, as of a full disk, are logged only: the
// index is a convenience.
func (x *index) do(what string, transact func(*bbolt.DB) error) error {
	x.mu.RLock()
	db := x.db
	if db == nil {
		x.mu.RUnlock()
		return bolterrors.ErrDatabaseNotOpen
	}
	err := guarded(func() error { return transact(db) })
	x.mu.RUnlock()
	var damaged errDamaged
	if !errors.As(err, &damaged) {
		switch {
		case full(err):
			x.full.Do(func() { x.log.Warn("the disk is full: what is new is not kept", "what", what, "error", err) })
		case err != nil:
			x.log.Warn("the index of the store was not written", "what", what, "error", err)
		}
		return err
	}
	if x.replace(db, err) {
		if list := x.list.Load(); list != nil { // tables are saved whole after the next synchronisation
			x.saveMailboxes(*list)
		}
	}
	return err
}

// replace begins a new index in place of a damaged one, unless somebody else has noticed, too. It tells whether it did.
func (x *index) replace(db *bbolt.DB, why error) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.db != db {
		return false
	}
	if err := guarded(db.Close); err != nil {
		x.log.Debug("closing the damaged index", "error", err)
	}
	x.db = nil
	x.whole.Clear()
	if err := x.setAside(why); err != nil {
		x.log.Error("no new index could be made: nothing is kept", "error", err)
		return false
	}
	return true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

func put(b *bbolt.Bucket, key, value []byte) error {
	return b.Put(key, binary.LittleEndian.AppendUint32(value[:len(value):len(value)], checksum(key, value)))
}

func unseal(key, sealed []byte) ([]byte, error) {
	n := len(sealed) - 4
	if n < 0 || binary.LittleEndian.Uint32(sealed[n:]) != checksum(key, sealed[:n]) {
		return nil, errDamaged(fmt.Sprintf("checksum of %q", key))
	}
	return sealed[:n], nil
}

// get returns a value, nil if there is none.
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

// mailboxes returns the mailboxes as they were when they were last listed; none, where they never were.
func (x *index) mailboxes() (list []remote.Mailbox) {
	x.do("reading the mailboxes", func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			v, err := get(tx.Bucket(accountBucket), mailboxesKey)
			if err != nil || v == nil {
				return err
			}
			return json.Unmarshal(v, &list)
		})
	})
	if list != nil {
		x.list.Store(&list)
	}
	return list
}

// saveMailboxes keeps the list of mailboxes and forgets the tables of those that are not in it.
func (x *index) saveMailboxes(list []remote.Mailbox) {
	x.list.Store(&list)
	x.do("writing the mailboxes", func(db *bbolt.DB) error {
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
				x.whole.Delete(strings.TrimPrefix(string(name), "mailbox:"))
				if err := tx.DeleteBucket(name); err != nil {
					return err
				}
			}
			return put(tx.Bucket(accountBucket), mailboxesKey, v)
		})
	})
}

// load returns the table of a mailbox as it was last saved, and the version it is of; nil, if it never was.
func (x *index) load(mailbox string) (t *Table, version remote.Version) {
	err := x.do("reading "+mailbox, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			b := tx.Bucket(mailboxBucket(mailbox))
			if b == nil {
				return nil
			}
			v, err := get(b, stateKey)
			if err != nil || v == nil {
				return err
			}
			var s state
			if err := json.Unmarshal(v, &s); err != nil {
				return errDamaged(err.Error())
			}
			loader := table.NewLoader(s.Version.UIDValidity, s.Head)
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
			t, version = loader.Table(), s.Version
			return nil
		})
	})
	if err != nil {
		return nil, remote.Version{}
	}
	if t != nil {
		x.whole.Store(mailbox, true)
	}
	return t, version
}

// save keeps a table. dirty are the UIDs that changed since the table that was saved before: added, vanished, or with
// other flags or another size; all says that everything did.
func (x *index) save(mailbox string, t *Table, version remote.Version, dirty []remote.UID, gone []remote.UID, all bool) {
	all = all || !x.holds(mailbox)
	err := x.do("writing "+mailbox, func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error {
			name := mailboxBucket(mailbox)
			b, err := tx.CreateBucketIfNotExists(name)
			if err != nil {
				return err
			}
			all := all || b.Get(stateKey) == nil
			if all {
				if b.Bucket(rowsBucket) != nil {
					if err := b.DeleteBucket(rowsBucket); err != nil {
						return err
					}
				}
			}
			if err := putRows(b, t, dirty, all); err != nil {
				return err
			}
			for _, uid := range gone {
				if err := dropViews(b, uidKey(t.UIDValidity(), uid)); err != nil {
					return err
				}
			}
			if headers := b.Bucket(headersBucket); headers != nil {
				keys := make([][]byte, 0, len(gone))
				for _, uid := range gone {
					keys = append(keys, uidKey(t.UIDValidity(), uid))
				}
				if all {
					keys = append(keys, keysOfOthers(headers, t.UIDValidity())...)
				}
				for _, key := range keys {
					if err := headers.Delete(key); err != nil {
						return err
					}
				}
			}
			v, err := json.Marshal(state{version, t.Head()})
			if err != nil {
				return err
			}
			return put(b, stateKey, v)
		})
	})
	if err == nil {
		x.whole.Store(mailbox, true)
	} else { // no later change brings what was not written now
		x.whole.Delete(mailbox)
	}
}

// holds tells whether all of a mailbox's table is in the index, as far as this process knows.
func (x *index) holds(mailbox string) bool {
	_, whole := x.whole.Load(mailbox)
	return whole
}

// saveRows writes again what it says of some messages of a table that is saved.
func (x *index) saveRows(mailbox string, t *Table, dirty []remote.UID) {
	if !x.holds(mailbox) {
		return
	}
	err := x.do("writing "+mailbox, func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error {
			if b := tx.Bucket(mailboxBucket(mailbox)); b != nil {
				return putRows(b, t, dirty, false)
			}
			return nil
		})
	})
	if err != nil {
		x.whole.Delete(mailbox)
	}
}

// putRows writes the segments that some messages are in, or with all those of the whole table.
func putRows(mailbox *bbolt.Bucket, t *Table, dirty []remote.UID, all bool) error {
	rows, err := mailbox.CreateBucketIfNotExists(rowsBucket)
	if err != nil {
		return err
	}
	segments := map[uint64]bool{}
	for _, uid := range dirty {
		segments[table.SegmentOf(uid)] = true
	}
	if all {
		for _, s := range t.Segments() {
			segments[s] = true
		}
	}
	for s := range segments {
		key := binary.BigEndian.AppendUint64(nil, s)
		if v := t.Segment(s); v == nil {
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

// perHeader estimates, in bytes, what the fields of one message take in the index beside themselves.
const perHeader = 60

// keysOfOthers returns the keys in a bucket of messages that have another UIDVALIDITY.
func keysOfOthers(b *bbolt.Bucket, validity uint32) (keys [][]byte) {
	from, to := uidKey(validity, 0), uidKey(validity, math.MaxUint64)
	c := b.Cursor()
	for k, _ := c.First(); k != nil && bytes.Compare(k, from) < 0; k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for k, _ := c.Seek(to); k != nil; k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	return keys
}

// saveHeaders keeps the header fields of messages, as long as there is room on the disk for more than tables.
func (x *index) saveHeaders(mailbox string, validity uint32, headers map[remote.UID][]byte) {
	if len(headers) == 0 {
		return
	}
	size := int64(0)
	for _, h := range headers {
		size += int64(len(h)) + perHeader
	}
	x.do("writing headers of "+mailbox, func(db *bbolt.DB) error {
		if room, err := spareRoom(x.dir); err != nil || room < size {
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

// header returns the header fields of a message; nil if they are not known.
func (x *index) header(mailbox string, ref Ref) (header []byte) {
	x.do("reading a header of "+mailbox, func(db *bbolt.DB) error {
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
