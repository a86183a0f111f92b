package test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// maildir returns the path of every message file of a user, which holds the folder, new or cur, and the flags.
func maildir(t *testing.T, user string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dovecot.Maildir(user), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasPrefix(d.Name(), "1") {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Reading all mail of an account, twice, by several tools, changes nothing on the server: no flag, no \Recent, no
// message.
func TestReadingChangesNothingOverIMAP(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "untouched")
	c.Make("Archive")
	c.Put("Archive", harness.Letters(20, 8)...)
	for i, mail := range harness.Letters(21, 10) {
		flags := harness.New
		if i%2 == 0 {
			flags = "S"
		}
		dovecot.Deliver(t, "untouched", i, flags, mail.Date, mail.Body)
	}
	before := c.All()
	files := maildir(t, "untouched")

	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	m := run.Mount(t, "--tls=off", "--refresh", "1s", inTheClear("untouched", proxy.Port))
	for range 2 {
		harness.Shell(t, m.Path,
			`grep -r needle . >/dev/null; find . -type f -print0 | xargs -0 cat | wc -c; ls -lR >/dev/null`)
	}
	m.Unmount(t)

	after := dovecot.Dial(t, "untouched").All()
	for mailbox, mails := range before {
		if !slices.EqualFunc(mails, after[mailbox], func(a, b harness.Mail) bool {
			return a.UID == b.UID && slices.Equal(a.Flags, b.Flags) && a.Date.Equal(b.Date)
		}) {
			t.Errorf("%q was %v, is %v", mailbox, brief(mails), brief(after[mailbox]))
		}
	}
	if now := maildir(t, "untouched"); !slices.Equal(files, now) {
		t.Errorf("the server's files were\n%s\nare\n%s", strings.Join(files, "\n"), strings.Join(now, "\n"))
	}

	// The program sends only commands that change nothing on any server.
	harmless := regexp.MustCompile(`^(\S+ (CAPABILITY|LOGIN|AUTHENTICATE|LOGOUT|NOOP|ID|ENABLE|NAMESPACE|LIST|EXAMINE|STATUS|` +
		`UNSELECT|IDLE|SEARCH|UID SEARCH|UID FETCH|FETCH|GETQUOTAROOT|GETQUOTA)\b|DONE$|[A-Za-z0-9+/=]*$|"| )`)
	loud := regexp.MustCompile(`BODY\[|RFC822[^.]|RFC822\.TEXT|BINARY\[`) // a FETCH of these sets \Seen
	said := proxy.Commands(``)
	for _, line := range said {
		if !harmless.MatchString(line) || loud.MatchString(line) {
			t.Errorf("the program said %q", line)
		}
	}
	if len(proxy.Commands(`EXAMINE`)) == 0 || len(proxy.Commands(`BODY\.PEEK\[\]`)) == 0 {
		t.Errorf("no EXAMINE or no BODY.PEEK[] in what the program said, so this test has seen nothing: %q", said)
	}
}

func brief(mails []harness.Mail) (s []string) {
	for _, m := range mails {
		s = append(s, fmt.Sprintf("%d %v", m.UID, m.Flags))
	}
	return s
}

// POP3 has no command that reads without a trace, but Dovecot marks a message as read for RETR only.
func TestReadingChangesNothingOverPOP3(t *testing.T) {
	t.Parallel()
	for i, mail := range harness.Letters(22, 10) {
		flags := "" // unread
		if i%2 == 0 {
			flags = "S"
		}
		dovecot.Deliver(t, "popuntouched", i, flags, mail.Date, mail.Body)
	}
	files := maildir(t, "popuntouched")
	proxy := run.Proxy(t, dovecot.POP3, harness.ProxyOptions{})
	m := run.Mount(t, "--tls=off", fmt.Sprintf("pop3://popuntouched@127.0.0.1:%d", proxy.Port))
	harness.Shell(t, m.Path, `find . -type f -print0 | xargs -0 cat | wc -c; ls -lR >/dev/null`)
	m.Unmount(t)
	if now := maildir(t, "popuntouched"); !slices.Equal(files, now) {
		t.Errorf("the server's files were\n%s\nare\n%s", strings.Join(files, "\n"), strings.Join(now, "\n"))
	}
	if bad := proxy.Commands(`(?i)^DELE`); len(bad) > 0 {
		t.Errorf("the program said %q", bad)
	}
	if len(proxy.Commands(`^(RETR|TOP \d+ [1-9])`)) < 10 {
		t.Error("the program has not asked for the messages, so this test has seen nothing")
	}
}

// The session ends soon after the last read, since a POP3 session locks the maildrop for all other clients.
func TestPOP3SessionEndsWhenNobodyReads(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "poplock")
	c.Put("INBOX", harness.Letters(23, 3)...)
	proxy := run.Proxy(t, dovecot.POP3, harness.ProxyOptions{})
	m := run.Mount(t, "--tls=off", "--refresh", "1h", fmt.Sprintf("pop3://poplock@127.0.0.1:%d", proxy.Port))
	if n := len(m.List(t)["INBOX"]); n != 3 {
		t.Fatalf("INBOX shows %d messages, want 3", n)
	}
	harness.Eventually(t, "the session ends with QUIT", func() bool {
		quits := len(proxy.Commands(`(?i)^QUIT$`))
		return quits > 0 && quits == len(proxy.Commands(`(?i)^STAT$`))
	})
}

func TestWritingIsRefusedWithEROFS(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "readonly")
	c.Make("Folder")
	c.Put("INBOX", harness.Letters(24, 2)...)
	m := run.Mount(t, append(trust(), imaps("readonly"))...)
	inbox := filepath.Join(m.Path, "INBOX")
	message := filepath.Join(m.Path, m.List(t)["INBOX"][0].Path())
	for _, try := range []struct {
		name string
		do   func() error
	}{
		{"create", func() error { return os.WriteFile(filepath.Join(inbox, "new.eml"), []byte("x"), 0o600) }},
		{"create at the top", func() error { return os.WriteFile(filepath.Join(m.Path, "new"), nil, 0o600) }},
		{"open for writing", func() error { return openClose(message, os.O_WRONLY) }},
		{"open for appending", func() error { return openClose(message, os.O_RDWR|os.O_APPEND) }},
		{"open with O_TRUNC", func() error { return openClose(message, os.O_WRONLY|os.O_TRUNC) }},
		{"truncate", func() error { return os.Truncate(message, 0) }},
		{"mkdir", func() error { return os.Mkdir(filepath.Join(m.Path, "New"), 0o700) }},
		{"unlink", func() error { return os.Remove(message) }},
		{"rmdir", func() error { return syscall.Rmdir(filepath.Join(m.Path, "Folder")) }},
		{"rename", func() error { return os.Rename(message, message+"2") }},
		{"rename into another folder", func() error { return os.Rename(message, filepath.Join(m.Path, "Folder", "x.eml")) }},
		{"link", func() error { return os.Link(message, message+"2") }},
		{"symlink", func() error { return os.Symlink("x", filepath.Join(inbox, "link")) }},
		{"mknod", func() error { return syscall.Mkfifo(filepath.Join(inbox, "fifo"), 0o600) }},
		{"chmod", func() error { return os.Chmod(message, 0o777) }},
		{"chmod a directory", func() error { return os.Chmod(inbox, 0o777) }},
		{"chown", func() error { return os.Chown(message, 1, 1) }},
		{"utimes", func() error { return os.Chtimes(message, time.Now(), time.Now()) }},
		{"setxattr", func() error { return syscall.Setxattr(message, "user.mail.subject", []byte("x"), 0) }},
		{"setxattr on a directory", func() error { return syscall.Setxattr(inbox, "user.x", []byte("x"), 0) }},
		{"removexattr", func() error { return syscall.Removexattr(message, "user.mail.subject") }},
	} {
		t.Run(try.name, func(t *testing.T) {
			if err := try.do(); !isErrno(err, syscall.EROFS) {
				t.Errorf("got %v, want EROFS", err)
			}
		})
	}
	if n := len(m.List(t)["INBOX"]); n != 2 {
		t.Errorf("INBOX shows %d messages after that, want 2", n)
	}
}

func openClose(path string, flag int) error {
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
