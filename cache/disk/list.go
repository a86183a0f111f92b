package disk

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Info tells about a store.
type Info struct {
	Dir      string    `json:"dir"`
	Account  string    `json:"account"` // Options.Label
	Messages int       `json:"messages"`
	Bytes    int64     `json:"bytes"` // of bodies and index
	Used     time.Time `json:"used"`  // when the index was last written
	Holder   string    `json:"holder,omitempty"`
}

// List returns the stores below a directory; none if there is no such directory.
func List(dir string) ([]Info, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var stores []Info
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		label, err := os.ReadFile(filepath.Join(path, labelFile))
		if err != nil {
			continue // not a store
		}
		s := Info{Dir: path, Account: strings.TrimSpace(string(label))}
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

// Clear removes a store. ErrHeld: a process uses it, and it stays.
func Clear(dir string) error {
	s := &Store{dir: dir, log: slog.New(slog.DiscardHandler)}
	if err := s.lock(); err != nil {
		return err
	}
	defer s.holder.Close()
	return os.RemoveAll(dir)
}
