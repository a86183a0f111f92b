package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// How long to wait for another process to let go of a store. lockWait is for a process to notice that its mount is gone,
// lockEnds for one that has said that it is ending to write all that it has.
const (
	lockWait = 500 * time.Millisecond
	lockEnds = 20 * time.Second
)

// lock takes the store for this process, and says so in it. It waits a while for another process, and longer for one that is
// ending. ErrHeld says which process has the store.
func (s *Store) lock() error {
	path := filepath.Join(s.dir, holderFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	var holder string
	for began := time.Now(); ; time.Sleep(lockWait / 50) {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		holder = readHolder(f)
		limit := lockWait
		if strings.HasSuffix(holder, ending) {
			limit = lockEnds
		}
		if time.Since(began) > limit {
			break
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%w (%s)", ErrHeld, holder)
	} else if err == nil {
		var at, is os.FileInfo
		if is, err = f.Stat(); err == nil {
			at, err = os.Stat(path)
		}
		if err == nil && !os.SameFile(at, is) {
			err = os.ErrNotExist // the process that held the store has removed it
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.holder = f
	s.sign(f, "")
	return nil
}

// ending is the remark of a process that will soon let go of the store.
const ending = "ending"

// sign writes into the holder file which process holds the store, with a remark. If that fails, the store is held all the same.
func (s *Store) sign(holder *os.File, remark string) {
	if _, err := holder.WriteAt(fmt.Appendf(nil, "process %-10d %-6s\n", os.Getpid(), remark), 0); err != nil {
		s.log.Debug("the holder of the store can't be written down", "error", err)
	}
}

// Ending tells processes that want the store that it will soon be free. To be called before Close.
func (s *Store) Ending() {
	s.mu.Lock()
	holder := s.holder
	s.mu.Unlock()
	if holder != nil {
		s.sign(holder, ending)
	}
}

// readHolder reads which process holds a store.
func readHolder(f io.ReaderAt) string {
	holder, _ := io.ReadAll(io.NewSectionReader(f, 0, 100))
	return strings.Join(strings.Fields(string(holder)), " ")
}

// holderOf returns which process uses a store; "" if none does.
func holderOf(dir string) string {
	f, err := os.Open(filepath.Join(dir, holderFile))
	if err != nil {
		return ""
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err == nil {
		return ""
	}
	return readHolder(f)
}
