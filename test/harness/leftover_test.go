//go:build linux

package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func TestDovecotIsRecognisedByProcessAndTimeOfStart(t *testing.T) {
	me := os.Getpid()
	for _, try := range []struct {
		recorded string
		want     []int
	}{
		{identity(me), []int{me}},
		{fmt.Sprintf("%d 1", me), nil}, // of a process that had this id before
		{fmt.Sprint(me), nil},
		{"", nil},
		{"-1 5", nil},
		{fmt.Sprintf("%d 1", 1<<30), nil},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, dovecotPrefix+"1"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, dovecotPrefix+"1", pidFile), []byte(try.recorded), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := dovecots(dir); !slices.Equal(got, try.want) {
			t.Errorf("recorded is %q: found %v, want %v", try.recorded, got, try.want)
		}
	}
}

func TestDirectoryOfALivingProcessIsNotAbandoned(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir, lock, err := newDir()
	if err != nil {
		t.Fatal(err)
	}
	if _, dead := abandoned(dir); dead {
		t.Error("a directory is abandoned whose lock is held")
	}
	lock.Close() // as the kernel does at the end of a process
	unlock, dead := abandoned(dir)
	if !dead {
		t.Fatal("a directory is not abandoned though nobody holds its lock")
	}
	if _, dead := abandoned(dir); dead {
		t.Error("two are told that they may clean a directory away")
	}
	unlock()
	if err := os.Remove(filepath.Join(dir, lockFile)); err != nil {
		t.Fatal(err)
	}
	if _, dead := abandoned(dir); dead {
		t.Error("a directory is abandoned whose process lives and has not come to lock it")
	}
}

func TestMountNamedAfterADeadProcessIsTakenAway(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a file system in memory needs root")
	}
	t.Setenv("TMPDIR", t.TempDir()) // directories of runs are another test's
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	dead, living := t.TempDir(), t.TempDir()
	for point, pid := range map[string]int{dead: ended.Process.Pid, living: os.Getpid()} {
		if err := syscall.Mount(fmt.Sprint(dirPrefix, pid), point, "tmpfs", 0, "size=64k"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Unmount(point, syscall.MNT_DETACH) })
	}
	sweep()
	if Mounted(dead) != 0 || Mounted(living) != 1 {
		t.Errorf("%d mounts of a dead process and %d of a living one, want 0 and 1", Mounted(dead), Mounted(living))
	}
}
