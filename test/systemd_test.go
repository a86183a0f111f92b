package test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// The command of the unit tells systemd that it is ready, how it is, and that it ends. systemd believes the main process
// only (NotifyAccess=main).
func TestServiceManagerHearsFromTheMainProcess(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "unit").Put("INBOX", harness.Letters(71, 3)...)
	unit, err := os.ReadFile("../cmd/mailfs/mailfs.service")
	if err != nil {
		t.Fatal(err)
	}
	_, command, _ := strings.Cut(string(unit), "\nExecStart=/usr/bin/mailfs ")
	command, _, _ = strings.Cut(command, "\n")

	dir := run.TempDir(t)
	point := filepath.Join(dir, "Mail")
	if err := os.Mkdir(point, 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1) })
	if err != nil {
		t.Fatal(err)
	}
	config := config(t, "[account.a]\nurl = %q\nca_file = %q\npassword_command = \"test -z \\\"$NOTIFY_SOCKET\\\" && echo %s\"\n", imaps("unit"), dovecot.CA,
		harness.Password)
	home := run.TempDir(t)
	if err := os.MkdirAll(filepath.Join(home, "mailfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(config, filepath.Join(home, "mailfs", "config.toml")); err != nil {
		t.Fatal(err)
	}
	cmd, _, stderr := run.Start(t, harness.Command{Args: strings.Fields(strings.ReplaceAll(command, "${MOUNTPOINT}", point)),
		Env: []string{"NOTIFY_SOCKET=" + name, "XDG_CONFIG_HOME=" + home}})
	t.Cleanup(func() {
		if harness.Mounted(point) > 0 {
			syscall.Unmount(point, syscall.MNT_DETACH)
		}
	})
	heard := func(want string) {
		t.Helper()
		text, from := make([]byte, 4096), make([]byte, syscall.CmsgSpace(syscall.SizeofUcred))
		for {
			socket.SetReadDeadline(time.Now().Add(harness.Patience))
			n, oob, _, _, err := socket.ReadMsgUnix(text, from)
			if err != nil {
				t.Fatalf("nothing like %q: %v\n%s", want, err, stderr)
			}
			messages, err := syscall.ParseSocketControlMessage(from[:oob])
			if err != nil || len(messages) != 1 {
				t.Fatalf("%d control messages: %v", len(messages), err)
			}
			sender, err := syscall.ParseUnixCredentials(&messages[0])
			if err != nil || int(sender.Pid) != cmd.Process.Pid {
				t.Fatalf("%q is from process %+v, want %d (%v)", text[:n], sender, cmd.Process.Pid, err)
			}
			if strings.Contains(string(text[:n]), want) {
				return
			}
		}
	}
	heard("READY=1\nSTATUS=" + point)
	if list := names(filepath.Join(point, "a", "INBOX")); len(list) != 3 {
		t.Errorf("in INBOX is %q", list)
	}
	heard("STATUS=" + point + "; a: 3 messages listed")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	heard("STOPPING=1\n")
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v\n%s", err, stderr)
	}
	if harness.Mounted(point) != 0 {
		t.Error("the mount is still there")
	}
}
