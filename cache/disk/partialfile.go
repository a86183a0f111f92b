package disk

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
)

// PartialFile is a file that a large message is written to piece by piece. A nil PartialFile takes nothing.
type PartialFile struct {
	bodies    *Bodies
	key       Key
	size      int64 // bytes of the message
	pieceSize int64 // bytes of every piece but the last

	mu     sync.Mutex      // guards what follows
	file   *os.File        // nil before the first piece has come, and when over
	over   bool            // the file was given up or finished
	filled map[uint32]bool // numbers of the pieces that were written
	// reserved tells that there is room for the whole file. For a first piece alone no room is made.
	reserved bool
}

// NewPartialFile prepares for a message of a size that comes in pieces, both in bytes; nil if the message can't be kept.
func (b *Bodies) NewPartialFile(k Key, size, pieceSize int64) *PartialFile {
	if size+trailerLength > b.budget && !k.store.pinned {
		return nil
	}
	return &PartialFile{bodies: b, key: k, size: size, pieceSize: pieceSize, filled: map[uint32]bool{}}
}

// Put takes a piece, of which the first has the number 1, and tells whether it was the last one that was missing. It waits
// until the store was scanned. A piece of another length than the size demands ends the file.
func (f *PartialFile) Put(number uint32, piece []byte) (complete bool) {
	if f == nil {
		return false
	}
	<-f.key.store.scanned // the scan removes what looks like the file; mu is not held, for Abandon not to wait as well
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over || f.filled[number] {
		return false
	}
	off := int64(number-1) * f.pieceSize
	if int64(len(piece)) != min(f.pieceSize, f.size-off) {
		f.dropLocked()
		return false
	}
	if (number > 1 || len(f.filled) > 0) && !f.reserved {
		if f.reserved = f.bodies.reserve(f.key, f.size+trailerLength, false); !f.reserved {
			f.dropLocked()
			return false
		}
	}
	err := f.createLocked()
	if err == nil {
		_, err = f.file.WriteAt(piece, off)
	}
	if err != nil {
		f.bodies.failed(err)
		f.dropLocked()
		return false
	}
	f.filled[number] = true
	return int64(len(f.filled)) == (f.size+f.pieceSize-1)/f.pieceSize
}

// createLocked makes the file, if there is none yet. The store was scanned.
func (f *PartialFile) createLocked() (err error) {
	if f.file != nil {
		return nil
	}
	if err := f.key.store.leaveSpare(f.size); err != nil {
		return err
	}
	f.file, err = os.CreateTemp(f.key.store.bodies, partialNames)
	return err
}

// Abandon gives the file up. It waits while a piece is being written.
func (f *PartialFile) Abandon() {
	if f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.dropLocked()
	}
}

// dropLocked removes the file.
func (f *PartialFile) dropLocked() {
	if f.over {
		return
	}
	f.over = true
	if f.file != nil {
		os.Remove(f.file.Name())
		f.file.Close()
		f.file = nil
	}
	if f.reserved {
		f.bodies.unreserve(f.key, f.size+trailerLength)
	}
}

// Finish makes a complete file one of the bodies.
func (f *PartialFile) Finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return
	}
	b := f.bodies
	b.mu.Lock()
	if b.pending[f.key] != nil {
		b.mu.Unlock()
		f.dropLocked()
		return
	}
	written := make(chan struct{})
	b.pending[f.key] = written
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.pending, f.key)
		b.mu.Unlock()
		close(written)
	}()
	b.failed(f.finishLocked())
	f.dropLocked()
}

func (f *PartialFile) finishLocked() error {
	sum := crc32.New(castagnoli)
	if n, err := io.Copy(sum, io.NewSectionReader(f.file, 0, f.size)); err != nil || n != f.size {
		return errors.Join(err, fmt.Errorf("%s: %d bytes were written of %d", f.file.Name(), n, f.size))
	}
	if _, err := f.file.WriteAt(f.key.trailer(f.size, sum.Sum32()), f.size); err != nil {
		return err
	}
	if err := f.key.replace(func(tempName string) error { return os.Rename(f.file.Name(), tempName) }); err != nil {
		return err
	}
	f.bodies.admit(f.key, f.size+trailerLength)
	return nil
}
