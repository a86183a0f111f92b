package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// binary is the program itself, built once for the tests that run it.
var binary string

func TestMain(m *testing.M) { os.Exit(tests(m)) }

func tests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mailfs-cmd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "mailfs")
	build := exec.Command("go", "build", "-ldflags", "-X main.version=9.8.7", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building mailfs: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// command is a call of the program without a terminal, with an empty home directory.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// runCommand runs a command to its end and returns its output and exit status.
func runCommand(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, status int) {
	t.Helper()
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), complaint.String(), cmd.ProcessState.ExitCode()
}

func TestACommandLineEndsWithItsOutputAndStatus(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		stdout string // what must be in it
		stderr string
	}{
		{args: []string{}, stdout: "Usage:"},
		{args: []string{"version"}, stdout: "mailfs 9.8.7 ("},
		{args: []string{"help", "mount"}, stdout: "--password-command"},
		{args: []string{"completion", "bash"}, stdout: "complete"},
		{args: []string{"moun"}, status: 2, stderr: `is it "mount"?`},
		{args: []string{"zzz"}, status: 2, stderr: `unknown command "zzz"; see mailfs --help`},
		{args: []string{"--version"}, stdout: "mailfs 9.8.7 ("},
		{args: []string{"cache"}, stdout: "clear"},
		{args: []string{"cache", "lits"}, status: 2, stderr: `is it "list"?`},
		{args: []string{"cache", "zzz"}, status: 2, stderr: "see mailfs cache --help"},
		{args: []string{"completion", "nonsense"}, status: 2, stderr: "see mailfs completion --help"},
		{args: []string{"help", "zzz"}, status: 2, stderr: `unknown command "zzz"`},
		{args: []string{"help", "cache", "list"}, stdout: "mailfs cache list"},
		{args: []string{"version", "x"}, status: 2, stderr: "usage: mailfs version"},
		{args: []string{"mount"}, status: 2, stderr: "usage: mailfs mount"},
		{args: []string{"mount", "imaps://a@b"}, status: 2, stderr: "MOUNTPOINT is missing"},
		{args: []string{"mount", ".", "imaps://a@b"}, status: 2, stderr: "the URL comes before MOUNTPOINT"},
		{args: []string{"mount", "--bogus", "x"}, status: 2, stderr: "unknown flag: --bogus"},
		{args: []string{"mount", "--timeout", "soon", "imaps://u@h", "."}, status: 2,
			stderr: `mailfs: --timeout: "soon" is not a length of time`},
		{args: []string{"mount", "--connections", "few", "imaps://u@h", "."}, status: 2, stderr: `mailfs: --connections: "few" is not a number`},
		{args: []string{"mount", "-o", "allow_other=perhaps", "imaps://u@h", "."}, status: 2, stderr: `"perhaps" is neither true nor false`},
		{args: []string{"mount", "--allow-other", "--uid", "no such", "imaps://u@h", "."}, status: 2, stderr: `mailfs: --uid: there is no user "no such"`},
		{args: []string{"mount", "--gid", "-1", "imaps://u@h", "."}, status: 2, stderr: `mailfs: --gid: there is no group "-1"`},
		{args: []string{"mount", "--uid", "54321", "imaps://u@h", "."}, status: 2, stderr: "only the user who mounts"},
		{args: []string{"mount", "me@example.org", "."}, status: 1, stderr: "as in imaps://me%40example.org@mail.example.org"},
		{args: []string{"mount", "imaps://u@h:many", "."}, status: 1, stderr: "the port in the URL must be a number"},
		{args: []string{"mount", "imaps://u@h", ""}, status: 2, stderr: "MOUNTPOINT is empty"},
		{args: []string{"mount", "."}, status: 2, stderr: ".config/mailfs/config.toml"},
		{args: []string{"mount", "--config", "a", "imaps://u@h", "."}, status: 2, stderr: "either a URL or --config"},
		{args: []string{"mount", "--connections", "0", "imaps://u@h", "."}, status: 2, stderr: "from 1 to 10"},
		{args: []string{"mount", "--timeout", "0", "imaps://u@h", "."}, status: 2, stderr: "--timeout 0"},
		{args: []string{"mount", "imaps://h", "."}, status: 1, stderr: "names no user"},
		{args: []string{"mount", "imaps://u@h", "."}, status: 1, stderr: "MAILFS_PASSWORD"},
		{args: []string{"mount", "imaps://u@h", "/"}, status: 1, stderr: "mountpoint"},
		{args: []string{"mount", "--log-file", "log", "imaps://u@h", "."}, status: 1, stderr: "would hide the log file"},
		{args: []string{"umount", "."}, status: 1, stderr: "no mail is mounted there"},
		{args: []string{"umount", "/proc"}, status: 1, stderr: "not mailfs (proc)"},
		{args: []string{"demo", "a", "b"}, status: 2, stderr: "usage: mailfs demo"},
		{args: []string{"demo", "--"}, status: 2, stderr: "a command is missing"},
		{args: []string{"demo", "--", "no-such-command-here"}, status: 127, stderr: "command not found"},
		{args: []string{"background"}, status: 2, stderr: "only mailfs itself"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			stdout, stderr, status := runCommand(t, command(t, c.args...))
			if status != c.status {
				t.Errorf("exit status %d, want %d", status, c.status)
			}
			if !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
				t.Errorf("it printed %q and %q", stdout, stderr)
			}
			if status != 0 && (stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "mailfs: ")) {
				t.Errorf("not one line on standard error: %q, %q", stdout, stderr)
			}
		})
	}
}
