package test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// Listings and messages that were read can be read while the server is away, also after kill -9 and another mount. All else
// fails within --timeout, and succeeds when the server is back.
func TestWhatWasSeenStaysWithoutServer(t *testing.T) {
	t.Parallel()
	for _, account := range []struct {
		protocol string
		port     int
	}{{"imap", dovecot.IMAP}, {"pop3", dovecot.POP3}} {
		t.Run(account.protocol, func(t *testing.T) {
			t.Parallel()
			user := "offline" + account.protocol
			c := dovecot.Dial(t, user)
			t.Cleanup(func() { dovecot.Forget(user) })
			c.Put("INBOX", harness.Letters(200, 12)...)
			c.Make("Read", "Read/Deep", "Listed", "Never")
			c.Put("Read/Deep", harness.Letters(201, 5)...)
			c.Put("Listed", harness.Letters(202, 4)...)
			c.Put("Never", harness.Letters(203, 1)...)
			proxy := run.Proxy(t, account.port, harness.ProxyOptions{})
			args := []string{"--tls=off", "--refresh", "1s", "--timeout", "10s", "--cache-dir", run.TempDir(t),
				fmt.Sprintf("%s://%s@127.0.0.1:%d", account.protocol, user, proxy.Port)}
			m := run.Mount(t, args...)

			before := listedBut(t, m, "Never")
			read := map[string]string{} // path -> content
			readNow := func(path string) {
				b, err := os.ReadFile(filepath.Join(m.Path, path))
				if err != nil {
					t.Fatal(err)
				}
				read[path] = string(b)
			}
			inbox := before["INBOX"]
			unread := inbox[9].Path()
			readNow(inbox[0].Path())
			for _, f := range before["Read/Deep"] {
				readNow(f.Path())
			}
			check := func(state string, errno syscall.Errno) {
				t.Helper()
				if now := listedBut(t, m, "Never"); !maps.EqualFunc(now, before, slices.Equal) {
					t.Errorf("%s: the mount lists\n%v\nbefore it was\n%v", state, now, before)
				}
				for path, want := range read {
					if b, err := os.ReadFile(filepath.Join(m.Path, path)); err != nil || string(b) != want {
						t.Errorf("%s: %s: %d bytes (%v), want %d", state, path, len(b), err, len(want))
					}
				}
				began := time.Now()
				if b, err := os.ReadFile(filepath.Join(m.Path, unread)); !isErrno(err, errno) {
					t.Errorf("%s: reading what was never read: %d bytes (%v), want %v", state, len(b), err, errno)
				}
				if took := time.Since(began); took > inTime {
					t.Errorf("%s: it took %v to fail, with a timeout of 10 s", state, took)
				}
				if account.protocol == "imap" {
					began := time.Now()
					if _, err := os.ReadDir(filepath.Join(m.Path, "Never")); !isErrno(err, errno) {
						t.Errorf("%s: listing what was never listed: %v, want %v", state, err, errno)
					}
					if took := time.Since(began); took > inTime {
						t.Errorf("%s: it took %v to fail, with a timeout of 10 s", state, took)
					}
				}
			}
			again := func(state string) {
				t.Helper()
				m.Again(t, withPassword(args...))
				if strings.Count(m.Stderr, "\n") > 2 || !strings.Contains(m.Stderr, "; mounting what the cache holds\n") {
					t.Errorf("%s: mount says %q", state, m.Stderr)
				}
			}

			proxy.Close()
			check("the server is gone", syscall.EHOSTDOWN)
			kill(t, m)
			again("killed, and the server is gone")
			check("killed, and the server is gone", syscall.EHOSTDOWN)
			m.Unmount(t)
			again("unmounted, and the server is gone")
			check("unmounted, and the server is gone", syscall.EHOSTDOWN)
			kill(t, m)
			proxy.Freeze()
			proxy.Open(t)
			again("killed, and the server is silent")
			check("killed, and the server is silent", syscall.ETIMEDOUT)

			c.Put("INBOX", harness.Mail{Date: harness.First, Body: harness.Letter("new@example.com", "while away", "just in")})
			proxy.Cut() // ends what waits for the silent server
			proxy.Thaw()
			back := time.Now()
			harness.Eventually(t, "new mail shows", func() bool {
				return slices.ContainsFunc(names(filepath.Join(m.Path, "INBOX")), func(name string) bool {
					return strings.Contains(name, "_new@example.com_while-away_")
				})
			})
			if took := time.Since(back); took > inTime {
				t.Errorf("new mail showed %v after the server was back, with --refresh 1s", took)
			}
			held := c.All()
			if account.protocol == "imap" {
				m.Compare(t, held, nil)
				return
			}
			got := map[string]int{}
			for _, f := range m.List(t)["INBOX"] {
				got[harness.Fingerprint(m.Read(t, f))]++
			}
			for _, mail := range held["INBOX"] {
				if got[harness.Fingerprint(mail.Body)] != 1 {
					t.Errorf("the message with UID %d is %d times there", mail.UID, got[harness.Fingerprint(mail.Body)])
				}
			}
		})
	}
}

// listedBut lists a mount without one of its mailboxes.
func listedBut(t *testing.T, m *harness.Mount, but string) harness.Listing {
	t.Helper()
	list := harness.Listing{}
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := os.ReadDir(filepath.Join(m.Path, dir))
		if err != nil {
			t.Fatal(err)
		}
		list[dir] = nil
		for _, e := range entries {
			if e.IsDir() {
				if e.Name() != but {
					walk(filepath.Join(dir, e.Name()))
				}
				continue
			}
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			list[dir] = append(list[dir], harness.File{Dir: dir, Name: e.Name(), Size: info.Size(), Time: info.ModTime(),
				Inode: info.Sys().(*syscall.Stat_t).Ino})
		}
	}
	walk("")
	return list
}

// Without a store nothing is mounted when the server can't be reached.
func TestNothingIsMountedWithoutServerAndStore(t *testing.T) {
	t.Parallel()
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	proxy.Close()
	store := filepath.Join(run.TempDir(t), "store")
	for _, dir := range []string{store, store, "none"} { // twice: the attempt that failed leaves nothing that could be mounted
		point := run.TempDir(t)
		res := run.Run(t, withPassword("mount", "--tls=off", "--cache-dir", dir, inTheClear("nostore", proxy.Port), point))
		checkRefusal(t, res, `refused`)
		if harness.Mounted(point) != 0 {
			t.Error("something is mounted")
		}
	}
}

// With a store, too, nothing is mounted when the server refuses the password.
func TestRefusedLoginIsNotServedFromTheStore(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "storelogin").Put("INBOX", harness.Letters(204, 2)...)
	args := append(trust(), "--cache-dir", run.TempDir(t), imaps("storelogin"))
	m := run.Mount(t, args...)
	m.List(t)
	m.Unmount(t)
	c := withPassword(append(append([]string{"mount"}, args...), m.Path)...)
	c.Env = []string{"MAILFS_PASSWORD=" + wrongPassword}
	checkRefusal(t, run.Run(t, c), `refused`)
	if harness.Mounted(m.Path) != 0 {
		t.Error("something is mounted")
	}
}

// A mailbox that was made anew while it was not mounted shows its own mail, even under names that the old mail had.
func TestMailboxMadeAnewWhileUnmountedShowsItsOwnMail(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "anewaway")
	args := append(trust(), "--refresh", "1s", "--cache-dir", run.TempDir(t), imaps("anewaway"))
	const same = "2026-01-05_a@example.com_same_1.eml"
	letter := func(text string) harness.Mail {
		return harness.Mail{Date: harness.First, Body: harness.Letter("a@example.com", "same", text)}
	}
	c.Make("Listed", "Opened", "Stated")
	for _, box := range []string{"Listed", "Opened", "Stated"} {
		c.Put(box, letter("the old one"))
		c.Put(box, harness.Letters(205, 6)...)
	}
	m := run.Mount(t, args...)
	m.Compare(t, c.All(), nil)
	kill(t, m)
	if err := c.Unselect().Wait(); err != nil {
		t.Fatal(err)
	}
	for _, box := range []string{"Listed", "Opened", "Stated"} {
		c.Drop(box)
		c.Make(box)
		c.Put(box, letter("the new one in "+box))
		c.Put(box, harness.Letters(206, 3)...)
	}
	m.Again(t, withPassword(args...))
	// The file is opened by its name, before the directory is listed.
	b, err := os.ReadFile(filepath.Join(m.Path, "Opened", same))
	if err != nil || !bytes.HasSuffix(b, []byte("the new one in Opened")) {
		t.Errorf("it reads %.300q (%v)", b, err)
	}
	want := int64(len(letter("the new one in Stated").Body))
	if info, err := os.Stat(filepath.Join(m.Path, "Stated", same)); err != nil || info.Size() != want {
		t.Errorf("its attributes: %v (%v), want %d bytes", info, err, want)
	}
	m.Compare(t, c.All(), nil)
	kill(t, m)
	m.Again(t, withPassword(args...))
	m.Compare(t, c.All(), nil)
}
