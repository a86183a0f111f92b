package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal, with everything that was written to it.
type terminal struct {
	*os.File
	far *os.File

	mu   sync.Mutex // guards said
	said strings.Builder
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	n, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	far, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	tty := &terminal{File: near, far: far}
	go func() { // until the terminal is closed
		for b := make([]byte, 1024); ; {
			n, err := near.Read(b)
			tty.mu.Lock()
			tty.said.Write(b[:n])
			tty.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return tty
}

func (tty *terminal) text() string {
	tty.mu.Lock()
	defer tty.mu.Unlock()
	return tty.said.String()
}

// echoes tells whether the terminal shows what is typed.
func (tty *terminal) echoes(t *testing.T) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.far.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// command returns the program, to be started on the terminal.
func (tty *terminal) command(t *testing.T, args ...string) *exec.Cmd {
	cmd := command(t, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	cmd.ExtraFiles = []*os.File{tty.far}
	return cmd
}

func TestMountAsksForUserAndPassword(t *testing.T) {
	t.Parallel()
	lines := make(chan string, 10)
	address := listen(t, func(conn net.Conn) {
		fmt.Fprint(conn, "+OK hi\r\n")
		for b := make([]byte, 1024); ; {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			for l := range strings.Lines(string(b[:n])) {
				lines <- strings.TrimSpace(l)
			}
			fmt.Fprint(conn, "-ERR no\r\n")
		}
	})
	tty := openTerminal(t)
	cmd := tty.command(t, "mount", "--tls=off", "--timeout=10s", "pop3://"+address, ".")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it asks for the user", func() bool { return strings.HasSuffix(tty.text(), ": ") })
	fmt.Fprint(tty, "me@example.org\n")
	eventually(t, "it asks for the password", func() bool {
		return strings.Contains(tty.text(), "Password for pop3://me%40example.org@"+address+": ") && !tty.echoes(t)
	})
	fmt.Fprint(tty, "hunter2\n")
	cmd.Wait()
	if !strings.Contains(stderr.String(), `login refused for "me@example.org"`) {
		t.Errorf("it says %q", &stderr)
	}
	if strings.Contains(tty.text(), "hunter2") || !tty.echoes(t) {
		t.Errorf("the terminal shows %q, and echoes: %v", tty.text(), tty.echoes(t))
	}
	user := ""
	for len(lines) > 0 {
		if l := <-lines; strings.HasPrefix(l, "USER ") {
			user = l
		}
	}
	if user != "USER me@example.org" {
		t.Errorf("the server got %q", user)
	}
}

func TestAnInterruptedQuestionLeavesTheTerminalAsItWas(t *testing.T) {
	t.Parallel()
	tty := openTerminal(t)
	cmd := tty.command(t, "mount", "imaps://me@mail.invalid", ".")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it asks", func() bool { return strings.Contains(tty.text(), "Password") && !tty.echoes(t) })
	fmt.Fprint(tty, "hun\x03")
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit status %d", code)
	}
	if !tty.echoes(t) {
		t.Error("the terminal does not echo any more")
	}
}

// A server would count it as a wrong password.
func TestAnEmptyPasswordIsNotTried(t *testing.T) {
	t.Parallel()
	tty := openTerminal(t)
	cmd := tty.command(t, "mount", "imaps://me@mail.invalid", ".")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it asks", func() bool { return strings.Contains(tty.text(), "Password") && !tty.echoes(t) })
	fmt.Fprint(tty, "\n")
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "the password is empty") {
		t.Errorf("exit status %d, %q", code, &stderr)
	}
}
