//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// letter returns the message with a number. Nearly all have a few kilobytes, each tenth 200, each fiftieth 3 MB.
func letter(number int) []byte {
	size := 500 + number*37%5000
	switch {
	case number%50 == 0:
		size = 3_000_000 + number
	case number%10 == 0:
		size = 200_000 + number
	}
	b := fmt.Appendf(nil, "From: Soak <soak@example.com>\r\nSubject: soak-%d\r\nDate: Mon, 5 Jan 2026 09:30:00 +0000\r\n"+
		"Message-ID: <%d@example.com>\r\n\r\n", number, number)
	for line := 0; len(b) < size; line++ {
		b = fmt.Appendf(b, ".line %d of letter %d: %x\r\n", line, number, (line+1)*(number+1)*2654435761)
	}
	return b
}

var numberInName = regexp.MustCompile(`^2026-[0-9-]{5}_soak@example\.com_soak-(\d+)_[^_]+\.eml$`)

// numberOf returns the number of the letter whose file has a name. A name that no letter has is a fault.
func (w *world) numberOf(name string) (int, bool) {
	m := numberInName.FindStringSubmatch(name)
	if m == nil {
		w.wrong("the name %q is that of no letter", name)
		return 0, false
	}
	n, _ := strconv.Atoi(m[1])
	return n, true
}

// call runs one call of the kernel, and notes how long it took and how it failed.
func (w *world) call(what string, f func() error) error {
	start := time.Now()
	err := f()
	w.took(what, time.Since(start))
	var errno syscall.Errno
	if errors.As(err, &errno) {
		w.count(what + ": " + errno.Error())
	}
	return err
}

// list returns the names of the letters in a mailbox.
func (w *world) list(mailbox string) (names []string, err error) {
	var f *os.File
	if err := w.call("opendir", func() (err error) {
		f, err = os.Open(filepath.Join(w.mount.Path, mailbox))
		return err
	}); err != nil {
		return nil, err
	}
	defer f.Close()
	for {
		var some []string
		err := w.call("readdir", func() (err error) { some, err = f.Readdirnames(100); return err })
		names = append(names, some...)
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// choose opens a letter.
func (w *world) choose(random *rand.Rand) (f *os.File, number int) {
	mailbox := "INBOX"
	if w.server != "pop3" && random.IntN(3) == 0 {
		mailbox = box
	}
	names, err := w.list(mailbox)
	if err != nil || len(names) == 0 {
		time.Sleep(50 * time.Millisecond)
		return nil, 0
	}
	return w.open(filepath.Join(mailbox, names[random.IntN(len(names))]))
}

// open opens the letter at a path below the mount, after it has looked at its attributes; nil if that fails.
func (w *world) open(path string) (*os.File, int) {
	number, ok := w.numberOf(filepath.Base(path))
	if !ok {
		return nil, 0
	}
	var info os.FileInfo
	full := filepath.Join(w.mount.Path, path)
	if w.call("stat", func() (err error) { info, err = os.Lstat(full); return err }) != nil {
		return nil, 0
	}
	if want := int64(len(letter(number))); info.Size() != want {
		w.wrong("%s: st_size %d, want %d", path, info.Size(), want)
	}
	w.inode(path, info.Sys().(*syscall.Stat_t).Ino)
	var f *os.File
	w.call("open", func() (err error) { f, err = os.Open(full); return err })
	return f, number
}

// inode checks that the inode number of a path stays what it was.
func (w *world) inode(path string, ino uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if old, ok := w.inodes[path]; ok && old != ino {
		w.wrong("%s: the inode number was %d and is %d", path, old, ino)
	}
	w.inodes[path] = ino
}

// readAll reads an open letter from its beginning to its end and compares.
func (w *world) readAll(f *os.File, number int) {
	var all []byte
	buf := make([]byte, 128<<10)
	for {
		var n int
		err := w.call("read", func() (err error) { n, err = f.Read(buf); return err })
		all = append(all, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return
		}
	}
	w.compare(filepath.Base(f.Name()), all, letter(number))
}

func (w *world) compare(name string, got, want []byte) {
	w.read(int64(len(got)))
	if !bytes.Equal(got, want) {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		w.wrong("%s: %d bytes, want %d; they differ from byte %d on", name, len(got), len(want), i)
	}
}

// readOne reads a letter.
func (w *world) readOne(random *rand.Rand) {
	if f, number := w.choose(random); f != nil {
		defer f.Close()
		w.readAll(f, number)
	}
}

// readPart reads some bytes of a letter.
func (w *world) readPart(random *rand.Rand) {
	f, number := w.choose(random)
	if f == nil {
		return
	}
	defer f.Close()
	want := letter(number)
	offset := random.IntN(len(want))
	buf := make([]byte, 1+random.IntN(100_000))
	var n int
	err := w.call("pread", func() (err error) { n, err = f.ReadAt(buf, int64(offset)); return err })
	if err == nil || errors.Is(err, io.EOF) {
		w.compare(filepath.Base(f.Name()), buf[:n], want[offset:min(len(want), offset+len(buf))])
	}
}

// holdOpen opens a letter, waits, and reads it then.
func (w *world) holdOpen(random *rand.Rand) {
	f, number := w.choose(random)
	if f == nil {
		return
	}
	defer f.Close()
	time.Sleep(time.Duration(random.IntN(5000)) * time.Millisecond)
	w.readAll(f, number)
}

// walk reads all letters of all mailboxes.
func (w *world) walk(*rand.Rand) {
	for _, mailbox := range w.mailboxes() {
		names, _ := w.list(mailbox)
		for _, name := range names {
			if f, number := w.open(filepath.Join(mailbox, name)); f != nil {
				w.readAll(f, number)
				f.Close()
			}
		}
	}
}

func (w *world) mailboxes() []string {
	if w.server == "pop3" {
		return []string{"INBOX"}
	}
	return []string{"INBOX", box}
}

// copyAll copies INBOX with cp. A file that cp complains of may be cut short.
func (w *world) copyAll(*rand.Rand) {
	to, err := os.MkdirTemp("", "soak")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(to)
	cmd := exec.Command("cp", "-r", filepath.Join(w.mount.Path, "INBOX"), to)
	complaints, _ := cmd.CombinedOutput()
	entries, _ := os.ReadDir(filepath.Join(to, "INBOX"))
	for _, e := range entries {
		if strings.Contains(string(complaints), e.Name()) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(to, "INBOX", e.Name()))
		if number, ok := w.numberOf(e.Name()); ok && err == nil {
			w.compare("cp of "+e.Name(), b, letter(number))
		}
	}
	w.count("cp -r")
	time.Sleep(time.Second)
}

// settled waits until the mount shows what the server holds, and returns what it shows too much, or not, if it never does.
func (w *world) settled(limit time.Duration) (ghosts, missing int) {
	for deadline := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) {
		ghosts, missing = 0, 0
		for _, mailbox := range w.mailboxes() {
			shown := map[int]bool{}
			names, err := w.list(mailbox)
			if err != nil {
				missing++
			}
			for _, name := range names {
				if number, ok := w.numberOf(name); ok {
					shown[number] = true
				}
			}
			w.mu.Lock()
			for number := range shown {
				if w.held[mailbox][number] == 0 {
					ghosts++
				}
			}
			for number := range w.held[mailbox] {
				if !shown[number] {
					missing++
				}
			}
			w.mu.Unlock()
		}
		if ghosts+missing == 0 || time.Now().After(deadline) {
			return ghosts, missing
		}
	}
}
