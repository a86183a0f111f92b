//go:build linux

package fs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

func stat(t testing.TB, name string) syscall.Stat_t {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(name, &st); err != nil {
		t.Fatalf("stat %s: %v", name, err)
	}
	return st
}

// The message is gone from the tree although the kernel may remember it for an hour. A program that has it open reads on.
func TestAVanishedMessageIsGoneAtOnceButReadableWhereItIsOpen(t *testing.T) {
	s := newSynthetic(map[string]int{"INBOX": 5})
	s.bodySize = func(remote.UID) int { return 500_000 }
	m := mountLive(t, s)
	names := m.names(t, "INBOX")
	file := m.path("INBOX", names[2])
	before := stat(t, m.path("INBOX"))
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	s.expunge("INBOX", uidOf(t, names[2]))
	if got := m.names(t, "INBOX"); slices.Contains(got, names[2]) || len(got) != 4 {
		t.Errorf("INBOX lists %q", got)
	}
	eventually(t, "the name is gone", func() bool {
		_, err := os.Lstat(file)
		return errors.Is(err, syscall.ENOENT)
	})
	if _, err := os.ReadFile(file); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("opening it: %v", err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, s.body(3)) {
		t.Errorf("the file that was open has %d bytes, %v", len(got), err)
	}
	if st, err := f.Stat(); err != nil || st.Size() != s.size(3) {
		t.Errorf("the file that was open: %v, %v", st, err)
	}
	if after := stat(t, m.path("INBOX")); after.Mtim == before.Mtim {
		t.Error("the directory's mtime has not changed")
	}
}

// Opening by a name that the kernel still holds fails with ESTALE inside, which it turns into a new lookup.
func TestOpeningAMessageThatVanishedUnnoticedFails(t *testing.T) {
	s := newSynthetic(map[string]int{"INBOX": 3})
	m := mountOne(t, s)
	names := m.names(t, "INBOX")
	s.expunge("INBOX", uidOf(t, names[1]))
	_, err := os.ReadFile(m.path("INBOX", names[1]))
	if !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ESTALE) {
		t.Errorf("reading it: %v", err)
	}
}

func TestTheKernelForgetsManyVanishedMessages(t *testing.T) {
	const n = 3 * maxPending
	s := newSynthetic(map[string]int{"INBOX": n})
	m := mountLive(t, s)
	run(t, "ls", "-l", m.path("INBOX"))
	names := m.names(t, "INBOX")
	s.set(func() { s.uids["INBOX"] = []remote.UID{n} })
	if got := m.names(t, "INBOX"); len(got) != 1 {
		t.Errorf("INBOX lists %d", len(got))
	}
	d := m.directory(t, "INBOX")
	eventually(t, "the kernel has forgotten them", func() bool { return len(d.Children()) == 1 })
	if _, err := os.Lstat(m.path("INBOX", names[0])); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("the first of them: %v", err)
	}
	if _, err := os.Lstat(m.path("INBOX", names[n-1])); err != nil {
		t.Errorf("the one that stays: %v", err)
	}
}

func TestAMailboxMadeAnewHasOtherInodesUnderTheSameNames(t *testing.T) {
	s := newSynthetic(map[string]int{"INBOX": 10})
	m := mountLive(t, s)
	names := m.names(t, "INBOX")
	file := m.path("INBOX", names[0])
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	was := stat(t, file)
	s.set(func() {
		s.validity++
		s.bodySize = func(remote.UID) int { return 12_345 }
	})
	if again := m.names(t, "INBOX"); !slices.Equal(again, names) {
		t.Fatalf("%q, before %q", again, names)
	}
	eventually(t, "the inode is another one", func() bool {
		st := stat(t, file)
		return st.Ino != was.Ino && st.Size == s.size(1)
	})
	if after, err := os.ReadFile(file); err != nil || bytes.Equal(after, before) || !bytes.Equal(after, s.body(1)) {
		t.Errorf("%d bytes, %v", len(after), err)
	}
}

func TestFoldersComeAndGo(t *testing.T) {
	s := newSynthetic(map[string]int{"INBOX": 2, "INBOX/Sub": 1, "Archive/2025/Q1": 3, "Entwürfe & 草稿": 1})
	m := mountLive(t, s)
	if got := m.names(t); !slices.Equal(got, []string{"Archive", "Entwürfe & 草稿", "INBOX"}) {
		t.Errorf("the root lists %q", got)
	}
	if got := m.names(t, "Archive", "2025"); !slices.Equal(got, []string{"Q1"}) {
		t.Errorf("a level without mail lists %q", got)
	}
	if got := m.names(t, "INBOX"); len(got) != 3 || got[0] != "Sub" {
		t.Errorf("INBOX lists %q", got)
	}
	for path, links := range map[string]uint64{"": 5, "INBOX": 3, "INBOX/Sub": 2, "Archive": 3, "Archive/2025/Q1": 2} {
		if st := stat(t, m.path(path)); uint64(st.Nlink) != links {
			t.Errorf("%q has %d links, want %d", path, st.Nlink, links)
		}
	}
	run(t, "ls", "-lR", m.dir)

	s.remove("INBOX/Sub")
	s.add("INBOX/New", 1)
	s.add("Lists", 0)
	s.remove("Archive/2025/Q1")
	if got := m.names(t); !slices.Equal(got, []string{"Entwürfe & 草稿", "INBOX", "Lists"}) {
		t.Errorf("the root lists %q", got)
	}
	if got := m.names(t, "INBOX"); len(got) != 3 || got[0] != "New" {
		t.Errorf("INBOX lists %q", got)
	}
	for _, gone := range []string{"INBOX/Sub", "Archive", "Archive/2025", "Archive/2025/Q1"} {
		eventually(t, gone+" is gone", func() bool {
			_, err := os.Lstat(m.path(gone))
			return errors.Is(err, syscall.ENOENT)
		})
	}
	if got := m.names(t, "Lists"); len(got) != 0 {
		t.Errorf("an empty mailbox lists %q", got)
	}
	eventually(t, "the links of the root follow", func() bool { return stat(t, m.dir).Nlink == 5 })
}

// It keeps the folders in it.
func TestAMailboxThatBecomesALevelLosesItsMessages(t *testing.T) {
	s := newSynthetic(map[string]int{"Work": 3, "Work/Sub": 1})
	m := mountLive(t, s)
	name := m.names(t, "Work")[1]
	stat(t, m.path("Work", name))
	s.remove("Work")
	if got := m.names(t, "Work"); !slices.Equal(got, []string{"Sub"}) {
		t.Errorf("Work lists %q", got)
	}
	eventually(t, "the message is gone", func() bool {
		_, err := os.Lstat(m.path("Work", name))
		return errors.Is(err, syscall.ENOENT)
	})
}

func TestNamesAndInodesAreTheSameAfterARemount(t *testing.T) {
	list := func() map[string]uint64 {
		s := newSynthetic(map[string]int{"INBOX": 20, "Archive/2025": 5})
		m := mountFor(t, time.Hour, map[string]*synthetic{"a": s, "b": s})
		inodes := map[string]uint64{}
		for _, line := range strings.Split(strings.TrimSpace(run(t, "find", m.dir, "-printf", "%i %P\\n")), "\n") {
			ino, name, _ := strings.Cut(line, " ")
			if _, taken := inodes[name]; taken {
				t.Errorf("%s is there twice", name)
			}
			n, err := strconv.ParseUint(ino, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			inodes[name] = n
		}
		return inodes
	}
	first, second := list(), list()
	if len(first) != 1+2*(1+1+20+2+5) {
		t.Errorf("%d names", len(first))
	}
	for name, ino := range first {
		if second[name] != ino {
			t.Errorf("%s has another inode after a remount", name)
		}
	}
}

// Many programs list and read while mail comes and goes. All of them come to an end.
func TestReadersGetRightBytesWhileMailComesAndGoes(t *testing.T) {
	const rounds = 60
	s := newSynthetic(map[string]int{"INBOX": 300, "INBOX/Sub": 10})
	m := mountLive(t, s)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	reading := func(f func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	for range 2 {
		reading(func() { exec.Command("find", m.dir, "-size", "+1k").Run() }) // find complains of messages that vanish meanwhile
	}
	for range 4 {
		reading(func() {
			list, err := os.ReadDir(m.path("INBOX"))
			if err != nil {
				t.Errorf("listing: %v", err)
				return
			}
			for _, e := range list[:20] {
				if e.IsDir() {
					continue
				}
				got, err := os.ReadFile(m.path("INBOX", e.Name()))
				switch {
				case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ESTALE):
				case err != nil || !bytes.Equal(got, s.body(uidOf(t, e.Name()))):
					t.Errorf("reading %s: %d bytes, %v", e.Name(), len(got), err)
				}
			}
		})
	}
	for i := range rounds {
		s.add("INBOX", 5)
		s.expunge("INBOX", remote.UID(3*i+1), remote.UID(3*i+2), remote.UID(3*i+3))
		if i%2 == 0 {
			s.remove("INBOX/Sub")
		} else {
			s.add("INBOX/Sub", 1)
		}
		m.names(t, "INBOX")
	}
	close(stop)
	wg.Wait()
	if got := m.names(t, "INBOX"); len(got) != 300+rounds*2+1 {
		t.Errorf("INBOX lists %d", len(got))
	}
}
