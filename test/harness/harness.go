//go:build linux

// Package harness starts real mail servers, puts a network with faults before them, and mounts them with the program as
// a user would: the built binary, its command line, the mount. What a test starts ends with the test.
package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Run is one run of the tests: its directory, and the program built for it.
type Run struct {
	Dir    string // holds everything the tests write; on a path that an ordinary user may enter
	Binary string // mailfs, with the race detector if the tests have it

	lock    *os.File // locked: the process of this run lives
	sources sync.Once
}

// Patience is how long a test waits for what should happen at once, on a busy machine.
const Patience = 60 * time.Second

// Start checks that the machine has what the tests need, cleans away what a killed run left, and builds the program.
func Start() (*Run, error) {
	if err := missing(); err != nil {
		return nil, err
	}
	sweep()
	dir, lock, err := newDir()
	if err != nil {
		return nil, err
	}
	r := &Run{Dir: dir, Binary: filepath.Join(dir, "mailfs"), lock: lock}
	args := []string{"build", "-o", r.Binary}
	if raceDetector {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "github.com/mailfs/mailfs/cmd/mailfs")...).CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("building mailfs: %w\n%s", err, out)
	}
	return r, nil
}

// dependOn looks at every Go file of the module. go test notes the files that a test looks at, and does not repeat an old
// result once one of them has changed. The tests run the program and import nothing of it, so go test learns of it here.
func dependOn() {
	dir := "."
	for range 5 {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Join(dir, "..")
	}
	filepath.WalkDir(dir, func(name string, _ fs.DirEntry, _ error) error {
		if strings.HasSuffix(name, ".go") {
			os.Stat(name)
		}
		return nil
	})
}

// Close ends what the tests have left and removes the directory of the run. The error says what was left, and which data
// races were found in the program.
func (r *Run) Close() error {
	var left error
	if pids := r.processes(""); !poll(5*time.Second, func() bool { return !anyAlive(pids) }) {
		left = fmt.Errorf("processes of the program are left: %v", pids)
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	var races []string
	logs, _ := filepath.Glob(filepath.Join(r.Dir, "race.*"))
	for _, name := range logs {
		if b, err := os.ReadFile(name); err == nil && len(b) > 0 {
			races = append(races, string(b))
		}
	}
	for _, m := range mountsBelow(r.Dir) {
		left = errors.Join(left, fmt.Errorf("%s is still mounted", m))
		detach(m)
	}
	if err := os.RemoveAll(r.Dir); err != nil {
		left = errors.Join(left, fmt.Errorf("removing the directory of the tests: %w", err))
	}
	r.lock.Close()
	if len(races) > 0 {
		left = errors.Join(left, fmt.Errorf("data races in the program:\n%s", strings.Join(races, "\n")))
	}
	return left
}

// TempDir is like t.TempDir, but every user may enter the directory, and the directory is below Dir, where a later run
// finds a mount that was left.
func (r *Run) TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(r.Dir, "t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if len(mountsBelow(dir)) > 0 {
			return // never delete through a mount; Close unmounts
		}
		os.RemoveAll(dir)
	})
	return dir
}

// missing returns an error if this machine lacks something that the tests need. The error says what to install.
func missing() error {
	var lacks, packages []string
	for _, p := range []struct{ name, pkg string }{
		{"dovecot", "dovecot-imapd dovecot-pop3d"}, {"fusermount3", "fuse3"}, {"rsync", "rsync"},
	} {
		if _, err := lookPath(p.name); err != nil {
			lacks, packages = append(lacks, p.name), append(packages, p.pkg)
		}
	}
	for _, lib := range []string{"imap", "pop3"} {
		if _, err := os.Stat("/usr/lib/dovecot/" + lib); err != nil {
			lacks, packages = append(lacks, "dovecot's "+lib), append(packages, "dovecot-"+lib+"d")
		}
	}
	if len(lacks) > 0 {
		return fmt.Errorf("the tests need %s; install: apt-get install --no-install-recommends %s",
			strings.Join(lacks, ", "), strings.Join(packages, " "))
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("the tests mount file systems, which needs /dev/fuse (modprobe fuse; "+
			"in a container --device /dev/fuse --cap-add SYS_ADMIN): %w", err)
	}
	return f.Close()
}

// lookPath finds a program also where an ordinary user's PATH does not lead: dovecot is in sbin.
func lookPath(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	return exec.LookPath("/usr/sbin/" + name)
}

// Eventually polls until ok returns true, and fails the test if that takes longer than Patience.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !poll(Patience, ok) {
		t.Fatalf("did not happen within %v: %s", Patience, what)
	}
}

// poll calls ok until it returns true, for as long as limit, and tells whether ok did.
func poll(limit time.Duration, ok func() bool) bool {
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; !ok(); pause = min(2*pause, 100*time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
	}
	return true
}
