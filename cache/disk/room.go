package disk

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// spare is the part of the disk that is left to others, in per cent, and pause how long to wait after it was touched.
const (
	spare = 5
	pause = 10 * time.Second
)

var errSpare = errors.New("the disk is nearly full")

// CannotWrite tells whether an error means that nothing can be written to the disk, whatever it is.
func CannotWrite(err error) bool {
	for _, e := range []error{errSpare, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// reserve makes room for a file of a size in bytes; with listed the file counts as one of the files from now on. It returns
// false if the file is there already or is just being removed, or while the disk is full.
func (b *Bodies) reserve(k Key, size int64, listed bool) bool {
	if k.store.pinned {
		_, err := os.Lstat(k.path())
		return err != nil
	}
	b.making.Lock()
	defer b.making.Unlock()
	b.mu.Lock()
	defer b.unlockAndSweep()
	if size > b.budget || b.lru.Contains(k) || b.leaving[k] > 0 || time.Now().Before(b.paused) {
		return false
	}
	for b.used+size > b.budget && b.lru.Len() > 0 {
		b.lru.RemoveOldest()
	}
	if b.used+size > b.budget { // other files have the rest reserved
		return false
	}
	b.used += size
	if listed {
		b.lru.Add(k, size)
	}
	return true
}

// unreserve gives back the room, in bytes, that was reserved for a file with listed false.
func (b *Bodies) unreserve(k Key, size int64) {
	if !k.store.pinned {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.used -= size
	}
}

// admit has a file of a size in bytes be one of the files. The room that was reserved for it is still to be given back.
func (b *Bodies) admit(k Key, size int64) {
	if k.store.pinned {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.lru.Contains(k) {
		b.used += size
		b.lru.Add(k, size)
	}
}

// written notes how the writing of a file has ended for which room was reserved with listed true.
func (b *Bodies) written(k Key, err error) {
	b.failed(err)
	if k.store.pinned {
		return
	}
	b.mu.Lock()
	defer b.unlockAndSweep()
	if err != nil {
		b.lru.Remove(k)
		b.paused = time.Now().Add(pause)
	} else if !b.lru.Contains(k) { // it had to go before it was there
		b.dropLocked(k)
	}
}

// failed logs once that bodies can't be written.
func (b *Bodies) failed(err error) {
	if err != nil {
		b.warn.Do(func() { b.log.Warn("a message could not be kept on disk; reading goes on without", "error", err) })
	}
}

// leaveSpare returns an error if n more bytes would take what is to be left to others. It asks the system once a second at
// most, unless the room is used up before.
func (s *Store) leaveSpare(n int64) error {
	const block = 4096 // bytes that most filesystems give to a file at least
	n = (n/block + 1) * block
	s.roomMu.Lock()
	defer s.roomMu.Unlock()
	if s.room -= n; s.room > 0 && time.Since(s.asked) < time.Second {
		return nil
	}
	room, err := spareRoom(s.bodies)
	if err != nil {
		return err
	}
	s.asked, s.room = time.Now(), (room-n)/2
	if room < n {
		return fmt.Errorf("%w: %d bytes may be written, and %d are to be", errSpare, max(room, 0), n)
	}
	return nil
}

// spareRoom returns how many bytes can be written to the disk that a file is on before what is left to others is touched.
func spareRoom(path string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, fmt.Errorf("asking for the room on the disk: %w", err)
	}
	return (int64(s.Bavail) - int64(s.Blocks)/100*spare) * int64(s.Bsize), nil
}
