package test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/mailfs/mailfs/test/harness"
)

// bodiesIn returns the files of messages in a cache directory.
func bodiesIn(t *testing.T, cacheDir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cacheDir, "*", "bodies", "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// indexIn returns the index of the only account in a cache directory.
func indexIn(t *testing.T, cacheDir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cacheDir, "*", "index.db"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d indexes in %s (%v)", len(files), cacheDir, err)
	}
	return files[0]
}

// complaints returns the lines of a mount's log that hold a text.
func complaints(t *testing.T, m *harness.Mount, text string) (lines []string) {
	t.Helper()
	log, err := os.ReadFile(m.Log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// Of the disk, the messages take what --cache-size allows, also while 8 read at once, and however large they are.
func TestStoreBudget(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "budget")
	c.Make("Large")
	c.Put("INBOX", harness.Letters(210, 260)...)
	for i := range 8 {
		body := harness.Letter("a@example.com", fmt.Sprint(i), "")
		body = append(body, bytes.Repeat(fmt.Appendf(nil, "large line %d of a large message\r\n", i), 34_000)...)
		c.Put("Large", harness.Mail{Date: harness.First, Body: body})
	}
	budget(t, "INBOX", 1<<20)
	budget(t, "Large", 4<<20)
}

// budget reads a mailbox of that user over a cache of a size.
func budget(t *testing.T, box string, budget int64) {
	held := dovecot.Dial(t, "budget").Held(box)
	total, largest := 0, 0
	want := map[string][]byte{}
	for _, mail := range held {
		total, largest = total+len(mail.Body), max(largest, len(mail.Body))
		want[fmt.Sprint(mail.UID)] = mail.Body
	}
	if int64(total) < 2*budget {
		t.Fatalf("all mail is %d bytes, which is too little for a budget of %d", total, budget)
	}
	store := filepath.Join(run.TempDir(t), "store")
	args := append(trust(), "--memory", "200KiB", "--cache-size", fmt.Sprint(budget), "--cache-dir", store, imaps("budget"))
	m := run.Mount(t, args...)
	files := m.List(t)[box]
	m.Read(t, files[0]) // opening a first file has Go wait for the mount in a way in which all of this process waits
	pid := m.Process(t)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for r := range 8 {
		readers.Go(func() {
			for _, i := range rand.New(rand.NewPCG(uint64(r), 1)).Perm(len(files)) {
				b, err := os.ReadFile(filepath.Join(m.Path, files[i].Path()))
				if err != nil || !bytes.Equal(b, want[files[i].Key()]) {
					t.Errorf("%s: %d bytes (%v), want %d", files[i].Path(), len(b), err, len(want[files[i].Key()]))
				}
			}
		})
	}
	go func() {
		readers.Wait()
		close(done)
	}()
	looks, most := 0, int64(0)
	for reading := true; reading; looks++ {
		select {
		case <-done:
			reading = false
		default:
		}
		// The program stands still while its files are counted: all of them are as they were at one time.
		stop(t, pid)
		most = max(most, bytesBelow(t, store, "bodies"))
		syscall.Kill(pid, syscall.SIGCONT)
	}
	if most > budget+int64(largest) {
		t.Errorf("%s: the messages on disk were %d bytes, with a budget of %d", box, most, budget)
	}
	if left := bytesBelow(t, store, "bodies"); left > budget {
		t.Errorf("%s: when nobody reads any more, the messages on disk are %d bytes, with a budget of %d", box, left, budget)
	}
	if looks < 3 || most < budget/2 {
		t.Errorf("%s: %d looks, at most %d bytes: this test has seen nothing", box, looks, most)
	}
	m.Unmount(t)
	args[5] = fmt.Sprint(budget / 2)
	m.Again(t, withPassword(args...))
	harness.Eventually(t, "a smaller budget takes effect", func() bool { return bytesBelow(t, store, "bodies") <= budget/2 })
	for _, f := range m.List(t)[box] {
		if got := m.Read(t, f); !bytes.Equal(got, want[f.Key()]) {
			t.Errorf("%s: %d bytes, want %d", f.Path(), len(got), len(want[f.Key()]))
		}
	}
	harness.Eventually(t, "the smaller budget holds", func() bool { return bytesBelow(t, store, "bodies") <= budget/2 })
}

// bytesBelow adds up the sizes of the files in a store whose path holds a text.
func bytesBelow(t *testing.T, store, text string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(store, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() || !strings.Contains(path, text) {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		n += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A file of the store that is not as it was written is not served: the message is fetched again.
func TestStoreDamagedMessages(t *testing.T) {
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

// An index that makes no sense is set aside, and the mount goes on from what the server says.
func TestStoreDamagedIndex(t *testing.T) {
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
		m.Again(t, withPassword(args...)) // what was listed since is in the new index
		m.Compare(t, held, nil)
		proxy.Open(t)
	}
}

// What a newer version wrote is not touched, and nothing is mounted.
func TestStoreOfANewerVersion(t *testing.T) {
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
	m.Again(t, withPassword(append(trust(), "--cache-dir", "none", imaps("newer"))...)) // as the refusal advises
}

// Of two processes on one account one has the store, and the other says who that is. Both serve the right mail.
func TestStoreOfTwoProcesses(t *testing.T) {
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

// What is kept is its owner's alone.
func TestStoreModes(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "modes")
	c.Make("Folder")
	c.Put("INBOX", harness.Letters(217, 5)...)
	large := append(harness.Letter("big@example.com", "big", ""), bytes.Repeat([]byte("large\r\n"), 400_000)...)
	c.Put("INBOX", harness.Mail{Date: harness.First, Body: large})
	c.Put("Folder", harness.Letters(218, 2)...)
	store := filepath.Join(run.TempDir(t), "made", "on", "the", "way")
	m := run.Mount(t, append(trust(), "--cache-dir", store, imaps("modes"))...)
	m.Compare(t, c.All(), nil)
	for range 2 {
		files := 0
		top := filepath.Dir(filepath.Dir(filepath.Dir(store)))
		err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			want := fs.FileMode(0o600)
			if e.IsDir() {
				want = 0o700
			} else {
				files++
			}
			if info.Mode().Perm() != want {
				t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if files < 8+1 {
			t.Errorf("%d files, want those of 8 messages and an index", files)
		}
		if harness.Mounted(m.Path) > 0 { // once more when all is at rest
			m.Unmount(t)
		}
	}
}

// A disk that is full stops the keeping, not the reading, and the last of it is left to others.
func TestStoreOnAFullDisk(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "fulldisk")
	const size = 8 << 20
	var mails []harness.Mail
	for i := range uint64(6) {
		mails = append(mails, harness.Letters(220+i, 150)...)
	}
	c.Put("INBOX", mails...)
	held := c.All()
	store := filepath.Join(run.TempDir(t), "store")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("mailfs-test", store, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("mounting a small disk, which takes root: %v", err)
	}
	defer syscall.Unmount(store, syscall.MNT_DETACH)
	free := func() int64 {
		var s syscall.Statfs_t
		if err := syscall.Statfs(store, &s); err != nil {
			t.Fatal(err)
		}
		return int64(s.Bavail) * s.Bsize
	}
	args := append(trust(), "--memory", "1MiB", "--refresh", "1s", "--cache-dir", store, imaps("fulldisk"))
	m := run.Mount(t, args...)
	m.Compare(t, held, nil)
	if left := free(); left < size*5/100 || left > size/3 {
		t.Errorf("%d of %d bytes are left to others, want 5 %% and not much more", left, size)
	}
	if n := len(complaints(t, m, "reading goes on without")); n != 1 {
		t.Errorf("the log says %d times that messages are not kept, want once", n)
	}

	fill := func() {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(store, "others"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, syscall.ENOSPC) || free() != 0 {
			t.Fatalf("filling the disk: %v, %d bytes are left", err, free())
		}
	}
	fill()
	c.Put("INBOX", harness.Letters(230, 20)...)
	held = c.All()
	all := len(held["INBOX"])
	harness.Eventually(t, "new mail shows", func() bool { return len(names(filepath.Join(m.Path, "INBOX"))) == all })
	m.Compare(t, held, nil)

	// What could not be written when it happened is not missing after the next thing that happens.
	if err := os.Remove(filepath.Join(store, "others")); err != nil {
		t.Fatal(err)
	}
	c.Put("INBOX", harness.Letters(231, 1)...)
	held = c.All()
	harness.Eventually(t, "new mail shows", func() bool { return len(names(filepath.Join(m.Path, "INBOX"))) == all+1 })
	m.Compare(t, held, nil)
	m.Unmount(t)
	fill()
	m.Again(t, withPassword(args...)) // over what there is
	m.Compare(t, held, nil)
	m.Unmount(t)
	if err := os.RemoveAll(filepath.Dir(indexIn(t, store))); err != nil {
		t.Fatal(err)
	}
	fill()
	m.Again(t, withPassword(args...)) // over nothing
	m.Compare(t, held, nil)
	m.Unmount(t)
	if err := os.Remove(filepath.Join(store, "others")); err != nil {
		t.Fatal(err)
	}
	m.Again(t, withPassword(args...)) // there is room again
	m.Compare(t, held, nil)
	harness.Eventually(t, "messages are kept again", func() bool { return len(bodiesIn(t, store)) > 100 })
}

// A directory that can't be written, or is none, is no place for a store: mount says so.
func TestStoreDirectoryIsNone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(run.TempDir(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	point := run.TempDir(t)
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/mailfs"} {
		args := append([]string{"mount", "--cache-dir", dir}, trust()...)
		res := run.Run(t, withPassword(append(args, imaps("nostore"), point)...))
		checkRefusal(t, res, `the cache can't be used`)
		if harness.Mounted(point) != 0 {
			t.Errorf("%s: something is mounted", dir)
		}
	}
}
