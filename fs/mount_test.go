//go:build linux

package fs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
)

func TestAnAccountThatFailsLeavesTheOthersReadable(t *testing.T) {
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

func TestMountinfoShowsTypeSourceAndOptions(t *testing.T) {
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

func TestMountingOnAMissingDirectoryFails(t *testing.T) {
	c := cache.New(cache.Options{Memory: 1, Refresh: time.Hour, Timeout: time.Second})
	defer c.Close()
	a := cacheAccount(t, c, "", newSynthetic(nil))
	where := filepath.Join(t.TempDir(), "nowhere")
	if s, err := Mount(where, []*cache.Account{a}, true, options()); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("Mount = %v, %v", s, err)
	}
}

func TestABusyMountStays(t *testing.T) {
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

// Also after a remount with rw, of which mailfs is not told.
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

func TestStatfsAddsUpTheQuotas(t *testing.T) {
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
