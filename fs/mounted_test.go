//go:build linux

package fs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/goleak"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
)

// mapEnv is a variable of the environment: the test program, run with it, maps the file of that name and prints it.
const mapEnv = "MAILFS_TEST_MAP"

func TestMain(m *testing.M) {
	if name := os.Getenv(mapEnv); name != "" {
		if err := printMapped(name); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func printMapped(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return err
	}
	data, err := syscall.Mmap(int(f.Fd()), 0, int(st.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(data)
	return errors.Join(err, syscall.Munmap(data))
}

// mounted is a mount for a test.
type mounted struct {
	dir      string
	server   *Server
	requests *requests
}

// options name the process as what is mounted: by that the harness recognises mounts that a killed run has left.
func options() Options {
	return Options{FSName: fmt.Sprintf("mailfs-test-%d", os.Getpid()), UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
}

// mountFor mounts accounts until the test ends. A single one without a name is the root.
func mountFor(t testing.TB, refresh time.Duration, accounts map[string]*synthetic) *mounted {
	t.Helper()
	return mountWith(t, refresh, accounts, cache.AccountOptions{})
}

// mountWith is mountFor with options of the accounts.
func mountWith(t testing.TB, refresh time.Duration, accounts map[string]*synthetic, o cache.AccountOptions) *mounted {
	t.Helper()
	c := cache.New(cache.Options{Memory: 64 << 20, Disk: 1 << 30, Refresh: refresh, Timeout: 5 * time.Minute})
	var list []*cache.Account
	for _, name := range slices.Sorted(maps.Keys(accounts)) {
		a, err := c.Account(name, accounts[name], o)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	_, single := accounts[""]
	m := &mounted{dir: t.TempDir(), requests: &requests{}}
	var err error
	m.server, err = mount(m.dir, list, single, options(), func(raw fuse.RawFileSystem) fuse.RawFileSystem {
		m.requests.RawFileSystem = raw
		return m.requests
	})
	if err == nil {
		err = m.server.fuse.WaitMount() // since these tests read from the mount that they serve
	}
	if err != nil {
		t.Fatalf("%v (these tests need /dev/fuse, and fuse3 unless they run as root)", err)
	}
	t.Cleanup(func() {
		if err := m.server.Unmount(); err != nil {
			t.Error(err)
			if err := syscall.Unmount(m.dir, 2); err != nil { // MNT_DETACH
				t.Error(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func cacheAccount(t testing.TB, c *cache.Cache, name string, r remote.Account) *cache.Account {
	t.Helper()
	a, err := c.Account(name, r, cache.AccountOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// mountOne mounts one account at the root, whose listings are never old.
func mountOne(t testing.TB, s *synthetic) *mounted {
	t.Helper()
	return mountFor(t, time.Hour, map[string]*synthetic{"": s})
}

// mountLive mounts one account at the root, whose listings are always old.
func mountLive(t testing.TB, s *synthetic) *mounted {
	t.Helper()
	return mountFor(t, time.Nanosecond, map[string]*synthetic{"": s})
}

func (m *mounted) path(names ...string) string {
	return filepath.Join(append([]string{m.dir}, names...)...)
}

// names lists a directory.
func (m *mounted) names(t testing.TB, dir ...string) []string {
	t.Helper()
	f, err := os.Open(m.path(dir...))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// run runs a program and returns what it prints.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, errs.String())
	}
	return out.String()
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute) // for a busy machine
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// trust reads messages until the mount opens files without asking.
func (m *mounted) trust(t testing.TB, dir string) {
	t.Helper()
	for _, name := range m.names(t, dir) {
		if _, err := os.ReadFile(m.path(dir, name)); err != nil {
			t.Fatal(err)
		}
		before := m.requests.count("OPEN")
		if _, err := os.ReadFile(m.path(dir, name)); err != nil {
			t.Fatal(err)
		}
		if m.requests.count("OPEN") == before {
			return
		}
	}
	t.Fatal("files are still not opened without asking")
}

// requests counts what the kernel asks.
type requests struct {
	fuse.RawFileSystem

	mu     sync.Mutex // guards counts
	counts map[string]int
}

func (r *requests) note(op string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[string]int{}
	}
	r.counts[op]++
}

func (r *requests) count(op string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[op]
}

// reset starts to count anew and returns what was counted so far.
func (r *requests) reset() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := r.counts
	r.counts = map[string]int{}
	return counts
}

func (r *requests) Lookup(c <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	r.note("LOOKUP")
	return r.RawFileSystem.Lookup(c, h, name, out)
}

func (r *requests) GetAttr(c <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	r.note("GETATTR")
	return r.RawFileSystem.GetAttr(c, in, out)
}

func (r *requests) Access(c <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	r.note("ACCESS")
	return r.RawFileSystem.Access(c, in)
}

func (r *requests) GetXAttr(c <-chan struct{}, h *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	r.note("GETXATTR")
	return r.RawFileSystem.GetXAttr(c, h, name, dest)
}

func (r *requests) ListXAttr(c <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	r.note("LISTXATTR")
	return r.RawFileSystem.ListXAttr(c, h, dest)
}

func (r *requests) Open(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	r.note("OPEN")
	return r.RawFileSystem.Open(c, in, out)
}

func (r *requests) Read(c <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	r.note("READ")
	return r.RawFileSystem.Read(c, in, buf)
}

func (r *requests) Lseek(c <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	r.note("LSEEK")
	return r.RawFileSystem.Lseek(c, in, out)
}

func (r *requests) Flush(c <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	r.note("FLUSH")
	return r.RawFileSystem.Flush(c, in)
}

func (r *requests) Release(c <-chan struct{}, in *fuse.ReleaseIn) {
	r.note("RELEASE")
	r.RawFileSystem.Release(c, in)
}

func (r *requests) OpenDir(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	r.note("OPENDIR")
	return r.RawFileSystem.OpenDir(c, in, out)
}

func (r *requests) ReadDir(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	r.note("READDIR")
	return r.RawFileSystem.ReadDir(c, in, out)
}

func (r *requests) ReadDirPlus(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	r.note("READDIRPLUS")
	return r.RawFileSystem.ReadDirPlus(c, in, out)
}

func (r *requests) ReleaseDir(in *fuse.ReleaseIn) {
	r.note("RELEASEDIR")
	r.RawFileSystem.ReleaseDir(in)
}

func (r *requests) Statx(c <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	r.note("STATX")
	return r.RawFileSystem.Statx(c, in, out)
}
