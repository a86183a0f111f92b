package test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mailfs/mailfs/test/harness"
)

// config writes a configuration file.
func config(t *testing.T, format string, args ...any) string {
	t.Helper()
	name := filepath.Join(run.TempDir(t), "config.toml")
	if err := os.WriteFile(name, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Every account is a directory. An account that can't sign in, or whose server is away, keeps no other from being mounted.
func TestAccountThatFailsKeepsNoOtherAway(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "good").Put("INBOX", harness.Letters(90, 3)...)
	dovecot.Dial(t, "pop").Put("INBOX", harness.Letters(91, 2)...)
	away := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	away.Close()
	name := config(t, `
refresh = "1s"

[account.good]
url = %q
ca_file = %q
password_command = "echo %s"

[account.bad]
url = %q
ca_file = %q
password_command = "echo %s"

[account.away]
url = %q
tls = "off"
password_command = "echo %s"

[account.pop]
url = "pop3s://pop@localhost:%d"
ca_file = %q
password_command = "printf '%%s\nsecond line' '%s'"
`, imaps("good"), dovecot.CA, harness.Password, imaps("bad"), dovecot.CA, wrongPassword,
		inTheClear("good", away.Port), harness.Password, dovecot.POP3S, dovecot.CA, harness.Password)
	m := run.MountAs(t, harness.Command{Args: []string{"--config", name}})
	if got := names(m.Path); !slices.Equal(got, []string{"away", "bad", "good", "pop"}) {
		t.Errorf("the mount holds %v", got)
	}
	for _, account := range []string{"bad", "away"} {
		if !strings.Contains(m.Stderr, account) {
			t.Errorf("mount says %q, nothing of %s", m.Stderr, account)
		}
	}
	if strings.Contains(m.Stderr, wrongPassword) || strings.Count(m.Stderr, "\n") != 2 {
		t.Errorf("mount says %q, want a line for each account that failed and no password", m.Stderr)
	}
	for account, want := range map[string]int{"good": 3, "pop": 2} {
		if n := len(names(filepath.Join(m.Path, account, "INBOX"))); n != want {
			t.Errorf("INBOX of %s shows %d messages, want %d", account, n, want)
		}
	}
	for account, want := range map[string]syscall.Errno{"bad": syscall.EACCES, "away": syscall.EHOSTDOWN} {
		if _, err := os.ReadDir(filepath.Join(m.Path, account)); !isErrno(err, want) {
			t.Errorf("directory of %s: %v, want %v", account, err, want)
		}
		if _, err := os.Stat(filepath.Join(m.Path, account, "INBOX")); !isErrno(err, want) {
			t.Errorf("INBOX of %s: %v, want %v", account, err, want)
		}
	}
	away.Open(t)
	harness.Eventually(t, "the account that was away is tried again", func() bool {
		return len(names(filepath.Join(m.Path, "away", "INBOX"))) == 3
	})
}

func TestNothingIsMountedWhenNoAccountWorks(t *testing.T) {
	t.Parallel()
	name := config(t, "[account.one]\nurl = %q\nca_file = %q\npassword_command = \"echo %s\"\n",
		imaps("none"), dovecot.CA, wrongPassword)
	point := run.TempDir(t)
	res := run.Run(t, harness.Command{Args: []string{"mount", "--config", name, point}})
	if res.Code == 0 || harness.Mounted(point) != 0 || strings.Contains(res.Stderr, wrongPassword) ||
		!strings.Contains(res.Stderr, "one") {
		t.Errorf("exit status %d, %d mounts, it says %q", res.Code, harness.Mounted(point), res.Stderr)
	}
}

func TestConfigurationIsFoundInXDGConfigHome(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "xdg").Put("INBOX", harness.Letters(92, 1)...)
	home := run.TempDir(t)
	if err := os.MkdirAll(filepath.Join(home, "mailfs"), 0o700); err != nil {
		t.Fatal(err)
	}
	content := fmt.Appendf(nil, "[account.mine]\nurl = %q\nca_file = %q\n", imaps("xdg"), dovecot.CA)
	if err := os.WriteFile(filepath.Join(home, "mailfs", "config.toml"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	m := run.MountAs(t, harness.Command{Env: []string{"XDG_CONFIG_HOME=" + home, "MAILFS_PASSWORD=" + harness.Password}})
	if n := len(names(filepath.Join(m.Path, "mine", "INBOX"))); n != 1 {
		t.Errorf("INBOX shows %d messages, want 1", n)
	}
}

// Passwords arrive at the server with every byte they have, over every way to sign in. Dovecot takes no control
// characters in them.
func TestPasswordsArriveWithEveryByte(t *testing.T) {
	t.Parallel()
	noSASL := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{Lie: harness.WithoutSASL})
	memory := run.Memory(t, "bytes", bytesFrom(1))
	memoryNoSASL := run.Proxy(t, memory.IMAP, harness.ProxyOptions{Lie: harness.WithoutSASL})
	for _, try := range []struct {
		name, password string
		args           []string
	}{
		{"AUTHENTICATE", bytesFrom(' '), append(trust(), imaps("bytes"))},
		{"AUTHENTICATE, odd", oddPassword, append(trust(), imaps("quotes"))},
		{"LOGIN", bytesFrom(' '), []string{"--tls=off", inTheClear("bytes", noSASL.Port)}},
		{"LOGIN, odd", oddPassword, []string{"--tls=off", inTheClear("quotes", noSASL.Port)}},
		{"POP3", bytesFrom(' '), append(trust(), fmt.Sprintf("pop3s://bytes@localhost:%d", dovecot.POP3S))},
		{"POP3, odd", oddPassword, append(trust(), fmt.Sprintf("pop3s://quotes@localhost:%d", dovecot.POP3S))},
		{"AUTHENTICATE, all bytes", bytesFrom(1), []string{"--tls=off", inTheClear("bytes", memory.IMAP)}},
		{"LOGIN, all bytes", bytesFrom(1), []string{"--tls=off", inTheClear("bytes", memoryNoSASL.Port)}},
	} {
		t.Run(try.name, func(t *testing.T) {
			m := run.MountAs(t, harness.Command{Args: try.args, Env: []string{"MAILFS_PASSWORD=" + try.password}})
			if got := names(m.Path); !slices.Contains(got, "INBOX") {
				t.Errorf("the mount holds %v", got)
			}
			m.Unmount(t)
			code := base64.StdEncoding.EncodeToString([]byte(try.password))
			command := []string{"--password-command", "echo " + code + " | base64 -d; echo"}
			m = run.MountAs(t, harness.Command{Args: append(command, try.args...)})
			if got := names(m.Path); !slices.Contains(got, "INBOX") {
				t.Errorf("with a command, the mount holds %v", got)
			}
		})
	}
	for _, proxy := range []*harness.Proxy{noSASL, memoryNoSASL} {
		if len(proxy.Commands(` LOGIN `)) == 0 {
			t.Error("nobody has used LOGIN, so this test has seen only half of what it should")
		}
	}
}

// A user name may hold characters that a URL encodes.
func TestUserNameIsDecodedFromTheURL(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "me@example.org").Put("INBOX", harness.Letters(93, 2)...)
	m := run.Mount(t, append(trust(), imaps("me%40example.org"))...)
	if n := len(m.List(t)["INBOX"]); n != 2 {
		t.Errorf("INBOX shows %d messages, want 2", n)
	}
}

// No other process can see the password, and the log does not hold it.
func TestPasswordIsNowhereThatOthersSee(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "secret").Put("INBOX", harness.Letters(94, 2)...)
	m := run.Mount(t, append(trust(), "--log-level", "debug", imaps("secret"))...)
	harness.Shell(t, m.Path, `cat INBOX/* >/dev/null`)
	pid := m.Process(t)
	for _, name := range []string{"environ", "cmdline", "mountinfo"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(harness.Password)) {
			t.Errorf("the password is in the background process's %s", name)
		}
	}
	if strings.Contains(m.Stderr, harness.Password) {
		t.Errorf("mount says %q", m.Stderr)
	}
	b, err := os.ReadFile(m.Log)
	if err != nil || len(b) == 0 {
		t.Fatalf("no log: %v", err)
	}
	if bytes.Contains(b, []byte(harness.Password)) {
		t.Error("the password is in the log")
	}
}

func TestPasswordCommandIsAskedAndItsFailureTold(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "command").Put("INBOX", harness.Letters(95, 2)...)
	dir := run.TempDir(t)
	seen := filepath.Join(dir, "seen")
	name := config(t, "[account.x]\nurl = %q\nca_file = %q\npassword_command = \"env >%s; echo %s\"\n\n"+
		"[account.y]\nurl = %q\nca_file = %q\n",
		imaps("command"), dovecot.CA, seen, harness.Password, imaps("command"), dovecot.CA)
	m := run.MountAs(t, harness.Command{Args: []string{"--config", name}, Env: []string{"MAILFS_PASSWORD=" + wrongPassword}})
	if n := len(names(filepath.Join(m.Path, "x", "INBOX"))); n != 2 {
		t.Errorf("INBOX shows %d messages, want 2", n)
	}
	env, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(env), "MAILFS_PASSWORD") || !strings.Contains(string(env), "PATH=") {
		t.Errorf("password_command sees\n%s", env)
	}

	for _, try := range []struct{ command, timeout, says string }{
		{"echo no such entry >&2; exit 3", "30s", `no such entry`},
		{"exit 3", "30s", `3`},
		{"true", "30s", `password`},
		{"sleep 1000", "2s", `password`},
		{"echo " + wrongPassword, "30s", `login|password|sign`},
	} {
		t.Run(try.command, func(t *testing.T) {
			t.Parallel()
			point := run.TempDir(t)
			args := append([]string{"mount", "--timeout", try.timeout, "--password-command", try.command}, trust()...)
			res := run.Run(t, harness.Command{Args: append(args, imaps("command"), point)})
			if harness.Mounted(point) != 0 {
				t.Error("something is mounted")
			}
			checkRefusal(t, res, try.says)
		})
	}
}
