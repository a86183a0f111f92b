package disk

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"log/slog"
	"math"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/semaphore"

	"github.com/mailfs/mailfs/cache/table"
)

// Bodies keeps bodies, of messages and of what is made of them, as files: least recently used first out, within a budget that
// all stores share.
//
// Each body is one file that is written under another name and renamed, and never changed:
//
//	STORE/bodies/MAILBOX-HASH/UIDVALIDITY/UID
//
// It ends in a trailer that says which message it is, how long, and its checksum. A file that does not agree with its
// trailer is not served but removed. Nothing else has to be written for a body to be found again.
type Bodies struct {
	budget int64 // bytes
	log    *slog.Logger
	warn   sync.Once // logs once that bodies can't be written

	queue   chan job
	queued  *semaphore.Weighted // bytes in queue
	writer  sync.WaitGroup
	closing sync.Once

	making sync.Mutex // held while files are removed to make room: no other file gets the room before they are gone

	mu      sync.Mutex                 // guards what follows
	used    int64                      // bytes of the files in lru, and of those that room is reserved for
	lru     *simplelru.LRU[Key, int64] // file -> its size
	dropped []Key                      // files that left lru and are to be removed
	leaving map[Key]int                // files that are being removed, and how often
	pending map[Key]chan struct{}      // files that are to be written; closed when they are, or can't be
	scans   int                        // number of scans that go on
	gone    map[Key]bool               // files that were dropped while a scan went on; nil while none does
	paused  time.Time                  // until then nothing is written, since the disk is full; zero if it never was
}

// Key names a body.
type Key struct {
	store   *Store
	mailbox Hash
	ref     table.Ref
}

// Hash stands for the name of a mailbox in paths.
type Hash [8]byte

// HashOf returns the hash of a name.
func HashOf(mailbox string) (h Hash) {
	sum := sha256.Sum256([]byte(mailbox))
	copy(h[:], sum[:])
	return h
}

// Key names the body of a message in the store.
func (s *Store) Key(mailbox Hash, ref table.Ref) Key {
	return Key{store: s, mailbox: mailbox, ref: ref}
}

func (k Key) dir() string {
	return k.store.bodies + "/" + hex.EncodeToString(k.mailbox[:]) + "/" + strconv.FormatUint(uint64(k.ref.UIDValidity), 10)
}

func (k Key) path() string { return k.dir() + "/" + k.file() }

// file is the file's name in its directory.
func (k Key) file() string { return strconv.FormatUint(uint64(k.ref.UID), 10) }

// NewBodies returns Bodies for a budget of bytes. They are to be closed.
func NewBodies(budget int64, log *slog.Logger) *Bodies {
	b := &Bodies{budget: budget, log: log, pending: map[Key]chan struct{}{}, leaving: map[Key]int{}}
	b.queue, b.queued = make(chan job, queueFiles), semaphore.NewWeighted(queueBytes)
	b.writer.Go(b.writeQueued)
	b.lru, _ = simplelru.NewLRU(math.MaxInt, func(k Key, size int64) {
		b.used -= size
		b.dropLocked(k)
	})
	return b
}

// Read returns a body; false if it is not there, or damaged.
func (b *Bodies) Read(k Key) ([]byte, bool) {
	content, err := os.ReadFile(k.path())
	if err != nil {
		return nil, false
	}
	n := len(content) - trailerLength
	if n < 0 || string(k.trailer(int64(n), crc32.Checksum(content[:n], castagnoli))) != string(content[n:]) {
		b.log.Warn("a damaged file in the store is removed", "file", k.path())
		b.Remove(k)
		return nil, false
	}
	now := time.Now()
	os.Chtimes(k.path(), now, now) // the order of use outlives the process
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lru.Get(k)
	return content[:n:n], true
}

// Has tells whether the file of a body is there, which may be damaged. Until the store is scanned, and for a pinned store, the
// filesystem is asked.
func (b *Bodies) Has(k Key) bool {
	b.mu.Lock()
	if b.lru.Contains(k) {
		b.mu.Unlock()
		return true
	}
	b.mu.Unlock()
	if !k.store.pinned {
		select {
		case <-k.store.scanned: // lru knows them all
			return false
		default:
		}
	}
	_, err := os.Lstat(k.path())
	return err == nil
}

// Room tells whether so many more bytes of bodies fit into the budget without another file having to go.
func (b *Bodies) Room(s *Store, bytes int64) bool {
	if s.pinned {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used+bytes <= b.budget
}

// Usage returns how many bodies are kept that count against the budget, and how many bytes they take.
func (b *Bodies) Usage() (bodies int, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lru.Len(), b.used
}

// Remove forgets a body.
func (b *Bodies) Remove(k Key) {
	b.mu.Lock()
	defer b.unlockAndSweep()
	if !b.lru.Remove(k) {
		b.dropLocked(k)
	}
}

// dropLocked has unlockAndSweep remove a file.
func (b *Bodies) dropLocked(k Key) {
	b.dropped = append(b.dropped, k)
	b.leaving[k]++
	if b.scans > 0 {
		b.gone[k] = true
	}
}

// unlockAndSweep unlocks mu, then removes the files that were dropped while it was locked. None of them is
// written again meanwhile, see reserve.
func (b *Bodies) unlockAndSweep() {
	dropped := b.dropped
	b.dropped = nil
	b.mu.Unlock()
	if len(dropped) == 0 {
		return
	}
	for _, k := range dropped {
		os.Remove(k.path())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range dropped {
		if b.leaving[k]--; b.leaving[k] == 0 {
			delete(b.leaving, k)
		}
	}
}
