//go:build linux

package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// uidOf returns the UID in a name.
func uidOf(t testing.TB, name string) remote.UID {
	t.Helper()
	base := strings.TrimSuffix(name, ".eml")
	uid, err := strconv.Atoi(base[strings.LastIndexByte(base, '_')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return remote.UID(uid)
}

func TestAMessageIsAFileWithItsBytesAndAttributes(t *testing.T) {
	s := newSynthetic(map[string]int{"INBOX": 50})
	m := mountOne(t, s)
	for _, name := range m.names(t, "INBOX") {
		uid := uidOf(t, name)
		want := s.body(uid)
		var st syscall.Stat_t
		if err := syscall.Lstat(m.path("INBOX", name), &st); err != nil {
			t.Fatal(err)
		}
		when := time.Date(2026, 1, 1, 0, int(uid), 0, 0, time.UTC).Unix()
		if st.Size != int64(len(want)) || st.Blocks != (st.Size+511)/512 || st.Blksize < 4096 || st.Nlink != 1 ||
			st.Mode != syscall.S_IFREG|0o400 || st.Mtim.Sec != when || st.Ctim.Sec != when {
			t.Errorf("%s: %+v", name, st)
		}
		if got, err := os.ReadFile(m.path("INBOX", name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
		}
	}
}

// readers are ways to read a file to its end. Each prints what it read, or something that follows from it.
var readers = []struct {
	name string
	args []string // after which comes the file
	want func(body []byte) string
	stat bool // the program reads no more than st_size bytes
}{
	{"cat", []string{"cat"}, asIs, false},
	{"small reads", []string{"dd", "bs=100", "status=none"}, asIs, false},
	{"md5sum", []string{"sh", "-c", `md5sum < "$1"`, "sh"}, nil, false},
	{"cp", []string{"sh", "-c", `cp "$1" "$COPY" && cat "$COPY"`, "sh"}, asIs, false},
	{"wc -c", []string{"sh", "-c", `wc -c < "$1"`, "sh"}, func(b []byte) string { return fmt.Sprintln(len(b)) }, true},
	{"tar", []string{"sh", "-c", `tar -cf - --transform 's/.*/x/' "$1" 2>/dev/null | tar -xOf -`, "sh"}, asIs, true},
	{"mmap", []string{"env", mapEnv + "=1", "test"}, asIs, true}, // the program is replaced by this one
	{"tail", []string{"tail", "-c", "5"}, func(b []byte) string { return string(b[max(0, len(b)-5):]) }, true},
}

func asIs(b []byte) string { return string(b) }

func read(t testing.TB, reader int, file string) string {
	t.Helper()
	r := readers[reader]
	args := append(append([]string{}, r.args[1:]...), file)
	cmd := exec.Command(r.args[0], args...)
	switch r.name {
	case "mmap":
		cmd = exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), mapEnv+"="+file)
	case "small reads":
		cmd = exec.Command("dd", "if="+file, "bs=100", "status=none")
	case "cp":
		cmd.Env = append(os.Environ(), "COPY="+filepath.Join(t.TempDir(), "copy"))
	}
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s of %s: %v", r.name, file, err)
	}
	return string(out)
}

func (s *synthetic) wanted(t testing.TB, reader int, uid remote.UID) string {
	t.Helper()
	if readers[reader].want != nil {
		return readers[reader].want(s.body(uid))
	}
	cmd := exec.Command("md5sum")
	cmd.Stdin = bytes.NewReader(s.body(uid))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// lies are sizes that a server announces in place of the right one.
var lies = []struct {
	name string
	size func(int64) int64
}{
	{"nothing", func(int64) int64 { return 0 }},
	{"one less", func(n int64) int64 { return n - 1 }},
	{"one more", func(n int64) int64 { return n + 1 }},
	{"half", func(n int64) int64 { return n / 2 }},
	{"double", func(n int64) int64 { return 2 * n }},
	{"a page", func(int64) int64 { return 4096 }},
	{"much more", func(n int64) int64 { return n + 1<<20 }},
}

// The server announces wrong sizes from the beginning: every reader gets every byte and not one more, and the right size.
func TestReadersGetEveryByteWhereAnnouncedSizesAreWrong(t *testing.T) {
	for _, lie := range lies {
		t.Run(lie.name, func(t *testing.T) {
			s := newSynthetic(map[string]int{"INBOX": 3 * len(readers)})
			s.announce = func(_ remote.UID, size int64) int64 { return lie.size(size) }
			s.bodySize = func(uid remote.UID) int { return []int{300, 7000, 300_000}[uid%3] }
			m := mountOne(t, s)
			run(t, "ls", "-l", m.path("INBOX")) // the kernel learns the wrong sizes
			for i, name := range m.names(t, "INBOX") {
				reader, uid, file := i/3, uidOf(t, name), m.path("INBOX", name)
				if got, want := read(t, reader, file), s.wanted(t, reader, uid); got != want {
					t.Errorf("%s: %d bytes, want %d", readers[reader].name, len(got), len(want))
				}
				if st, err := os.Stat(file); err != nil || st.Size() != int64(len(s.body(uid))) {
					t.Errorf("%s: st_size is %d, %v, want %d", readers[reader].name, st.Size(), err, len(s.body(uid)))
				}
			}
		})
	}
}

// The server begins to announce wrong sizes when the kernel opens files without asking. A reader that reads until there is
// no more gets every byte and not one more, and so does every later reader.
func TestReadersGetEveryByteWhereSizesTurnWrongAfterTheyWereTrusted(t *testing.T) {
	for _, lie := range lies {
		t.Run(lie.name, func(t *testing.T) {
			s := newSynthetic(map[string]int{"INBOX": 3 * len(readers), "Trusted": 40})
			s.bodySize = func(uid remote.UID) int { return []int{300, 7000, 300_000}[uid%3] }
			m := mountOne(t, s)
			m.trust(t, "Trusted")
			s.set(func() { s.announce = func(_ remote.UID, size int64) int64 { return lie.size(size) } })
			run(t, "ls", "-l", m.path("INBOX"))
			for i, name := range m.names(t, "INBOX") {
				reader, uid, file := i/3, uidOf(t, name), m.path("INBOX", name)
				if readers[reader].stat {
					read(t, 0, file)
				}
				if got, want := read(t, reader, file), s.wanted(t, reader, uid); got != want {
					t.Errorf("%s: %d bytes, want %d", readers[reader].name, len(got), len(want))
				}
				if st, err := os.Stat(file); err != nil || st.Size() != int64(len(s.body(uid))) {
					t.Errorf("%s: st_size is %d, %v, want %d", readers[reader].name, st.Size(), err, len(s.body(uid)))
				}
			}
		})
	}
}

// One fetch serves all readers of a message. A signal ends a reader at once, whether it was the first or not. The reader
// that stays gets the bytes.
func TestASignalEndsOneReaderAndTheOthersGetTheBytes(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
			t.Run(fmt.Sprintf("%v/trusted=%v", signal, trusted), func(t *testing.T) {
				s := newSynthetic(map[string]int{"INBOX": 1, "Trusted": 40})
				m := mountOne(t, s)
				if trusted {
					m.trust(t, "Trusted")
				}
				name := m.names(t, "INBOX")[0]
				hold := make(chan struct{})
				s.set(func() { s.hold = hold })
				first := startReader(t, m.path("INBOX", name))
				<-s.held
				second, third := startReader(t, m.path("INBOX", name)), startReader(t, m.path("INBOX", name))
				eventually(t, "three readers wait", func() bool {
					return first.waits(t) && second.waits(t) && third.waits(t)
				})
				first.signal(t, signal)
				eventually(t, "the reader ends", func() bool { return first.state(t) == "" || first.state(t) == "Z" })
				// ps shows a reader that waits for a page that another one is reading in state D, but it can be killed.
				third.signal(t, signal)
				eventually(t, "another reader ends", func() bool { return third.state(t) == "" || third.state(t) == "Z" })
				eventually(t, "the last reader is not in state D", func() bool { return second.state(t) == "S" })
				close(hold)
				first.wait()
				third.wait()
				if out, err := second.wait(); err != nil || !bytes.Equal(out, s.body(uidOf(t, name))) {
					t.Errorf("the reader that stayed got %d bytes, %v", len(out), err)
				}
				if n := s.fetches("INBOX"); n != 1 {
					t.Errorf("the message was fetched %d times", n)
				}
			})
		}
	}
}

// reader is a program that reads a file.
type reader struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

func startReader(t testing.TB, file string) *reader {
	t.Helper()
	r := &reader{cmd: exec.Command("cat", file)}
	r.cmd.Stdout = &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *reader) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func (r *reader) wait() ([]byte, error) {
	err := r.cmd.Wait()
	return r.out.Bytes(), err
}

// state is the letter that ps shows; empty when the process is gone.
func (r *reader) state(t testing.TB) string {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[0]
}

// waits tells whether the process waits for the filesystem.
func (r *reader) waits(t testing.TB) bool {
	t.Helper()
	channel, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", r.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(channel), "fuse") || strings.Contains(string(channel), "request_wait") ||
		strings.Contains(string(channel), "folio")
}

func TestReadingAtAnyOffsetGivesTheBytesThere(t *testing.T) {
	s := newSynthetic(map[string]int{"INBOX": 1})
	s.bodySize = func(remote.UID) int { return 400_000 }
	m := mountOne(t, s)
	name := m.names(t, "INBOX")[0]
	want := s.body(1)
	f, err := os.Open(m.path("INBOX", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, off := range []int{399_999, 0, 131_072, 131_071, len(want) - 1, len(want), len(want) + 1, 1 << 30} {
		buf := make([]byte, 5000)
		n, err := f.ReadAt(buf, int64(off))
		rest := want[min(off, len(want)):]
		rest = rest[:min(len(rest), len(buf))]
		if err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(buf[:n], rest) {
			t.Errorf("at %d: %d bytes, %v, want %d", off, n, err, len(rest))
		}
	}
}

func BenchmarkReadCached(b *testing.B) {
	for _, trusted := range []bool{false, true} {
		b.Run(fmt.Sprintf("trusted=%v", trusted), func(b *testing.B) {
			m := mountOne(b, newSynthetic(map[string]int{"INBOX": 1, "Trusted": 40}))
			if trusted {
				m.trust(b, "Trusted")
			}
			file := m.path("INBOX", m.names(b, "INBOX")[0])
			data, err := os.ReadFile(file)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(data)))
			b.ResetTimer()
			for range b.N {
				if _, err := os.ReadFile(file); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
