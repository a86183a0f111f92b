//go:build linux

package harness

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Finish runs a command of this machine to its end and returns what [exec.Cmd.Run] would. The command has a process group
// of its own. What is left of that is killed when the command ends, and when this process does. When the command takes
// longer than limit, the test fails and says what the processes of the command are at.
func Finish(t testing.TB, limit time.Duration, cmd *exec.Cmd) error {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	cmd.WaitDelay = time.Second
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Pdeathsig is sent when the thread ends that started the process
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	pid := cmd.Process.Pid
	select {
	case err := <-ended:
		syscall.Kill(-pid, syscall.SIGKILL)
		return err
	case <-time.After(limit):
	}
	at := descendants(pid)
	syscall.Kill(-pid, syscall.SIGKILL)
	select {
	case <-ended:
	case <-time.After(Patience):
		at += "SIGKILL does not end it"
	}
	t.Fatalf("%.500q: not done after %v; its processes:\n%s", cmd.Args, limit, at)
	return nil
}

// descendants describes a process and all below it: process, parent, state, where the kernel has it wait, arguments.
func descendants(root int) string {
	var b strings.Builder
	below := []int{root}
	all, _ := filepath.Glob("/proc/[0-9]*")
	parents := map[int]int{}
	for _, proc := range all {
		pid, _ := strconv.Atoi(filepath.Base(proc))
		if fields := stat(pid); len(fields) > 1 {
			parents[pid], _ = strconv.Atoi(fields[1])
		}
	}
	for i := 0; i < len(below); i++ {
		pid := below[i]
		wait, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", pid))
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		fmt.Fprintf(&b, "%d %d %c %s %.200q\n", pid, parents[pid], State(pid), wait, bytes.ReplaceAll(args, []byte{0}, []byte{' '}))
		var children []int
		for child, parent := range parents {
			if parent == pid {
				children = append(children, child)
			}
		}
		slices.Sort(children)
		below = append(below, children...)
	}
	return b.String()
}

// shellLimit is how long a script may take, on a busy machine: the longest one here needs 20 s on an idle one.
const shellLimit = 5 * time.Minute

// Shell runs a script of sh in dir and returns what it wrote on standard output. It fails the test unless it ends well.
func Shell(t testing.TB, dir, script string, args ...string) string {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-euc", script, "sh"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := Finish(t, shellLimit, cmd); err != nil {
		t.Fatalf("%s: %v\n%.1500s", script, err, &stderr)
	}
	return stdout.String()
}
