package cache

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// StoreInfo tells about the store of one account.
type StoreInfo struct {
	Dir      string    `json:"dir"`
	Account  string    `json:"account"` // as given to AccountOptions.Label
	Messages int       `json:"messages"`
	Bytes    int64     `json:"bytes"` // of bodies and index
	Used     time.Time `json:"used"`  // when the index was last written
	Holder   string    `json:"holder,omitempty"`
}

// labelFile holds AccountOptions.Label.
const labelFile = "account"

// Stores returns the stores below a directory.
func Stores(dir string) ([]StoreInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var stores []StoreInfo
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		label, err := os.ReadFile(filepath.Join(path, labelFile))
		if err != nil {
			continue // not a store
		}
		s := StoreInfo{Dir: path, Account: strings.TrimSpace(string(label))}
		err = filepath.WalkDir(path, func(file string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return nil // it has just gone
			}
			s.Bytes += info.Size()
			switch {
			case strings.HasPrefix(file, filepath.Join(path, bodiesDir)):
				s.Messages++
			case filepath.Base(file) == indexFile:
				s.Used = info.ModTime()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		s.Holder = holderOf(path)
		stores = append(stores, s)
	}
	return stores, nil
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
	return holder(f)
}

// ClearStore removes a store. ErrStoreHeld: a process uses it, and it stays.
func ClearStore(dir string) error {
	x := &index{dir: dir, log: slog.New(slog.DiscardHandler)}
	if err := x.lock(true); err != nil {
		return err
	}
	defer x.unlock()
	return os.RemoveAll(dir)
}
