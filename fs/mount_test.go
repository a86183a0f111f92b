//go:build linux

package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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

// mapEnv names the file that the test program, run once more, maps into memory and prints.
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

// mountWith is mountFor with accounts that are kept as o says.
func mountWith(t testing.TB, refresh time.Duration, accounts map[string]*synthetic, o cache.AccountOptions) *mounted {
	t.Helper()
	c := cache.New(cache.Options{Memory: 64 << 20, Disk: 1 << 30, Refresh: refresh, Timeout: 30 * time.Second})
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
	deadline := time.Now().Add(10 * time.Second)
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

func TestMountOfManyAccounts(t *testing.T) {
	good, bad := newSynthetic(map[string]int{"INBOX": 3}), newSynthetic(map[string]int{"INBOX": 3})
	bad.refusal = remote.ErrLogin
	m := mountFor(t, time.Nanosecond, map[string]*synthetic{"good": good, "bad": bad})
	if got := m.names(t); !slices.Equal(got, []string{"bad", "good"}) {
		t.Errorf("the root lists %q", got)
	}
	if got := m.names(t, "good", "INBOX"); len(got) != 3 {
		t.Errorf("INBOX lists %q", got)
	}
	if _, err := os.ReadDir(m.path("bad")); !errors.Is(err, syscall.EACCES) {
		t.Errorf("listing an account that can't log in: %v", err)
	}
	if _, err := os.Stat(m.path("bad", "INBOX")); !errors.Is(err, syscall.EACCES) {
		t.Errorf("looking into an account that can't log in: %v", err)
	}
	bad.set(func() { bad.refusal = remote.ErrUnreachable })
	if _, err := os.ReadDir(m.path("bad")); !errors.Is(err, syscall.EHOSTDOWN) {
		t.Errorf("listing an account that can't be reached: %v", err)
	}
	bad.set(func() { bad.refusal = nil })
	if got := m.names(t, "bad", "INBOX"); len(got) != 3 {
		t.Errorf("INBOX lists %q", got)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(m.dir, &st); err != nil || st.Nlink != 4 || st.Ino != rootInode || st.Mode&0o777 != 0o500 {
		t.Errorf("%+v %v", st, err)
	}
}

func TestMountShowsWhatItIs(t *testing.T) {
	m := mountOne(t, newSynthetic(map[string]int{"INBOX": 1}))
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(info) {
		if bytes.Contains(line, []byte(" "+m.dir+" ")) {
			for _, want := range []string{" ro,", "nosuid", "nodev", "noatime", " fuse.mailfs " + options().FSName + " ", "default_permissions"} {
				if !bytes.Contains(line, []byte(want)) {
					t.Errorf("no %q in %s", want, line)
				}
			}
			return
		}
	}
	t.Errorf("%s is not in mountinfo", m.dir)
}

func TestMountOnNothing(t *testing.T) {
	c := cache.New(cache.Options{Memory: 1, Refresh: time.Hour, Timeout: time.Second})
	defer c.Close()
	a := cacheAccount(t, c, "", newSynthetic(nil))
	where := filepath.Join(t.TempDir(), "nowhere")
	if s, err := Mount(where, []*cache.Account{a}, true, options()); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("Mount = %v, %v", s, err)
	}
}

func TestUnmountOfABusyMount(t *testing.T) {
	m := mountOne(t, newSynthetic(map[string]int{"INBOX": 1}))
	f, err := os.Open(m.path("INBOX"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.server.Unmount(); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("Unmount = %v", err)
	}
	f.Close()
	if got := m.names(t, "INBOX"); len(got) != 1 {
		t.Errorf("INBOX lists %q", got)
	}
}

func TestWaitEndsWithAnUnmountFromOutside(t *testing.T) {
	c := cache.New(cache.Options{Memory: 1, Refresh: time.Hour, Timeout: time.Second})
	defer c.Close()
	a := cacheAccount(t, c, "", newSynthetic(map[string]int{"INBOX": 1}))
	dir := t.TempDir()
	s, err := Mount(dir, []*cache.Account{a}, true, options())
	if err != nil {
		t.Fatal(err)
	}
	run(t, "umount", dir)
	s.Wait()
}

// Nothing can be changed, not even when somebody remounts with rw, which fuse has no say in.
func TestNothingCanBeChanged(t *testing.T) {
	m := mountOne(t, newSynthetic(map[string]int{"INBOX": 1}))
	file := m.path("INBOX", m.names(t, "INBOX")[0])
	for _, mode := range []string{"ro", "rw"} {
		if mode == "rw" {
			if err := syscall.Mount("", m.dir, "", syscall.MS_REMOUNT|syscall.MS_NOSUID|syscall.MS_NODEV, ""); err != nil {
				t.Fatal(err)
			}
		}
		for what, err := range map[string]error{
			"write":       open(file, os.O_WRONLY),
			"read+write":  open(file, os.O_RDWR),
			"truncate":    os.Truncate(file, 0),
			"create":      open(file+"x", os.O_CREATE|os.O_WRONLY),
			"remove":      os.Remove(file),
			"rmdir":       syscall.Rmdir(m.path("INBOX")),
			"mkdir":       os.Mkdir(m.path("new"), 0o700),
			"rename":      os.Rename(file, file+"x"),
			"link":        os.Link(file, file+"x"),
			"symlink":     os.Symlink("x", m.path("INBOX", "x")),
			"chmod":       os.Chmod(file, 0o600),
			"chtimes":     os.Chtimes(file, time.Now(), time.Now()),
			"mkfifo":      syscall.Mkfifo(m.path("INBOX", "x"), 0o600),
			"setxattr":    syscall.Setxattr(file, "user.mail.subject", []byte("x"), 0),
			"removexattr": syscall.Removexattr(file, "user.mail.subject"),
		} {
			if !errors.Is(err, syscall.EROFS) {
				t.Errorf("%s: %s: %v", mode, what, err)
			}
		}
	}
	if got := m.names(t, "INBOX"); len(got) != 1 {
		t.Errorf("INBOX lists %q", got)
	}
}

func open(name string, flags int) error {
	f, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, "x")
	return errors.Join(err, f.Close())
}

func TestDiskFree(t *testing.T) {
	a, b := newSynthetic(map[string]int{"INBOX": 1}), newSynthetic(map[string]int{"INBOX": 1})
	m := mountFor(t, time.Hour, map[string]*synthetic{"a": a, "b": b})
	a.set(func() { a.quota = [2]int64{1 << 20, 10 << 20} })
	var st syscall.Statfs_t
	if err := syscall.Statfs(m.path("a"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks*uint64(st.Bsize) != 10<<20 || st.Bfree*uint64(st.Bsize) != 9<<20 || st.Namelen != 255 {
		t.Errorf("%+v", st)
	}
}
