package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mailfs/mailfs/test/harness"
)

// Whatever size the server announced, read, mmap, cat, cp and wc get all bytes of a message and no others. st_size is right
// once the message has been read.
func TestReadersGetAllBytesWhateverSizeWasAnnounced(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "lies")
	c.Put("INBOX", harness.Letters(70, 10)...)
	bodies := make(map[string][]byte)
	for _, mail := range c.Held("INBOX") {
		// The key is the part of the subject that stands in the file's name, too.
		bodies[subjectOf(mail.Body)] = mail.Body
	}
	for _, lie := range []struct {
		name  string
		wrong func(int64) int64
	}{
		{"too small", func(n int64) int64 { return n - 37 }},
		{"too large", func(n int64) int64 { return n + 1000 }},
		{"much too large", func(n int64) int64 { return 3*n + 70_000 }},
		{"zero", func(int64) int64 { return 0 }},
		{"one", func(int64) int64 { return 1 }},
		{"every second", func(n int64) int64 { return n + n%2*9 }},
	} {
		for _, account := range []struct {
			name, url string
			port      int
		}{
			{"imap", "imap://lies@127.0.0.1:%d", dovecot.IMAP},
			{"pop3", "pop3://lies@127.0.0.1:%d", dovecot.POP3},
		} {
			t.Run(account.name+" "+lie.name, func(t *testing.T) {
				proxy := run.Proxy(t, account.port, harness.ProxyOptions{Lie: harness.WrongSizes(lie.wrong)})
				m := run.Mount(t, "--tls=off", fmt.Sprintf(account.url, proxy.Port))
				files := m.List(t)["INBOX"]
				if len(files) != len(bodies) {
					t.Fatalf("INBOX shows %d messages, want %d", len(files), len(bodies))
				}
				lied := false
				for i, f := range files {
					want := bodies[subjectIn(f.Name)]
					if got := m.Read(t, f); account.name == "pop3" && bytes.Equal(got, harness.EndLine(want)) {
						want = got // POP3 ends the last line, and only a right size would tell that there was no end
					}
					lied = lied || f.Size != int64(len(want))
					path := filepath.Join(m.Path, f.Path())
					readers := []struct {
						name string
						read func() ([]byte, error)
					}{
						{"read", func() ([]byte, error) { return os.ReadFile(path) }},
						{"mmap", func() ([]byte, error) { return mapped(path) }},
						{"cat", func() ([]byte, error) { return []byte(harness.Shell(t, "/", `cat "$1"`, path)), nil }},
						{"cp", func() ([]byte, error) {
							return []byte(harness.Shell(t, run.TempDir(t), `cp "$1" x; cat x`, path)), nil
						}},
						{"wc", func() ([]byte, error) {
							n := harness.Shell(t, "/", `wc -c <"$1"`, path)
							if strings.TrimSpace(n) != fmt.Sprint(len(want)) {
								return nil, fmt.Errorf("it counts %s", n)
							}
							return want, nil
						}},
					}
					// Another kind of reader is the first for each message, when nothing is cached.
					for k := range readers {
						r := readers[(i+k)%len(readers)]
						got, err := r.read()
						if err != nil || !bytes.Equal(got, want) {
							t.Errorf("%s of %s, as reader %d: %d bytes (%v), want %d", r.name, f.Name, k, len(got), err,
								len(want))
						}
					}
					if info, err := os.Stat(path); err != nil || info.Size() != int64(len(want)) {
						t.Errorf("%s: after it was read st_size is %v (%v), want %d", f.Name, info.Size(), err, len(want))
					}
				}
				if !lied {
					t.Error("no size was announced wrong, so this test has seen nothing")
				}
			})
		}
	}
}

// subjectOf returns the subject of a letter, subjectIn the subject in the name of its file. They are the same.
func subjectOf(body []byte) string {
	_, after, _ := strings.Cut(string(body), "Subject: ")
	line, _, _ := strings.Cut(after, "\r\n")
	return strings.ReplaceAll(line, " ", "-")
}

func subjectIn(name string) string { return strings.Split(name, "_")[2] }

// mapped reads a file through a mapping of as many bytes as fstat says.
func mapped(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		return nil, nil
	}
	m, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	defer syscall.Munmap(m)
	return bytes.Clone(m), nil
}

// All mail can be read though the server sends what no RFC knows, or what can't be parsed.
func TestMailShowsThoughTheServerSaysWhatNoRFCKnows(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "strange")
	c.Put("INBOX", harness.Letters(71, 12)...)
	held := c.Held("INBOX")
	for _, strange := range []struct {
		name string
		lie  func(*harness.Lie, string) string
	}{
		{"dates that are none", harness.WrongDates},
		{"answers nobody knows", harness.Chatter},
		{"a message whose FETCH can't be parsed", harness.BrokenFetch(5)},
		{"the last message can't be parsed", harness.BrokenFetch(12)},
	} {
		t.Run(strange.name, func(t *testing.T) {
			t.Parallel()
			proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{Lie: strange.lie})
			m := run.Mount(t, "--tls=off", inTheClear("strange", proxy.Port))
			list := m.List(t)
			if len(list["INBOX"]) != len(held) {
				t.Fatalf("INBOX shows %d messages, want %d", len(list["INBOX"]), len(held))
			}
			for _, mail := range held {
				f := list.Find(t, "INBOX", mail.UID)
				harness.CheckName(t, f.Name)
				if got := m.Read(t, f); !bytes.Equal(got, mail.Body) {
					t.Errorf("%s: %d bytes that are not the server's %d", f.Name, len(got), len(mail.Body))
				}
				if info, err := os.Stat(filepath.Join(m.Path, f.Path())); err != nil || info.Size() != int64(len(mail.Body)) {
					t.Errorf("%s: st_size %v (%v), want %d", f.Name, info.Size(), err, len(mail.Body))
				}
			}
		})
	}
}

// Listing and searching a mailbox that the server does not let the user open is EACCES. Other mailboxes are not concerned.
func TestForbiddenMailboxIsEACCESAndHidesNothingElse(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "forbidden")
	c.Make("secret")
	c.Put("INBOX", harness.Letters(72, 2)...)
	for _, says := range []string{"[NOPERM] not for you", "Permission denied"} {
		proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{Lie: harness.Forbidden("secret", says)})
		m := run.Mount(t, "--tls=off", inTheClear("forbidden", proxy.Port))
		for _, dir := range []string{"secret", "secret/.search/unread"} {
			if _, err := os.ReadDir(filepath.Join(m.Path, dir)); !errors.Is(err, syscall.EACCES) {
				t.Errorf("%s: %v, want EACCES", dir, err)
			}
		}
		if entries, err := os.ReadDir(filepath.Join(m.Path, "INBOX")); err != nil || len(entries) != 2 {
			t.Errorf("INBOX: %d messages, %v", len(entries), err)
		}
	}
}
