package test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/mailfs/mailfs/test/harness"
)

// A file of the store that is not as it was written is not served. The message is fetched again.
func TestDamagedFileOfTheStoreIsFetchedAgain(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "damaged")
	c.Put("INBOX", harness.Letters(211, 20)...)
	held := c.All()
	store := filepath.Join(run.TempDir(t), "store")
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	args := []string{"--tls=off", "--cache-dir", store, inTheClear("damaged", proxy.Port)}
	m := run.Mount(t, args...)
	m.Compare(t, held, nil)
	m.Unmount(t)
	files := bodiesIn(t, store)
	if len(files) != len(held["INBOX"]) {
		t.Fatalf("%d files in the store, want %d", len(files), len(held["INBOX"]))
	}
	contents := make([][]byte, len(files))
	for i, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		contents[i] = b
	}
	flip := func(i, at int) []byte {
		b := bytes.Clone(contents[i])
		b[at] ^= 0x10
		return b
	}
	damaged := [][]byte{
		{}, contents[1][:1], contents[2][:len(contents[2])/2], contents[3][:len(contents[3])-1], flip(4, 0),
		flip(5, len(contents[5])/2), flip(6, len(contents[6])-1), flip(7, len(contents[7])-30), contents[9], contents[8],
		append(bytes.Clone(contents[10]), 'x'), bytes.Repeat([]byte{0}, len(contents[11])),
	}
	for i, b := range damaged {
		if err := os.WriteFile(files[i], b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	proxy.Forget()
	m.Again(t, withPassword(args...))
	m.Compare(t, held, nil)
	if n := len(complaints(t, m, "damaged")); n != len(damaged) {
		t.Errorf("the log speaks of %d damaged files, want %d", n, len(damaged))
	}
	if n := len(asked(proxy.Said())); n != len(damaged) {
		t.Errorf("%d messages were fetched, want the %d that were damaged", n, len(damaged))
	}
	m.Unmount(t)
	proxy.Close()
	m.Again(t, withPassword(args...))
	m.Compare(t, held, nil)
}

// An index that can't be read is set aside, and the mount begins without it.
func TestDamagedIndexIsSetAside(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "badindex")
	c.Put("INBOX", harness.Letters(212, 40)...)
	c.Make("Work")
	c.Put("Work", harness.Letters(213, 10)...)
	held := c.All()
	store := filepath.Join(run.TempDir(t), "store")
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	args := []string{"--tls=off", "--cache-dir", store, inTheClear("badindex", proxy.Port)}
	m := run.Mount(t, args...)
	m.Compare(t, held, nil)
	for _, damage := range []struct {
		name string
		do   func(b []byte) []byte
	}{
		{"empty but for a byte", func([]byte) []byte { return []byte{0} }},
		{"cut", func(b []byte) []byte { return b[:len(b)/2] }},
		{"another file", func([]byte) []byte { return bytes.Repeat([]byte("this is no index. "), 5000) }},
		{"its pages are zero", func(b []byte) []byte {
			clear(b[2*4096:])
			return b
		}},
		{"its pages are noise", func(b []byte) []byte {
			rnd := rand.New(rand.NewPCG(1, 2))
			for i := 2 * 4096; i < len(b); i++ {
				b[i] = byte(rnd.Uint32())
			}
			return b
		}},
		{"each page has a wrong byte at its end", func(b []byte) []byte {
			for i := 3*4096 - 1; i < len(b); i += 512 {
				b[i] ^= 0xff
			}
			return b
		}},
	} {
		t.Log(damage.name)
		m.Unmount(t)
		name := indexIn(t, store)
		os.Remove(name + ".damaged")
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, damage.do(b), 0o600); err != nil {
			t.Fatal(err)
		}
		before := len(complaints(t, m, "set aside"))
		m.Again(t, withPassword(args...))
		m.Compare(t, held, nil)
		if len(complaints(t, m, "set aside")) == before {
			t.Error("the log does not say that the index was set aside")
		}
		if _, err := os.Stat(name + ".damaged"); err != nil {
			t.Errorf("the damaged index is not there: %v", err)
		}
		m.Unmount(t)
		proxy.Close()
		m.Again(t, withPassword(args...)) // the new index has the listing
		m.Compare(t, held, nil)
		proxy.Open(t)
	}
}

// A store that a newer version has written is not changed, and nothing is mounted with it.
func TestStoreOfANewerVersionIsNotTouched(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "newer").Put("INBOX", harness.Letters(214, 2)...)
	store := filepath.Join(run.TempDir(t), "store")
	args := append(trust(), "--cache-dir", store, imaps("newer"))
	m := run.Mount(t, args...)
	m.List(t)
	m.Unmount(t)
	db, err := bbolt.Open(indexIn(t, store), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		key, value := []byte("format"), []byte{200}
		sum := crc32.Checksum(append(key, value...), crc32.MakeTable(crc32.Castagnoli))
		return tx.Bucket([]byte("account")).Put([]byte("format"), binary.LittleEndian.AppendUint32(value, sum))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(indexIn(t, store))
	if err != nil {
		t.Fatal(err)
	}
	checkRefusal(t, run.Run(t, withPassword(append(append([]string{"mount"}, args...), m.Path)...)), `newer version of mailfs`)
	if harness.Mounted(m.Path) != 0 {
		t.Error("something is mounted")
	}
	if after, err := os.ReadFile(indexIn(t, store)); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the index was changed (%v)", err)
	}
	m.Again(t, withPassword(append(trust(), "--cache-dir", "none", imaps("newer"))...)) // as the error advises
}

// When two processes mount one account, one has the store, and the other says which process that is. Both serve the mail.
func TestOneOfTwoProcessesHasTheStore(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "twoprocesses")
	c.Put("INBOX", harness.Letters(215, 30)...)
	held := c.All()
	args := append(trust(), "--refresh", "1s", "--cache-dir", filepath.Join(run.TempDir(t), "store"), imaps("twoprocesses"))
	first := run.Mount(t, args...)
	holder := fmt.Sprintf("process %d", first.Process(t))
	second := run.Mount(t, args...)
	if lines := complaints(t, second, "nothing is kept on disk"); len(lines) != 1 || !strings.Contains(lines[0], holder) {
		t.Errorf("the second process logs %q, want a line that names %s", lines, holder)
	}
	if !strings.Contains(second.Stderr, "nothing is kept on disk: store is in use by another process ("+holder+")\n") {
		t.Errorf("the second mount says %q, nothing of %s", second.Stderr, holder)
	}
	var both sync.WaitGroup
	for _, m := range []*harness.Mount{first, second} {
		both.Go(func() {
			for _, f := range m.List(t).Files() {
				b, err := os.ReadFile(filepath.Join(m.Path, f.Path()))
				if err != nil || !slices.ContainsFunc(held["INBOX"], func(mail harness.Mail) bool {
					return fmt.Sprint(mail.UID) == f.Key() && bytes.Equal(mail.Body, b)
				}) {
					t.Errorf("%s: %d bytes (%v)", f.Path(), len(b), err)
				}
			}
		})
	}
	both.Wait()
	c.Put("INBOX", harness.Letters(216, 1)...)
	for _, m := range []*harness.Mount{first, second} {
		harness.Eventually(t, "new mail shows in both", func() bool {
			return len(names(filepath.Join(m.Path, "INBOX"))) == 31
		})
		m.Compare(t, c.All(), nil)
	}
	first.Unmount(t)
	second.Unmount(t)
	second.Again(t, withPassword(args...)) // the store is free now
	if n := len(complaints(t, second, "nothing is kept on disk")); n != 1 {
		t.Error("the store that nobody holds is not taken")
	}
	second.Compare(t, c.All(), nil)
}
