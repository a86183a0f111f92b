//go:build linux

package harness

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Command is one call of the program.
type Command struct {
	Args  []string
	Env   []string            // beside PATH, a HOME of its own, and the settings of the race detector
	User  *syscall.Credential // nil: the user who runs the tests
	Limit time.Duration       // default Patience
}

// Result is how a call ended.
type Result struct {
	Stdout, Stderr string
	Code           int // exit status; 128+signal when it was killed
}

// Run runs the program to its end. A program has not ended while a process that it has left holds its output open.
func (r *Run) Run(t testing.TB, c Command) Result {
	t.Helper()
	if c.Limit == 0 {
		c.Limit = Patience
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Limit)
	defer cancel()
	cmd := r.cmd(ctx, t, c)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("mailfs %s: not done after %v\n%s%s", strings.Join(c.Args, " "), c.Limit, &stdout, &stderr)
	}
	res := Result{Stdout: stdout.String(), Stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		res.Code = exit.ExitCode()
		if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
			res.Code = 128 + int(w.Signal())
		}
	case err != nil:
		t.Fatalf("mailfs %s: %v\n%s", strings.Join(c.Args, " "), err, &stderr)
	}
	return res
}

// Start starts the program and returns while it runs. It is killed at the end of the test.
func (r *Run) Start(t testing.TB, c Command) (cmd *exec.Cmd, stdout, stderr *Output) {
	t.Helper()
	cmd = r.cmd(context.Background(), t, c)
	stdout, stderr = &Output{}, &Output{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return cmd, stdout, stderr
}

func (r *Run) cmd(ctx context.Context, t testing.TB, c Command) *exec.Cmd {
	r.sources.Do(dependOn)
	home := r.TempDir(t)
	cmd := exec.CommandContext(ctx, r.Binary, c.Args...)
	cmd.Dir = home
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, "config"),
		"XDG_CACHE_HOME=" + filepath.Join(home, "cache"), "LC_ALL=C.UTF-8",
		"GORACE=atexit_sleep_ms=0 log_path=" + filepath.Join(r.Dir, "race"),
	}, c.Env...)
	if c.User != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.User}
		if err := os.Chown(home, int(c.User.Uid), int(c.User.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return cmd
}

// Mount is a mounted account, or all accounts of a configuration.
type Mount struct {
	Path   string
	Stderr string // what mailfs mount wrote to standard error
	Log    string // the file to which the background process logs

	run  *Run
	user *syscall.Credential
}

// Mount mounts with `mailfs mount ARGS MOUNTPOINT` and the usual password, and unmounts at the end of the test. It fails
// the test if that can't be done.
func (r *Run) Mount(t testing.TB, args ...string) *Mount {
	t.Helper()
	return r.MountAs(t, Command{Args: args, Env: []string{"MAILFS_PASSWORD=" + Password}})
}

// MountAs is Mount with another environment or user. Args stand between mount and the mount point.
func (r *Run) MountAs(t testing.TB, c Command) *Mount {
	t.Helper()
	dir := r.TempDir(t)
	m := &Mount{Path: filepath.Join(dir, "mail"), Log: filepath.Join(dir, "log"), run: r, user: c.User}
	if err := os.Mkdir(m.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	if c.User != nil {
		for _, p := range []string{dir, m.Path} {
			if err := os.Chown(p, int(c.User.Uid), int(c.User.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.Again(t, c)
	return m
}

// Again mounts at the same place once more.
func (m *Mount) Again(t testing.TB, c Command) {
	t.Helper()
	args := []string{"mount", "--log-file", m.Log, "--log-level", "debug"}
	// No test waits for a timeout that it does not give itself: a busy machine is not to run into it, and what only goes on
	// after it is to be seen as hanging.
	if !slices.ContainsFunc(c.Args, func(arg string) bool { return strings.Contains(arg, "timeout") || arg == "--config" }) {
		args = append(args, "--timeout", "10m")
	}
	args = append(args, c.Args...)
	c.Args = append(args, m.Path)
	res := m.run.Run(t, c)
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(m.Log)
			t.Logf("mailfs said: %s\nits log ends:\n%s", m.Stderr, b[max(0, len(b)-6000):])
		}
		m.end()
	})
	m.Stderr = res.Stderr
	if res.Code != 0 {
		t.Fatalf("mailfs %s: exit status %d\n%s", strings.Join(c.Args, " "), res.Code, res.Stderr)
	}
	if Mounted(m.Path) == 0 {
		t.Fatalf("mailfs mount has returned, but nothing is mounted at %s", m.Path)
	}
}

// Unmount unmounts with `mailfs umount` and waits until the background process has ended.
func (m *Mount) Unmount(t testing.TB) {
	t.Helper()
	pids := m.Processes()
	res := m.run.Run(t, Command{Args: []string{"umount", m.Path}, User: m.user})
	if res.Code != 0 {
		t.Fatalf("mailfs umount: exit status %d\n%s", res.Code, res.Stderr)
	}
	if Mounted(m.Path) != 0 {
		t.Fatal("mailfs umount has returned 0, but the mount is still there")
	}
	Eventually(t, "the background process ends after umount", func() bool { return !anyAlive(pids) })
}

// end unmounts and ends the processes of the mount, whatever state they are in.
func (m *Mount) end() {
	pids := m.Processes()
	for Mounted(m.Path) > 0 && detach(m.Path) == nil {
	}
	if poll(5*time.Second, func() bool { return !anyAlive(pids) }) {
		return
	}
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// Processes returns the ids of the program's processes that serve this mount.
func (m *Mount) Processes() []int { return m.run.processes(m.Path) }

func (r *Run) processes(mountpoint string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if exe, err := os.Readlink(dir + "/exe"); err != nil || exe != r.Binary {
			continue
		}
		args, _ := os.ReadFile(dir + "/cmdline")
		env, _ := os.ReadFile(dir + "/environ")
		if !bytes.Contains(args, []byte(mountpoint)) && !bytes.Contains(env, []byte(mountpoint)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Process returns the id of the background process. There must be one.
func (m *Mount) Process(t testing.TB) int {
	t.Helper()
	pids := m.Processes()
	if len(pids) != 1 {
		t.Fatalf("%d processes serve %s, want 1", len(pids), m.Path)
	}
	return pids[0]
}

func anyAlive(pids []int) bool {
	for _, pid := range pids {
		if Alive(pid) {
			return true
		}
	}
	return false
}

// Alive tells whether a process runs. A zombie does not.
func Alive(pid int) bool {
	s := State(pid)
	return s != 0 && s != 'Z' && s != 'X'
}

// State returns the state letter of a process as in proc_pid_stat(5), 0 when there is none.
func State(pid int) byte {
	if fields := stat(pid); len(fields) > 0 {
		return fields[0][0]
	}
	return 0
}

// stat returns what proc_pid_stat(5) says of a process, from the third field on; nil when there is no such process.
func stat(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the second is a name, which may hold anything
}
