package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// cp -r copies every byte though the connection is cut once, wherever that is.
func TestCopyLosesNoByteWhenItsConnectionIsCut(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "cut")
	c.Make("Folder")
	c.Put("Folder", harness.Letters(60, 10)...)
	c.Put("INBOX", harness.Letters(61, 30)...)
	bodies := make(map[string][]byte)
	for box, mails := range c.All() {
		for _, mail := range mails {
			bodies[fmt.Sprint(box, mail.UID)] = mail.Body
		}
	}
	copied := filepath.Join(run.TempDir(t), "copy")
	plain := run.Mount(t, append(trust(), imaps("cut"))...)
	plain.List(t).Copy(t, copied, func(f harness.File) []byte { return bodies[f.Dir+f.Key()] })
	plain.Unmount(t)

	for _, account := range []struct {
		name, url string
		port      int
		folder    string // the folder that is copied
	}{
		{"imap", "imap://cut@127.0.0.1:%d", dovecot.IMAP, "."},
		{"pop3", "pop3://cut@127.0.0.1:%d", dovecot.POP3, "INBOX"},
	} {
		for _, after := range []int{1, 300, 3_000, 12_345, 60_000, 200_000} {
			t.Run(fmt.Sprintf("%s after %d bytes", account.name, after), func(t *testing.T) {
				proxy := run.Proxy(t, account.port, harness.ProxyOptions{})
				m := run.Mount(t, "--tls=off", fmt.Sprintf(account.url, proxy.Port))
				proxy.CutAfter(after)
				out := filepath.Join(run.TempDir(t), "out")
				harness.Shell(t, filepath.Join(m.Path, account.folder), `cp -r . "$1"; chmod -R u+w "$1"`, out)
				if proxy.Pending() {
					t.Fatal("the connection was not cut, so this test has seen nothing")
				}
				if account.folder == "." {
					harness.Shell(t, copied, `diff -rq . "$1"`, out)
				} else { // names hold UIDLs, so only contents are compared
					sums := `find . -type f -print0 | xargs -0 md5sum | cut -c -32 | sort`
					want := harness.Shell(t, filepath.Join(copied, "INBOX"), sums)
					if got := harness.Shell(t, out, sums); got != want {
						t.Errorf("copied\n%s\nwant\n%s", got, want)
					}
				}
			})
		}
	}
}

func TestCachedMailIsReadWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "away")
	c.Make("Unseen")
	c.Put("Unseen", harness.Letters(62, 1)...)
	c.Put("INBOX", harness.Letters(63, 6)...)
	held := c.Held("INBOX")
	for _, account := range []struct {
		name, url string
		port      int
	}{
		{"imap", "imap://away@127.0.0.1:%d", dovecot.IMAP},
		{"pop3", "pop3://away@127.0.0.1:%d", dovecot.POP3},
	} {
		t.Run(account.name, func(t *testing.T) {
			t.Parallel()
			proxy := run.Proxy(t, account.port, harness.ProxyOptions{})
			m := run.Mount(t, "--tls=off", "--refresh", "1s", fmt.Sprintf(account.url, proxy.Port))
			files := names(filepath.Join(m.Path, "INBOX"))
			if len(files) != len(held) {
				t.Fatalf("INBOX shows %d messages, want %d", len(files), len(held))
			}
			path := func(i int) string { return filepath.Join(m.Path, "INBOX", files[i]) }
			warm, err := os.ReadFile(path(0))
			if err != nil || harness.Fingerprint(warm) != harness.Fingerprint(held[0].Body) {
				t.Fatalf("%d bytes (%v), want %d", len(warm), err, len(held[0].Body))
			}
			proxy.Close()
			gone := time.Now()
			if _, err := os.ReadFile(path(1)); !isErrno(err, syscall.EHOSTDOWN) {
				t.Errorf("reading what is not cached: %v, want EHOSTDOWN", err)
			}
			if b, err := os.ReadFile(path(0)); err != nil || string(b) != string(warm) {
				t.Errorf("reading what is cached: %d bytes (%v), want %d", len(b), err, len(warm))
			}
			harness.Eventually(t, "the listing outlives --refresh", func() bool {
				entries, err := os.ReadDir(filepath.Join(m.Path, "INBOX"))
				if len(entries) != len(held) || err != nil {
					t.Fatalf("INBOX shows %d messages (%v) while the server is away, want %d", len(entries), err, len(held))
				}
				return time.Since(gone) > 2*time.Second
			})
			if account.name == "imap" {
				if _, err := os.ReadDir(filepath.Join(m.Path, "Unseen")); !isErrno(err, syscall.EHOSTDOWN) {
					t.Errorf("listing what was never listed: %v, want EHOSTDOWN", err)
				}
			}
			proxy.Open(t)
			harness.Eventually(t, "reading works again without another mount", func() bool {
				b, err := os.ReadFile(path(1))
				return err == nil && harness.Fingerprint(b) == harness.Fingerprint(held[1].Body)
			})
		})
	}
}

// A read fails after --timeout when the network carries nothing, and the next read succeeds when it carries again.
func TestReadFromAStalledServerFailsAfterTheTimeout(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "stalled")
	c.Put("INBOX", harness.Letters(64, 3)...)
	held := c.Held("INBOX")
	for _, account := range []struct {
		name, url string
		port      int
	}{
		{"imap", "imap://stalled@127.0.0.1:%d", dovecot.IMAP},
		{"pop3", "pop3://stalled@127.0.0.1:%d", dovecot.POP3},
	} {
		t.Run(account.name, func(t *testing.T) {
			t.Parallel()
			proxy := run.Proxy(t, account.port, harness.ProxyOptions{})
			m := run.Mount(t, "--tls=off", "--timeout", "5s", fmt.Sprintf(account.url, proxy.Port))
			files := names(filepath.Join(m.Path, "INBOX"))
			if len(files) != len(held) {
				t.Fatalf("INBOX shows %d messages, want %d", len(files), len(held))
			}
			proxy.Freeze()
			began := time.Now()
			_, err := os.ReadFile(filepath.Join(m.Path, "INBOX", files[1]))
			took := time.Since(began)
			if !isErrno(err, syscall.ETIMEDOUT) {
				t.Errorf("reading from a server that hangs: %v after %v, want ETIMEDOUT", err, took)
			}
			if took > inTime {
				t.Errorf("a call took %v with a timeout of 5 s", took)
			}
			proxy.Thaw()
			harness.Eventually(t, "reading works again", func() bool {
				b, err := os.ReadFile(filepath.Join(m.Path, "INBOX", files[1]))
				return err == nil && harness.Fingerprint(b) == harness.Fingerprint(held[1].Body)
			})
		})
	}
}

// hangs is a timeout that is not to pass in a test: far above [harness.Patience].
const hangs = "10m"

// A process that waits for a server that hangs can be ended, by Ctrl-C and by kill -9, also when another waits before it.
func TestReaderOfAStalledServerCanBeKilled(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "hung")
	c.Make("Folder")
	c.Put("INBOX", harness.Letters(65, 3)...)
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	m := run.Mount(t, "--tls=off", "--timeout", hangs, inTheClear("hung", proxy.Port))
	file := filepath.Join(m.Path, m.List(t)["INBOX"][1].Path())
	proxy.Freeze()
	for _, signals := range [][2]syscall.Signal{
		{syscall.SIGINT, syscall.SIGKILL}, {syscall.SIGKILL, syscall.SIGINT}, {syscall.SIGTERM, syscall.SIGTERM},
	} {
		t.Run(fmt.Sprint(signals), func(t *testing.T) {
			first, second := exec.Command("cat", file), exec.Command("cat", file)
			for i, cmd := range []*exec.Cmd{first, second} {
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				defer cmd.Process.Kill()
				harness.Eventually(t, fmt.Sprintf("reader %d waits in the kernel for the mount", i), func() bool {
					return inFUSE(cmd.Process.Pid, m)
				})
			}
			for i, cmd := range []*exec.Cmd{first, second} {
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				if err := cmd.Process.Signal(signals[i]); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-ended:
					var exit *exec.ExitError
					if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != signals[i] {
						t.Errorf("reader %d ended with %v, want %v", i, err, signals[i])
					}
				case <-time.After(harness.Patience):
					t.Fatalf("reader %d does not end after %v; its state is %c", i, signals[i], harness.State(cmd.Process.Pid))
				}
			}
		})
	}
	proxy.Thaw()
	if b, err := os.ReadFile(file); err != nil || len(b) == 0 {
		t.Errorf("afterwards: %d bytes (%v)", len(b), err)
	}
}

// cp -r that is stopped and goes on, as with Ctrl-Z and fg, or when the machine sleeps, copies everything: a signal that
// does not end the process ends no call either.
func TestStoppedCopyGoesOnAndMissesNothing(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "stopped")
	for i := range 6 {
		box := fmt.Sprintf("Folder%d", i)
		c.Make(box)
		c.Put(box, harness.Letters(uint64(630+i), 3)...)
	}
	held := c.All()
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{RTT: 40 * time.Millisecond})
	m := run.Mount(t, "--tls=off", inTheClear("stopped", proxy.Port))
	out := filepath.Join(run.TempDir(t), "out")
	cp := exec.Command("cp", "-r", m.Path, out)
	var complaints strings.Builder
	cp.Stderr = &complaints
	if err := cp.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cp.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cp.Wait() }()
	stops := 0
	for harness.Alive(pid) {
		harness.Eventually(t, "cp waits for the mount", func() bool { return inFUSE(pid, m) || !harness.Alive(pid) })
		if !harness.Alive(pid) {
			break
		}
		stops++
		syscall.Kill(pid, syscall.SIGSTOP)
		harness.Eventually(t, "cp stands still", func() bool { return harness.State(pid) == 'T' || !harness.Alive(pid) })
		syscall.Kill(pid, syscall.SIGCONT)
	}
	if err := <-ended; err != nil || complaints.Len() > 0 {
		t.Errorf("stopped %d times: %v\n%s", stops, err, &complaints)
	}
	if stops < 6 {
		t.Errorf("it was stopped %d times only", stops)
	}
	copied := 0
	for box, mails := range held {
		entries, err := os.ReadDir(filepath.Join(out, box))
		if err != nil || len(entries) != len(mails) {
			t.Errorf("%s: %d messages were copied (%v), want %d", box, len(entries), err, len(mails))
		}
		copied += len(entries)
	}
	t.Logf("stopped %d times, %d messages copied", stops, copied)
}

// Ctrl-C also ends the wait of a process that handles SIGINT, and of one that was stopped before while it waited.
func TestReaderOfAStalledServerHearsCtrlC(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "ctrlc")
	c.Put("INBOX", harness.Letters(640, 3)...)
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	m := run.Mount(t, "--tls=off", "--timeout", hangs, inTheClear("ctrlc", proxy.Port))
	file := filepath.Join(m.Path, m.List(t)["INBOX"][1].Path())
	proxy.Freeze()
	defer proxy.Thaw()
	const opened = `import os, sys; os.read(os.open(sys.argv[1], os.O_RDONLY), 10)` // and KeyboardInterrupt for SIGINT
	for name, reader := range map[string]struct {
		command []string
		before  []syscall.Signal
	}{
		"with a handler":                 {[]string{"python3", "-c", opened, file}, nil},
		"stopped before":                 {[]string{"cat", file}, []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT}},
		"stopped before, with a handler": {[]string{"python3", "-c", opened, file}, []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT}},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(reader.command[0], reader.command[1:]...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			for _, s := range append(reader.before, syscall.SIGINT) {
				harness.Eventually(t, "the reader waits in the kernel for the mount", func() bool { return inFUSE(cmd.Process.Pid, m) })
				cmd.Process.Signal(s)
			}
			select {
			case err := <-ended:
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
					t.Errorf("the reader ended with %v, want %v", err, syscall.SIGINT)
				}
			case <-time.After(harness.Patience):
				t.Errorf("the reader goes on; its state is %c", harness.State(cmd.Process.Pid))
			}
		})
	}
}

// inFUSE tells whether a process waits for an answer of a mount.
func inFUSE(pid int, m *harness.Mount) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", pid))
	if err != nil || len(b) <= 1 {
		b, _ = os.ReadFile(fmt.Sprintf("/proc/%d/stack", pid))
	}
	if containsAny(string(b), "fuse", "request_wait") {
		return true
	}
	if !strings.Contains(string(b), "folio") { // a page of a file, which may be the program's own
		return false
	}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return slices.ContainsFunc(files, func(fd string) bool {
		name, err := os.Readlink(fd)
		return err == nil && strings.HasPrefix(name, m.Path+"/")
	})
}

// All mail can be read from a server that allows one connection at a time.
func TestOneConnectionIsEnough(t *testing.T) {
	t.Parallel()
	server := run.Dovecot(t, harness.DovecotOptions{Connections: 1})
	c := server.Dial(t, "one")
	harness.Plant(c)
	held := c.All()
	c.Close()
	m := run.Mount(t, "--ca-file", server.CA, fmt.Sprintf("imaps://one@localhost:%d", server.IMAPS))
	m.Compare(t, held, folderNames)
}

// A reader does not notice that the server, or the network, has ended idle connections.
func TestReaderDoesNotNoticeThatIdleConnectionsEnded(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "idle")
	c.Put("INBOX", harness.Letters(66, 4)...)
	held := c.Held("INBOX")
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	m := run.Mount(t, "--tls=off", inTheClear("idle", proxy.Port))
	list := m.List(t)
	for _, mail := range held {
		proxy.Cut()
		if got := m.Read(t, list.Find(t, "INBOX", mail.UID)); string(got) != string(mail.Body) {
			t.Errorf("%d bytes, want %d", len(got), len(mail.Body))
		}
	}
}
