package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cmd/mailfs/process"
)

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happens: %s", what)
		}
	}
}

// childOf returns the process id of the only child of a process; 0 if it has none.
func childOf(parent int) int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, _ := os.ReadFile(path)
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	return 0
}

func alive(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// waiting starts mailfs mount with a server that never answers, and returns when the background process is connected.
func waiting(t *testing.T) (cmd *exec.Cmd, stderr *strings.Builder, child int) {
	t.Helper()
	connected := make(chan struct{}, 1)
	address := listen(t, func(conn net.Conn) {
		connected <- struct{}{}
		silent(conn)
	})
	cmd = command(t, "mount", "--tls=off", "--timeout=5m", "imap://u@"+address, ".")
	cmd.Env = append(cmd.Env, process.PasswordVariable+"=hunter2")
	stderr = &strings.Builder{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if child != 0 && alive(child) { // it goes on with its sign-in
			syscall.Kill(child, syscall.SIGKILL)
		}
	})
	select {
	case <-connected:
	case <-time.After(time.Minute):
		t.Fatalf("it never connects: %s", stderr)
	}
	if child = childOf(cmd.Process.Pid); child == 0 {
		t.Fatal("there is no background process")
	}
	return cmd, stderr, child
}

func TestPasswordIsNotInTheBackgroundProcess(t *testing.T) {
	t.Parallel()
	_, _, child := waiting(t)
	for _, file := range []string{"environ", "cmdline"} {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(child), file))
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 || strings.Contains(string(b), "hunter2") {
			t.Errorf("%s of the background process is %q", file, b)
		}
	}
}

func TestAnInterruptedMountEndsItsBackgroundProcess(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd, stderr, child := waiting(t)
		cmd.Process.Signal(s)
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 || stderr.Len() > 0 {
			t.Errorf("%v: exit status %d, %q", s, code, stderr)
		}
		if alive(child) {
			t.Errorf("%v: the background process lives on", s)
		}
	}
}

func TestMountSaysHowItsBackgroundProcessEnded(t *testing.T) {
	t.Parallel()
	cmd, stderr, child := waiting(t)
	syscall.Kill(child, syscall.SIGKILL)
	cmd.Wait()
	want := "mailfs: the background process ended unexpectedly (signal: killed)\n"
	if code := cmd.ProcessState.ExitCode(); code != 1 || stderr.String() != want {
		t.Errorf("exit status %d, %q, want %q", code, stderr, want)
	}
}

func TestABackgroundProcessWhoseParentWasKilledEnds(t *testing.T) {
	t.Parallel()
	released := make(chan struct{})
	connected := make(chan struct{}, 1)
	address := listen(t, func(conn net.Conn) { // a server that takes its time
		connected <- struct{}{}
		<-released
		script("+OK hi\r\n", "+OK\r\nUSER\r\nUIDL\r\n.\r\n", "+OK\r\n", "+OK\r\n", "+OK 0 0\r\n", "+OK\r\n.\r\n", "+OK\r\n.\r\n",
			"+OK\r\n")(conn)
	})
	cmd := command(t, "mount", "--tls=off", "pop3://u@"+address, ".")
	cmd.Env = append(cmd.Env, process.PasswordVariable+"=hunter2")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-connected
	child := childOf(cmd.Process.Pid)
	cmd.Process.Kill()
	cmd.Wait()
	close(released)
	eventually(t, "the background process ends", func() bool { return !alive(child) })
	if left, err := process.Mounts(func(at string) bool { return at == cmd.Dir }); err != nil || len(left) > 0 {
		t.Errorf("%q is mounted (%v)", left, err)
	}
}

func TestEveryByteOfAPasswordReachesTheServer(t *testing.T) {
	t.Parallel()
	password := "\x01\"\\ü\xff %s"
	got := make(chan string, 1)
	address := listen(t, func(conn net.Conn) {
		io.WriteString(conn, "+OK hi\r\n")
		for s := bufio.NewScanner(conn); s.Scan(); {
			if p, ok := strings.CutPrefix(s.Text(), "PASS "); ok {
				got <- p
			}
			if strings.HasPrefix(s.Text(), "USER") {
				io.WriteString(conn, "+OK\r\n")
			} else {
				io.WriteString(conn, "-ERR no\r\n")
			}
		}
	})
	cmd := command(t, "mount", "--tls=off", "pop3://u@"+address, ".")
	cmd.Env = append(cmd.Env, process.PasswordVariable+"="+password)
	stdout, stderr, status := runCommand(t, cmd)
	if status != 1 || stdout != "" || !strings.HasPrefix(stderr, "mailfs: "+address+": login refused for \"u\"") ||
		strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit status %d, %q, %q", status, stdout, stderr)
	}
	select {
	case p := <-got:
		if p != password {
			t.Errorf("the server got %q, want %q", p, password)
		}
	default:
		t.Error("the server got no password")
	}
}

// Each of several accounts has a line of its own.
func TestNothingIsMountedWhenAllAccountsFail(t *testing.T) {
	t.Parallel()
	address := listen(t, func(net.Conn) {})
	cmd := command(t, "mount", "--config", "c.toml", "-o", "ro,timeout=5", ".")
	write(t, cmd.Dir, "c.toml", "tls = \"off\"\n"+
		"[account.one]\nurl = \"imap://u@"+address+"\"\npassword_command = \"echo x\"\n"+
		"[account.two]\nurl = \"pop3://u@"+address+"\"\n")
	_, stderr, status := runCommand(t, cmd)
	if status != 1 || strings.Count(stderr, "\n") != 3 ||
		!strings.Contains(stderr, "mailfs: account one: "+address+": ") ||
		!strings.Contains(stderr, "mailfs: account two: "+address+": ") || !strings.Contains(stderr, "nothing is mounted") {
		t.Errorf("exit status %d, %q", status, stderr)
	}
}

// write writes a text to a new file and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
