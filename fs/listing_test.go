//go:build linux

package fs

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/mailfs/mailfs/remote"
)

func TestListingTenThousandMessagesTakesFewRequests(t *testing.T) {
	const n = 10_000
	s := newSynthetic(map[string]int{"INBOX": n})
	m := mountOne(t, s)
	inbox := m.path("INBOX")
	for _, c := range []struct {
		args        []string
		readdirplus int
	}{
		{[]string{"ls", "-U", inbox}, 80},
		{[]string{"ls", "-l", inbox}, 0}, // the kernel knows
		{[]string{"find", inbox, "-size", "+1k"}, 0},
	} {
		most := map[string]int{"READDIRPLUS": c.readdirplus, "LOOKUP": 5, "GETATTR": 10, "GETXATTR": 9}
		m.requests.reset()
		lines := strings.Count(run(t, c.args[0], c.args[1:]...), "\n")
		counts := m.requests.reset()
		t.Logf("%s: %d lines, %v", c.args[0], lines, counts)
		if lines < n {
			t.Errorf("%s: %d lines", c.args[0], lines)
		}
		for _, op := range []string{"READDIRPLUS", "READDIR", "LOOKUP", "GETXATTR", "LISTXATTR", "GETATTR"} {
			if counts[op] > most[op] {
				t.Errorf("%s: %d %s, want at most %d", c.args[0], counts[op], op, most[op])
			}
		}
	}
	if got := s.fetches("INBOX"); got != 0 {
		t.Errorf("listing fetched %d messages", got)
	}
}

func TestReadingAgainTakesNoRequestOnceSizesAreTrusted(t *testing.T) {
	s := newSynthetic(map[string]int{"INBOX": 200})
	m := mountOne(t, s)
	m.trust(t, "INBOX")
	first := run(t, "sh", "-c", `cat "$1"/* | md5sum`, "sh", m.path("INBOX"))
	m.requests.reset()
	if again := run(t, "sh", "-c", `cat "$1"/* | md5sum`, "sh", m.path("INBOX")); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	counts := m.requests.reset()
	for _, op := range []string{"LOOKUP", "GETATTR", "OPEN", "READ", "FLUSH", "RELEASE", "LSEEK", "READDIRPLUS"} {
		if counts[op] > 0 {
			t.Errorf("%d %s", counts[op], op)
		}
	}
	if got := s.fetches("INBOX"); got != 200 {
		t.Errorf("200 messages were fetched %d times", got)
	}
}

func TestAVeryLargeMailboxIsListedWithoutAttributesUntilTheyAreAskedFor(t *testing.T) {
	n := manyMessages + 10_000
	m := mountOne(t, newSynthetic(map[string]int{"INBOX": n}))
	if got := strings.Count(run(t, "ls", "-U", m.path("INBOX")), "\n"); got != n {
		t.Errorf("ls -U lists %d", got)
	}
	if nodes := len(m.directory(t, "INBOX").Children()); nodes > 100 {
		t.Errorf("ls -U made %d nodes", nodes)
	}
	m.requests.reset()
	f, err := os.Open(m.path("INBOX"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := 0
	for {
		names, err := f.Readdirnames(100)
		for _, name := range names {
			if _, err := os.Lstat(m.path("INBOX", name)); err != nil {
				t.Fatal(err)
			}
		}
		if seen += len(names); err != nil || seen > 5000 {
			break
		}
	}
	if lookups := m.requests.count("LOOKUP"); lookups > 1000 {
		t.Errorf("%d attributes took %d LOOKUPs", seen, lookups)
	}
}

// directory returns the node of a folder of a mount of one account.
func (m *mounted) directory(t testing.TB, path ...string) *directory {
	t.Helper()
	d := m.server.fsys.accounts[0].directoryAt(path)
	if d == nil {
		t.Fatalf("the kernel does not know %q", path)
	}
	return d
}

// entry is a directory entry as getdents64(2) returns it.
type entry struct {
	name string
	ino  uint64
	off  int64
}

// getdents reads entries of an open directory, from where it stands, as many as fit into size bytes.
func getdents(t testing.TB, fd, size int) []entry {
	t.Helper()
	buf := make([]byte, size)
	n, err := unix.Getdents(fd, buf)
	if err != nil {
		t.Fatal(err)
	}
	var list []entry
	for buf = buf[:n]; len(buf) > 0; {
		var d fuse.DirEntry
		buf = buf[d.Parse(buf):]
		list = append(list, entry{d.Name, d.Ino, int64(d.Off)})
	}
	return list
}

func openDir(t testing.TB, name string) int {
	t.Helper()
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestAPositionInAListingHoldsAcrossAnExpunge(t *testing.T) {
	s := newSynthetic(map[string]int{"INBOX": 1000, "INBOX/a": 1, "INBOX/b": 1})
	m := mountLive(t, s)
	fd := openDir(t, m.path("INBOX"))
	defer unix.Close(fd)
	list := getdents(t, fd, 64<<10)
	if list[0].name != "." || list[1].name != ".." || list[2].name != "a" || list[3].name != "b" || len(list) < 300 {
		t.Fatalf("%+v", list[:4])
	}
	at := list[200]
	var before []remote.UID
	for uid := remote.UID(1); uid <= 100; uid++ {
		before = append(before, uid)
	}
	s.expunge("INBOX", before...)
	other := openDir(t, m.path("INBOX")) // sees the new listing
	defer unix.Close(other)
	for _, fd := range []int{fd, other} {
		if _, err := unix.Seek(fd, at.off, 0); err != nil {
			t.Fatal(err)
		}
		if next := getdents(t, fd, 4096); len(next) == 0 || next[0].name != list[201].name {
			t.Errorf("after %s comes %+v, want %s", at.name, next[:1], list[201].name)
		}
		if _, err := unix.Seek(fd, list[2].off, 0); err != nil {
			t.Fatal(err)
		}
		if next := getdents(t, fd, 4096); next[0].name != "b" {
			t.Errorf("after a comes %s", next[0].name)
		}
	}
	// The position of a message that is gone is where it was.
	if _, err := unix.Seek(other, list[10].off, 0); err != nil {
		t.Fatal(err)
	}
	if next := getdents(t, other, 4096); !strings.HasSuffix(next[0].name, "_101.eml") {
		t.Errorf("after what is gone comes %s", next[0].name)
	}
}

func TestAListingIsInOrderOfInodes(t *testing.T) {
	m := mountOne(t, newSynthetic(map[string]int{"INBOX": 300}))
	fd := openDir(t, m.path("INBOX"))
	defer unix.Close(fd)
	last := uint64(0)
	for _, e := range getdents(t, fd, 64<<10)[2:] {
		var st syscall.Stat_t
		if err := syscall.Lstat(m.path("INBOX", e.name), &st); err != nil || st.Ino != e.ino {
			t.Fatalf("%s: inode %d, listed as %d: %v", e.name, st.Ino, e.ino, err)
		}
		if e.ino <= last {
			t.Fatalf("inode %d comes after %d", e.ino, last)
		}
		last = e.ino
	}
}

// The kernel answers a listing that has not changed, and reads one that has changed anew.
func TestAListingIsCachedUntilItChanges(t *testing.T) {
	s := newSynthetic(map[string]int{"INBOX": 500})
	m := mountLive(t, s)
	first := m.names(t, "INBOX")
	m.requests.reset()
	if again := m.names(t, "INBOX"); !slices.Equal(again, first) {
		t.Error("the second listing is another one")
	}
	if n := m.requests.count("READDIRPLUS") + m.requests.count("READDIR"); n > 0 {
		t.Errorf("an unchanged listing took %d requests", n)
	}
	for step := range 5 {
		s.add("INBOX", 1)
		s.expunge("INBOX", remote.UID(step+1))
		got := m.names(t, "INBOX")
		if len(got) != 500 || !strings.HasSuffix(got[499], fmt.Sprintf("_%d.eml", 501+step)) ||
			!strings.HasSuffix(got[0], fmt.Sprintf("_%d.eml", 2+step)) {
			t.Fatalf("step %d: %d names, %s ... %s", step, len(got), got[0], got[len(got)-1])
		}
		if again := m.names(t, "INBOX"); !slices.Equal(again, got) {
			t.Fatalf("step %d: the second listing is another one", step)
		}
	}
}

func TestRewindingAListingShowsNewMessages(t *testing.T) {
	s := newSynthetic(map[string]int{"INBOX": 5})
	m := mountLive(t, s)
	fd := openDir(t, m.path("INBOX"))
	defer unix.Close(fd)
	if n := len(getdents(t, fd, 64<<10)); n != 7 {
		t.Fatalf("%d entries", n)
	}
	s.add("INBOX", 1)
	m.names(t, "INBOX") // synchronises
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		t.Fatal(err)
	}
	if list := getdents(t, fd, 64<<10); len(list) != 8 || !strings.HasSuffix(list[7].name, "_6.eml") {
		t.Errorf("%+v", list)
	}
}

func BenchmarkListing(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		s := newSynthetic(map[string]int{"INBOX": n})
		for _, args := range [][]string{{"ls", "-U"}, {"ls", "-l"}, {"find", "-size"}} {
			for _, again := range []bool{false, true} {
				name := fmt.Sprintf("%d/%s/first", n, strings.Join(args, ""))
				if again {
					name = strings.Replace(name, "first", "again", 1)
				}
				b.Run(name, func(b *testing.B) { benchmarkListing(b, s, n, args, again) })
			}
		}
	}
}

func benchmarkListing(b *testing.B, s *synthetic, n int, args []string, again bool) {
	b.StopTimer()
	requests := 0
	for range b.N {
		m := mountOne(b, s)
		command := append(slices.Clone(args), m.path("INBOX"))
		if args[0] == "find" {
			command = []string{"find", m.path("INBOX"), "-size", "+1k"}
		}
		run(b, "stat", m.path("INBOX"))
		list := func() {
			cmd := exec.Command(command[0], command[1:]...)
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
		}
		fd := openDir(b, m.path("INBOX")) // the tests of package cache measure what the synchronisation costs
		unix.Close(fd)
		if again {
			list()
		}
		m.requests.reset()
		b.StartTimer()
		list()
		b.StopTimer()
		for _, c := range m.requests.reset() {
			requests += c
		}
	}
	b.ReportMetric(float64(requests)/float64(b.N)/float64(n), "requests/entry")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "µs/entry")
}
