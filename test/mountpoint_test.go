package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/mailfs/mailfs/test/harness"
)

func withPassword(args ...string) harness.Command {
	return harness.Command{Args: args, Env: []string{"MAILFS_PASSWORD=" + harness.Password}}
}

func TestMountOfAKilledProcessIsReplaced(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "killed").Put("INBOX", harness.Letters(80, 3)...)
	held := dovecot.Dial(t, "killed").All()
	args := append(trust(), imaps("killed"))
	m := run.Mount(t, args...)
	for range 2 {
		pid := m.Process(t)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "the process is dead", func() bool { return !harness.Alive(pid) })
		if harness.Mounted(m.Path) != 1 {
			t.Fatal("the kernel has removed the dead mount by itself, so this test sees nothing")
		}
		m.Again(t, withPassword(args...))
		if n := harness.Mounted(m.Path); n != 1 {
			t.Errorf("%d mounts stand on the mount point, want 1", n)
		}
		m.Compare(t, held, nil)
	}
	pid := m.Process(t)
	syscall.Kill(pid, syscall.SIGKILL)
	harness.Eventually(t, "the process is dead", func() bool { return !harness.Alive(pid) })
	m.Unmount(t) // mailfs umount also takes away a mount whose process is dead
}

func TestSecondMountAtTheSamePlaceIsRefused(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "twice").Put("INBOX", harness.Letters(81, 2)...)
	m := run.Mount(t, append(trust(), imaps("twice"))...)
	res := run.Run(t, withPassword(append(append([]string{"mount"}, trust()...), imaps("twice"), m.Path)...))
	checkRefusal(t, res, `already`)
	if n := harness.Mounted(m.Path); n != 1 {
		t.Errorf("%d mounts stand on the mount point, want 1", n)
	}
	if n := len(m.List(t)["INBOX"]); n != 2 {
		t.Errorf("the first mount shows %d messages after that, want 2", n)
	}
}

func TestUmountRefusesABusyMountAndEndsAnIdleOne(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "umount").Put("INBOX", harness.Letters(82, 2)...)
	m := run.Mount(t, append(trust(), imaps("umount"))...)

	busy := exec.Command("sleep", "1000")
	busy.Dir = filepath.Join(m.Path, "INBOX")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	defer busy.Wait()
	defer busy.Process.Kill()
	res := run.Run(t, harness.Command{Args: []string{"umount", m.Path}})
	checkRefusal(t, res, `busy|use`)
	if harness.Mounted(m.Path) != 1 || len(names(filepath.Join(m.Path, "INBOX"))) != 2 {
		t.Error("a refused umount has changed the mount")
	}
	busy.Process.Kill()
	busy.Wait()
	m.Unmount(t)
	checkRefusal(t, run.Run(t, harness.Command{Args: []string{"umount", m.Path}}), `mount`)
	checkRefusal(t, run.Run(t, harness.Command{Args: []string{"umount", "/proc"}}), `mailfs`)
	checkRefusal(t, run.Run(t, harness.Command{Args: []string{"umount", filepath.Join(m.Path, "nothing")}}), `mount`)
}

// umount(8), fusermount3 and signals unmount as well. The process ends and leaves nothing.
func TestProcessEndsWhenOthersUnmount(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "outside").Put("INBOX", harness.Letters(83, 2)...)
	for _, way := range []struct {
		name string
		end  func(m *harness.Mount, pid int) error
	}{
		{"umount(8)", func(m *harness.Mount, _ int) error {
			return harness.Finish(t, harness.Patience, exec.Command("umount", m.Path))
		}},
		{"fusermount3", func(m *harness.Mount, _ int) error {
			return harness.Finish(t, harness.Patience, exec.Command("fusermount3", "-u", m.Path))
		}},
		{"SIGTERM", func(_ *harness.Mount, pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }},
		{"SIGINT", func(_ *harness.Mount, pid int) error { return syscall.Kill(pid, syscall.SIGINT) }},
		{"SIGHUP", func(_ *harness.Mount, pid int) error { return syscall.Kill(pid, syscall.SIGHUP) }},
	} {
		t.Run(way.name, func(t *testing.T) {
			m := run.Mount(t, append(trust(), imaps("outside"))...)
			harness.Shell(t, m.Path, `grep -r needle . >/dev/null || true`)
			pid := m.Process(t)
			if err := way.end(m, pid); err != nil {
				t.Fatal(err)
			}
			harness.Eventually(t, "the mount is gone", func() bool { return harness.Mounted(m.Path) == 0 })
			harness.Eventually(t, "the process ends", func() bool { return !harness.Alive(pid) })
		})
	}
}

// A signal unmounts even when a process has its working directory in the mount.
func TestSignalUnmountsABusyMount(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "busysignal").Put("INBOX", harness.Letters(84, 2)...)
	m := run.Mount(t, append(trust(), imaps("busysignal"))...)
	busy := exec.Command("sleep", "1000")
	busy.Dir = filepath.Join(m.Path, "INBOX")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	defer busy.Wait()
	defer busy.Process.Kill()
	pid := m.Process(t)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the mount is gone", func() bool { return harness.Mounted(m.Path) == 0 })
	harness.Eventually(t, "the process ends", func() bool { return !harness.Alive(pid) })
}

func TestForegroundMountEndsWithCtrlC(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "foreground").Put("INBOX", harness.Letters(85, 2)...)
	point := run.TempDir(t)
	args := append(append([]string{"mount", "-f"}, trust()...), imaps("foreground"), point)
	cmd, _, stderr := run.Start(t, withPassword(args...))
	harness.Eventually(t, "mount -f mounts", func() bool { return len(names(filepath.Join(point, "INBOX"))) == 2 })
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v; it said %q", err, stderr)
	}
	if harness.Mounted(point) != 0 {
		t.Error("after Ctrl-C it is still mounted")
	}
}

// mailfs mount takes the options of fstab. Mount points and files may be relative paths. The background process keeps no
// directory busy.
func TestMountTakesOptionsOfFstabAndRelativePaths(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "options").Put("INBOX", harness.Letters(86, 2)...)
	m := run.Mount(t, "-o", "ro,_netdev,nofail,x-systemd.automount,noatime,defaults,ca_file="+dovecot.CA+
		",refresh=5s,timeout=20", imaps("options"))
	if n := len(m.List(t)["INBOX"]); n != 2 {
		t.Errorf("INBOX shows %d messages, want 2", n)
	}
	pid := m.Process(t)
	for link, want := range map[string]string{"cwd": "/", "fd/0": "/dev/null"} {
		if got, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/" + link); err != nil || got != want {
			t.Errorf("%s of the background process is %q (%v), want %q", link, got, err, want)
		}
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	if session := strings.Fields(after)[3]; session != strconv.Itoa(pid) {
		t.Errorf("the background process is in session %s, not in its own", session)
	}

	dir := run.TempDir(t)
	if err := os.Mkdir(filepath.Join(dir, "here"), 0o700); err != nil {
		t.Fatal(err)
	}
	ca, err := filepath.Rel(dir, dovecot.CA)
	if err != nil {
		t.Fatal(err)
	}
	harness.Shell(t, dir, `MAILFS_PASSWORD=$1 XDG_CACHE_HOME=$PWD/cache "$2" mount --ca-file "$3" "$4" here; "$2" umount here`,
		harness.Password, run.Binary, ca, imaps("options"))
	if harness.Mounted(filepath.Join(dir, "here")) != 0 {
		t.Error("umount of a relative path has left the mount")
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	for _, try := range []struct {
		args []string
		says []string
	}{
		{[]string{"version"}, []string{"mailfs", "go1."}},
		{[]string{"help"}, []string{"mount", "umount", "demo"}},
		{[]string{"mount", "--help"}, []string{"--ca-file", "--tls", "--password-command", "--refresh", "MOUNTPOINT"}},
		{[]string{"completion", "bash"}, []string{"mailfs"}},
	} {
		res := run.Run(t, harness.Command{Args: try.args})
		for _, s := range try.says {
			if res.Code != 0 || !strings.Contains(res.Stdout, s) {
				t.Errorf("mailfs %v: exit status %d, and nothing of %s in %q", try.args, res.Code, s, res.Stdout)
			}
		}
	}
	for _, args := range [][]string{{"nonsense"}, {"mount"}, {"umount"}} {
		if res := run.Run(t, harness.Command{Args: args}); res.Code == 0 || res.Stderr == "" {
			t.Errorf("mailfs %v: exit status %d, %q", args, res.Code, res.Stderr)
		}
	}
}
