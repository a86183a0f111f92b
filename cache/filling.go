package cache

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
)

// filling is a file that a large message is written to piece by piece. A nil filling takes nothing.
type filling struct {
	disk *disk
	key  diskKey
	size int64 // of the message

	mu     sync.Mutex // guards what follows
	file   *os.File   // nil before the first piece has come, and when it is over
	over   bool       // it was given up or finished
	filled map[uint32]bool
	// reserved: there is room for all of it. Who reads no more than the first piece costs the others nothing.
	reserved bool
}

// fill prepares for a message in pieces; nil if it can't be kept.
func (d *disk) fill(k diskKey, size int64) *filling {
	if size+trailerLength > d.budget && !k.account.pinned {
		return nil
	}
	return &filling{disk: d, key: k, size: size, filled: map[uint32]bool{}}
}

// put takes a piece and tells whether it was the last one that was missing. A piece that does not have the length that it
// must have for the size is the end of it.
func (f *filling) put(number uint32, piece []byte) (whole bool) {
	if f == nil {
		return false
	}
	<-f.key.account.scanned // which removes what looks like the file; not waited for with mu held, for abandon
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over || f.filled[number] {
		return false
	}
	off := int64(number-1) * pieceSize
	if int64(len(piece)) != min(pieceSize, f.size-off) {
		f.drop()
		return false
	}
	if (number > 1 || len(f.filled) > 0) && !f.reserved {
		if f.reserved = f.disk.reserve(f.key, f.size+trailerLength, false); !f.reserved {
			f.drop()
			return false
		}
	}
	err := f.begin()
	if err == nil {
		_, err = f.file.WriteAt(piece, off)
	}
	if err != nil {
		f.disk.failed(err)
		f.drop()
		return false
	}
	f.filled[number] = true
	return int64(len(f.filled)) == (f.size+pieceSize-1)/pieceSize
}

// begin makes the file, if there is none yet. f.mu is held, and the store was scanned.
func (f *filling) begin() (err error) {
	if f.file != nil {
		return nil
	}
	if err := f.key.account.leaveSpare(f.size); err != nil {
		return err
	}
	f.file, err = os.CreateTemp(f.key.account.path, "new-")
	return err
}

// abandon gives the file up.
func (f *filling) abandon() {
	if f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.drop()
	}
}

// drop removes the file. f.mu is held.
func (f *filling) drop() {
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
		f.disk.unreserve(f.key, f.size+trailerLength)
	}
}

// finish makes a file that is filled one of the messages on disk.
func (d *disk) finish(k diskKey, f *filling) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return
	}
	d.mu.Lock()
	if d.pending[k] != nil {
		d.mu.Unlock()
		f.drop()
		return
	}
	settled := make(chan struct{})
	d.pending[k] = settled
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.pending, k)
		d.mu.Unlock()
		close(settled)
	}()
	d.failed(func() error {
		sum := crc32.New(castagnoli)
		if n, err := io.Copy(sum, io.NewSectionReader(f.file, 0, f.size)); err != nil || n != f.size {
			return errors.Join(err, fmt.Errorf("%s: %d bytes were written of %d", f.file.Name(), n, f.size))
		}
		if _, err := f.file.WriteAt(k.trailer(f.size, sum.Sum32()), f.size); err != nil {
			return err
		}
		if err := k.replace(func(aside string) error { return os.Rename(f.file.Name(), aside) }); err != nil {
			return err
		}
		d.admit(k, f.size+trailerLength)
		return nil
	}())
	f.drop()
}
