//go:build linux

package harness

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// File is a message in a mount, with the attributes that it has before it is read.
type File struct {
	Dir   string // relative to the mount; "" is the mount
	Name  string
	Size  int64
	Time  time.Time
	Inode uint64
}

// Path is the path relative to the mount.
func (f File) Path() string { return filepath.Join(f.Dir, f.Name) }

// Key is the part of the name that identifies the message: the UID, or the UIDL made fit for a name.
func (f File) Key() string {
	return strings.TrimSuffix(f.Name[strings.LastIndexByte(f.Name, '_')+1:], ".eml")
}

// Listing is every directory of a mount, by its path in the mount, and the messages in each, in the order of names.
type Listing map[string][]File

// List lists a mount without reading a message.
func (m *Mount) List(t testing.TB) Listing {
	t.Helper()
	list := make(Listing)
	err := filepath.WalkDir(m.Path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(m.Path, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel == "." {
				rel = ""
			}
			list[rel] = nil
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is %v, neither directory nor file", rel, info.Mode())
		}
		dir := filepath.Dir(rel)
		if dir == "." {
			dir = ""
		}
		list[dir] = append(list[dir], File{dir, d.Name(), info.Size(), info.ModTime(), info.Sys().(*syscall.Stat_t).Ino})
		return nil
	})
	if err != nil {
		t.Fatalf("listing the mount: %v", err)
	}
	return list
}

// Files returns all messages of the listing.
func (l Listing) Files() []File {
	var all []File
	for _, dir := range slices.Sorted(maps.Keys(l)) {
		all = append(all, l[dir]...)
	}
	return all
}

// Find returns the message with a UID in a directory.
func (l Listing) Find(t testing.TB, dir string, uid imap.UID) File {
	t.Helper()
	for _, f := range l[dir] {
		if f.Key() == strconv.FormatUint(uint64(uid), 10) {
			return f
		}
	}
	t.Fatalf("%q has no message with UID %d; it has %v", dir, uid, l[dir])
	return File{}
}

// Read returns all bytes of a message.
func (m *Mount) Read(t testing.TB, f File) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(m.Path, f.Path()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Compare compares the mount with the messages of each mailbox on the server: every mailbox is a directory, every message
// one file in it, with the UID in its name, INTERNALDATE as its time, the size that it has, and the bytes of the server.
// dirs has the directory of a mailbox where that is not the name of the mailbox.
func (m *Mount) Compare(t testing.TB, held map[string][]Mail, dirs map[string]string) Listing {
	t.Helper()
	list := m.List(t)
	known := map[string]bool{"": true}
	for mailbox, mails := range held {
		dir, ok := dirs[mailbox]
		if !ok {
			dir = mailbox
		}
		for d := dir; d != "." && d != ""; d = filepath.Dir(d) {
			known[d] = true
		}
		files, ok := list[dir]
		if !ok {
			t.Errorf("mailbox %q has no directory", mailbox)
			continue
		}
		if len(files) != len(mails) {
			t.Errorf("%q holds %d messages, its directory %d", mailbox, len(mails), len(files))
		}
		for _, mail := range mails {
			f := list.Find(t, dir, mail.UID)
			CheckName(t, f.Name)
			if f.Size != int64(len(mail.Body)) {
				t.Errorf("%s: st_size %d before it was read, the server has %d bytes", f.Path(), f.Size, len(mail.Body))
			}
			if !f.Time.Equal(mail.Date) {
				t.Errorf("%s: mtime %v, INTERNALDATE %v", f.Path(), f.Time.UTC(), mail.Date.UTC())
			}
			if got := m.Read(t, f); !bytes.Equal(got, mail.Body) {
				t.Errorf("%s: %d bytes that differ from the server's %d%s", f.Path(), len(got), len(mail.Body),
					difference(got, mail.Body))
			}
		}
	}
	for dir := range list {
		if !known[dir] {
			t.Errorf("directory %q is no mailbox", dir)
		}
	}
	return list
}

// difference shows the first bytes in which two messages differ.
func difference(got, want []byte) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	clip := func(b []byte) []byte { return b[max(0, i-20):min(len(b), i+40)] }
	if i >= max(len(got), len(want)) {
		return ""
	}
	return fmt.Sprintf(" from byte %d: got %q, want %q", i, clip(got), clip(want))
}

// CheckName checks the name of a message: its four parts, valid UTF-8, at most 140 bytes, and no character that a shell or
// an editor stumbles over.
func CheckName(t testing.TB, name string) {
	t.Helper()
	if len(name) > 140 {
		t.Errorf("the name %q has %d bytes, more than 140", name, len(name))
	}
	if !utf8.ValidString(name) {
		t.Errorf("the name %q is not UTF-8", name)
	}
	parts := strings.Split(name, "_")
	if len(parts) != 4 || !strings.HasSuffix(name, ".eml") {
		t.Errorf("the name %q is not DATE_FROM_SUBJECT_UID.eml", name)
		return
	}
	if _, err := time.Parse(time.DateOnly, parts[0]); err != nil {
		t.Errorf("the name %q does not begin with a date", name)
	}
	for _, part := range parts[1:] {
		if part == "" {
			t.Errorf("the name %q has an empty part", name)
		}
	}
	for _, c := range name {
		if !isNameRune(c) {
			t.Errorf("the name %q holds %U", name, c)
		}
	}
}

// Copy writes a copy of the mount into a plain directory: the same names and times, and the bytes that body returns. Tools
// must see no difference between the copy and the mount.
func (l Listing) Copy(t testing.TB, to string, body func(File) []byte) {
	t.Helper()
	for dir := range l {
		if err := os.MkdirAll(filepath.Join(to, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range l.Files() {
		p := filepath.Join(to, f.Path())
		if err := os.WriteFile(p, body(f), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, f.Time, f.Time); err != nil {
			t.Fatal(err)
		}
	}
}

// Fingerprint is the SHA-256 of bytes, in hexadecimal.
func Fingerprint(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func isNameRune(c rune) bool {
	return strings.ContainsRune(".,+=@~-_", c) || unicode.In(c, unicode.Letter, unicode.Mark, unicode.Number)
}
