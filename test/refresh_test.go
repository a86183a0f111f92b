package test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailfs/mailfs/test/harness"
)

// names returns the names in a directory; none if it can't be read.
func names(path string) []string {
	entries, _ := os.ReadDir(path)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// Changes that other clients make show after --refresh, on a server with CONDSTORE and on servers without.
func TestChangesOnTheServerShow(t *testing.T) {
	t.Parallel()
	for _, server := range []struct {
		name string
		port int
		dial func() *harness.Client
	}{
		{"Dovecot", dovecot.IMAP, func() *harness.Client { return dovecot.Dial(t, "changes") }},
		{"without UIDNEXT", run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{Lie: harness.WithoutUIDNEXT}).Port,
			func() *harness.Client { return dovecot.Dial(t, "changesolder") }},
		{"in-memory server", 0, nil},
	} {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			if server.dial == nil {
				memory := run.Memory(t, "changes", harness.Password)
				server.port = memory.IMAP
				server.dial = func() *harness.Client { return memory.Dial(t, "changes") }
			}
			user := "changes"
			if server.name == "without UIDNEXT" {
				user = "changesolder"
			}
			changes(t, server.dial(), user, run.Proxy(t, server.port, harness.ProxyOptions{}).Port)
		})
	}
}

// A server that names no UIDNEXT is not asked for news before each FETCH, and no mailbox is opened on two connections at
// the same time, for which some servers have one wait.
func TestWithoutUIDNEXTNoMailboxIsOpenedTwiceAtATime(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "nonext")
	for i := range 4 {
		box := fmt.Sprintf("Folder%d", i)
		c.Make(box)
		c.Put(box, harness.Letters(uint64(480+i), 40)...)
	}
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{Lie: harness.WithoutUIDNEXT, RTT: 10 * time.Millisecond})
	m := run.Mount(t, "--tls=off", inTheClear("nonext", proxy.Port))
	for box, held := range c.All() {
		for _, mail := range held {
			if got := m.Read(t, m.List(t).Find(t, box, mail.UID)); string(got) != string(mail.Body) {
				t.Errorf("%s, UID %d: %d bytes, want %d", box, mail.UID, len(got), len(mail.Body))
			}
		}
	}
	if noops := proxy.Commands(` NOOP`); len(noops) > 4 {
		t.Errorf("%d NOOPs for %d FETCHes", len(noops), len(proxy.Commands(` UID FETCH `)))
	}
	opening := map[int]string{} // connection -> the mailbox that it opens
	for _, l := range proxy.Said() {
		_, rest, _ := strings.Cut(l.Text, " ")
		switch box, is := strings.CutPrefix(rest, "EXAMINE "); {
		case is && !l.FromServer:
			for other, theirs := range opening {
				if other != l.Conn && theirs == box {
					t.Errorf("%s is opened on connections %d and %d at the same time", box, other, l.Conn)
				}
			}
			opening[l.Conn] = box
		case l.FromServer && strings.Contains(rest, "[READ-ONLY]"):
			delete(opening, l.Conn)
		}
	}
}

func changes(t *testing.T, c *harness.Client, user string, port int) {
	c.Make("Folder")
	c.Put("Folder", harness.Letters(40, 2)...)
	c.Put("INBOX", harness.Letters(41, 4)...)
	m := run.Mount(t, "--tls=off", "--refresh", "1s", inTheClear(user, port))
	inbox := filepath.Join(m.Path, "INBOX")
	list := m.List(t)
	held := c.Held("INBOX")

	t.Log("a new message")
	c.Put("INBOX", harness.Mail{Date: harness.First, Body: harness.Letter("new@example.com", "fresh", "just in")})
	var fresh string
	harness.Eventually(t, "the new message shows", func() bool {
		for _, name := range names(inbox) {
			if strings.Contains(name, "_new@example.com_fresh_") {
				fresh = name
			}
		}
		return fresh != ""
	})
	if b, err := os.ReadFile(filepath.Join(inbox, fresh)); err != nil || !strings.HasSuffix(string(b), "just in") {
		t.Errorf("the new message reads %.80q (%v)", b, err)
	}
	if n := len(names(inbox)); n != 5 {
		t.Errorf("INBOX shows %d messages, want 5", n)
	}

	t.Log("an expunged message, open and not")
	gone := filepath.Join(m.Path, list.Find(t, "INBOX", held[1].UID).Path())
	open, err := os.Open(gone)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if b, err := io.ReadAll(open); err != nil || string(b) != string(held[1].Body) {
		t.Fatalf("before it was expunged: %d bytes (%v)", len(b), err)
	}
	c.Remove("INBOX", held[1].UID)
	harness.Eventually(t, "the expunged message vanishes", func() bool { return len(names(inbox)) == 4 })
	harness.Eventually(t, "the expunged message has no attributes", func() bool {
		_, err := os.Lstat(gone)
		return isErrno(err, syscall.ENOENT)
	})
	if _, err := os.ReadFile(gone); !isErrno(err, syscall.ENOENT, syscall.ESTALE) {
		t.Errorf("opening the expunged message: %v", err)
	}
	b := make([]byte, len(held[1].Body)+1)
	if n, err := open.ReadAt(b, 0); n != len(held[1].Body) || string(b[:n]) != string(held[1].Body) {
		t.Errorf("the expunged message that is open: %d bytes (%v), want %d", n, err, len(held[1].Body))
	}

	t.Log("flags")
	flagged := filepath.Join(m.Path, list.Find(t, "INBOX", held[2].UID).Path())
	c.SetFlags("INBOX", held[2].UID, imap.FlagFlagged, "$Label1")
	harness.Eventually(t, "the flags show", func() bool {
		names(inbox)
		buf := make([]byte, 1000)
		n, err := syscall.Getxattr(flagged, "user.mail.flags", buf)
		flags := strings.ToLower(string(buf[:max(n, 0)])) // flags have no case, and one of the servers changes it
		return err == nil && strings.Contains(flags, `\flagged`) && strings.Contains(flags, "$label1")
	})

	t.Log("folders")
	c.Make("Made later", "Made later/Below")
	c.Put("Made later/Below", harness.Letters(42, 1)...)
	harness.Eventually(t, "the new folders show", func() bool {
		return len(names(filepath.Join(m.Path, "Made later", "Below"))) == 1
	})
	if !slices.Contains(names(m.Path), "Made later") {
		t.Errorf("the new folder is not in %v", names(m.Path))
	}
	c.Drop("Folder")
	harness.Eventually(t, "the deleted folder vanishes", func() bool {
		if slices.Contains(names(m.Path), "Folder") {
			return false
		}
		_, err := os.Lstat(filepath.Join(m.Path, "Folder"))
		return isErrno(err, syscall.ENOENT)
	})

	m.Compare(t, c.All(), nil)
}

// A mailbox that is made anew under the same name has another UIDVALIDITY. A message in it may have the name of one in the
// old mailbox, and is another message.
func TestMailboxMadeAnewShowsItsOwnMail(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "anew")
	c.Make("Anew")
	c.Put("Anew", harness.Mail{Date: harness.First, Body: harness.Letter("a@example.com", "same", "the old one")})
	m := run.Mount(t, append(trust(), "--refresh", "1s", imaps("anew"))...)
	anew := filepath.Join(m.Path, "Anew", "2026-01-05_a@example.com_same_1.eml")
	if b, err := os.ReadFile(anew); !strings.HasSuffix(string(b), "the old one") {
		t.Fatalf("it reads %.400q (%v)", b, err)
	}
	c.Drop("Anew")
	c.Make("Anew")
	c.Put("Anew", harness.Mail{Date: harness.First, Body: harness.Letter("a@example.com", "same", "the new one, longer")})
	var last string
	defer func() {
		if t.Failed() {
			t.Logf("it reads %s", last)
		}
	}()
	harness.Eventually(t, "the new one is read", func() bool {
		list := names(filepath.Dir(anew))
		b, err := os.ReadFile(anew)
		last = fmt.Sprintf("%.400q (%v), with %v in the directory", b, err, list)
		return strings.HasSuffix(string(b), "the new one, longer")
	})
	m.Compare(t, c.All(), nil)
}

// A process that holds a directory open, as a shell does, sees changes without opening it again.
func TestChangesShowToAProcessInTheDirectory(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "inside")
	c.Put("INBOX", harness.Letters(43, 1)...)
	m := run.Mount(t, append(trust(), "--refresh", "1s", imaps("inside"))...)
	dir, err := os.Open(filepath.Join(m.Path, "INBOX"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for want := 2; want < 5; want++ {
		c.Put("INBOX", harness.Letters(uint64(43+want), 1)...)
		harness.Eventually(t, fmt.Sprintf("%d messages show", want), func() bool {
			return len(names(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))) == want
		})
	}
}

func TestChangesShowOverPOP3(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "popnew")
	c.Put("INBOX", harness.Letters(50, 2)...)
	m := run.Mount(t, append(trust(), "--refresh", "1s", fmt.Sprintf("pop3s://popnew@localhost:%d", dovecot.POP3S))...)
	inbox := filepath.Join(m.Path, "INBOX")
	if n := len(names(inbox)); n != 2 {
		t.Fatalf("INBOX shows %d messages, want 2", n)
	}
	c.Put("INBOX", harness.Letters(51, 1)...)
	harness.Eventually(t, "the new message shows", func() bool { return len(names(inbox)) == 3 })
	c.Remove("INBOX", 1)
	harness.Eventually(t, "the deleted message vanishes", func() bool { return len(names(inbox)) == 2 })
}
