//go:build linux

package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A run may be killed, by go test's own timeout too, and then leaves its mounts and processes. The next run recognises
// them by the directory that they are in. The directory names the process of its run and holds a file that this process
// keeps locked until it ends, however it ends.
const (
	dirPrefix = "mailfs-test-"
	lockFile  = "lock"

	dovecotPrefix = "d"   // of the directory of a Dovecot; short, since a path to a socket has at most 107 bytes
	pidFile       = "pid" // in the directory of a Dovecot: its process, see [identity]
)

// newDir makes the directory of a run and locks it for as long as this process lives.
func newDir() (dir string, lock *os.File, err error) {
	dir, err = os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", nil, fmt.Errorf("making the directory of the tests: %w", err)
	}
	name := filepath.Join(dir, lockFile)
	lock, err = os.Create(name + ".new")
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
	}
	if err == nil { // under this name nobody sees the file unlocked
		err = os.Rename(name+".new", name)
	}
	return dir, lock, errors.Join(err, os.Chmod(dir, 0o755))
}

// sweep cleans away what runs left that no longer live, and says so on standard error.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		unlock, dead := abandoned(dir)
		if !dead {
			continue
		}
		if err := clean(dir, "left by an earlier run"); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		unlock()
	}
	// The tests of the package fs mount elsewhere, and give the id of their process as what is mounted.
	for _, m := range mounts() {
		pid, ours := strings.CutPrefix(m.source, dirPrefix)
		if n, err := strconv.Atoi(pid); ours && err == nil && !Alive(n) {
			fmt.Fprintf(os.Stderr, "unmounting %s, left by an earlier run\n", m.point)
			detach(m.point)
		}
	}
}

// abandoned tells whether a directory is of a run of this user whose process has ended. Until unlock, no other process
// is told the same of it.
func abandoned(dir string) (unlock func(), dead bool) {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || int(info.Sys().(*syscall.Stat_t).Uid) != os.Getuid() {
		return nil, false
	}
	pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
	n, err := strconv.Atoi(pid)
	if err != nil {
		return nil, false
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) { // a run that has not come to lock it, or was killed before
		return func() {}, !Alive(n)
	}
	if err != nil {
		return nil, false
	}
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		lock.Close()
		return nil, false
	}
	return func() { lock.Close() }, true
}

// clean unmounts what is mounted below the directory of a run, ends the processes of the run, and removes the directory.
// It tells on standard error what it found, and why that was there. It returns an error if something remains.
func clean(dir, why string) error {
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%s, %s\n", fmt.Sprintf(format, args...), why)
	}
	for _, m := range mountsBelow(dir) {
		say("unmounting %s", m)
		detach(m)
	}
	programs, dovecots := programs(dir), dovecots(dir)
	for _, pid := range dovecots {
		say("ending Dovecot, process %d", pid)
	}
	pids := append(programs, dovecots...)
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGTERM)
	}
	if !poll(5*time.Second, func() bool { return !anyAlive(pids) }) {
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, pid := range dovecots {
			syscall.Kill(-pid, syscall.SIGKILL) // the processes that it has started, see [Dovecot.launch]
		}
	}
	for _, m := range mountsBelow(dir) { // by a process that was about to mount
		detach(m)
	}
	if left := mountsBelow(dir); len(left) > 0 { // never delete through a mount
		return fmt.Errorf("%s is still mounted, %s", strings.Join(left, ", "), why)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing what was %s: %w", why, err)
	}
	return nil
}

// programs returns the processes of programs that were built into the directory of a run.
func programs(dir string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range all {
		if exe, err := os.Readlink(proc + "/exe"); err == nil && strings.HasPrefix(exe, dir+"/") {
			if pid, err := strconv.Atoi(filepath.Base(proc)); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// dovecots returns the processes of the Dovecots of a run that still live.
func dovecots(dir string) (pids []int) {
	files, _ := filepath.Glob(filepath.Join(dir, dovecotPrefix+"*", pidFile))
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(b), " ")
		if pid, err := strconv.Atoi(first); err == nil && pid > 1 && identity(pid) == string(b) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// identity is the id of a process and the time at which the process started, in clock ticks after the machine did: no two
// processes have both in common. It is empty when there is no such process.
func identity(pid int) string {
	fields := stat(pid)
	if len(fields) < 20 {
		return ""
	}
	return fmt.Sprintf("%d %s", pid, fields[22-3])
}
