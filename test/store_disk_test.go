package test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/mailfs/mailfs/test/harness"
)

// bodiesIn returns the files in a cache directory that hold messages.
func bodiesIn(t *testing.T, cacheDir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cacheDir, "*", "bodies", "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// indexIn returns the index file of the only account in a cache directory.
func indexIn(t *testing.T, cacheDir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cacheDir, "*", "index.db"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d indexes in %s (%v)", len(files), cacheDir, err)
	}
	return files[0]
}

// complaints returns the lines of a mount's log that contain text.
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

// Messages take no more of the disk than --cache-size and one message, while 8 readers read at once, small and large ones.
func TestMessagesOnDiskKeepToTheCacheSize(t *testing.T) {
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

// budget reads a mailbox of the user budget with a cache of budget bytes.
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
	m.Read(t, files[0]) // Go polls the first file that it opens in a mount, and all of this process waits for the answer
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
		// The program is stopped while its files are counted, so that the sum is that of one moment.
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

// bytesBelow adds up the sizes of the files in a store whose path contains text.
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

// Only the owner can read the store.
func TestStoreIsItsOwnersAlone(t *testing.T) {
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
		if harness.Mounted(m.Path) > 0 { // and again when nothing is written any more
			m.Unmount(t)
		}
	}
}

// On a full disk nothing more is stored, but everything can be read. 5 % of the disk are left to others.
func TestFullDiskStopsKeepingNotReading(t *testing.T) {
	t.Parallel()
	needRoot(t)
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
		t.Fatalf("mounting a small disk: %v", err)
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
	// The writers of messages and of the index may look for room at the same time, and take a little more than there is.
	const atOnce = 64 << 10
	if left := free(); left < size*5/100-atOnce || left > size/3 {
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

	// Mail that could not be stored when it came is not missing after more has come.
	if err := os.Remove(filepath.Join(store, "others")); err != nil {
		t.Fatal(err)
	}
	c.Put("INBOX", harness.Letters(231, 1)...)
	held = c.All()
	harness.Eventually(t, "new mail shows", func() bool { return len(names(filepath.Join(m.Path, "INBOX"))) == all+1 })
	m.Compare(t, held, nil)
	m.Unmount(t)
	fill()
	m.Again(t, withPassword(args...)) // with the store that there is
	m.Compare(t, held, nil)
	m.Unmount(t)
	if err := os.RemoveAll(filepath.Dir(indexIn(t, store))); err != nil {
		t.Fatal(err)
	}
	fill()
	m.Again(t, withPassword(args...)) // with no store, and no room for one
	m.Compare(t, held, nil)
	m.Unmount(t)
	if err := os.Remove(filepath.Join(store, "others")); err != nil {
		t.Fatal(err)
	}
	m.Again(t, withPassword(args...)) // there is room again
	m.Compare(t, held, nil)
	harness.Eventually(t, "messages are kept again", func() bool { return len(bodiesIn(t, store)) > 100 })
}

// mailfs mount refuses a cache directory that is a file, or that can't be made.
func TestCacheDirectoryThatCanNotBeWrittenIsRefused(t *testing.T) {
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
