package test

import (
	"bufio"
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

	"github.com/mailfs/mailfs/test/harness"
)

// leaveEnv makes the test program a run of its own: see [leave].
const leaveEnv = "MAILFS_TEST_LEAVE"

// leave starts a Dovecot, mounts, prints the mount point and the process of Dovecot, and waits to be killed. When its
// standard input ends instead, it leaves nothing.
func leave() (code int) {
	err := func() (err error) {
		r, err := harness.Start()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		d, err := r.StartDovecot(harness.DovecotOptions{})
		if err != nil {
			return err
		}
		defer d.Stop()
		point := filepath.Join(r.Dir, "mail")
		if err := os.Mkdir(point, 0o700); err != nil {
			return err
		}
		mount := exec.Command(r.Binary, "mount", "--cache-dir", "none", "--ca-file", d.CA,
			fmt.Sprintf("imaps://left@localhost:%d", d.IMAPS), point)
		mount.Env = append(os.Environ(), "MAILFS_PASSWORD="+harness.Password)
		if out, err := mount.CombinedOutput(); err != nil {
			return fmt.Errorf("mounting: %w: %s", err, out)
		}
		fmt.Println(point, d.Process())
		io.Copy(io.Discard, os.Stdin)
		return exec.Command(r.Binary, "umount", point).Run()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// leaver is a run that is to be killed.
type leaver struct {
	cmd     *exec.Cmd
	stderr  *harness.Output
	point   string // its mount point
	dovecot int    // id of its Dovecot's process
}

// startLeaver starts a run whose directory is below dir.
func startLeaver(t *testing.T, dir string) *leaver {
	t.Helper()
	l := &leaver{cmd: exec.Command(os.Args[0]), stderr: &harness.Output{}}
	l.cmd.Env = append(os.Environ(), leaveEnv+"=1", "TMPDIR="+dir)
	l.cmd.Stderr = l.stderr
	stdin, err := l.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if l.cmd.ProcessState != nil {
			return
		}
		stdin.Close()
		defer time.AfterFunc(2*harness.Patience, func() { l.cmd.Process.Kill() }).Stop()
		if err := l.cmd.Wait(); err != nil {
			t.Errorf("a run ends with %v\n%s", err, l.stderr)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	point, pid, _ := strings.Cut(strings.TrimSpace(line), " ")
	if l.dovecot, _ = strconv.Atoi(pid); err != nil || l.dovecot == 0 {
		t.Fatalf("the run says %q (%v)\n%s", line, err, l.stderr)
	}
	l.point = point
	return l
}

// kill kills the run's own process, and nothing that it has started.
func (l *leaver) kill() {
	l.cmd.Process.Kill()
	l.cmd.Wait()
}

func TestNextRunCleansAwayWhatAKilledRunLeft(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(run.Dir, "l") // a longer path would be too long for Dovecot's sockets
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	killed := startLeaver(t, dir)
	living := startLeaver(t, dir)
	if harness.Mounted(killed.point) != 1 || !harness.Alive(killed.dovecot) {
		t.Fatalf("a run has cleaned away what a living one has mounted\n%s", living.stderr)
	}
	// The kernel tells Dovecot when its run ends. A Dovecot that is stopped does not act on that.
	syscall.Kill(killed.dovecot, syscall.SIGSTOP)
	killed.kill()
	if harness.Mounted(killed.point) != 1 || !harness.Alive(killed.dovecot) {
		t.Fatal("nothing is left, so this test sees nothing")
	}
	next := startLeaver(t, dir)
	if harness.Mounted(killed.point) != 0 {
		t.Error("the mount of the killed run is still there")
	}
	if harness.Alive(killed.dovecot) {
		t.Error("the Dovecot of the killed run is still there")
	}
	if _, err := os.Stat(filepath.Dir(killed.point)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory of the killed run: %v, want that it is gone", err)
	}
	for _, want := range []string{"unmounting " + killed.point, fmt.Sprintf("Dovecot, process %d", killed.dovecot)} {
		if !strings.Contains(next.stderr.String(), want) {
			t.Errorf("the next run says %q, nothing of %q", next.stderr, want)
		}
	}
	if strings.Contains(next.stderr.String(), living.point) || harness.Mounted(living.point) != 1 || !harness.Alive(living.dovecot) {
		t.Errorf("what the living run has mounted and started is not there any more\n%s", next.stderr)
	}
}
