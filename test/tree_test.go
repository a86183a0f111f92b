package test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailfs/mailfs/test/harness"
)

// folderNames has the directory of each mailbox of harness.Plant that has another name.
var folderNames = map[string]string{"50%2F50": "50%252F50"}

func TestMountHoldsWhatTheIMAPServerHolds(t *testing.T) {
	harness.Plant(dovecot.Dial(t, "tree"))
	held := dovecot.Dial(t, "tree").All()
	for _, way := range []struct {
		name string
		args []string
	}{
		{"imaps", append(trust(), imaps("tree"))},
		{"STARTTLS", append(trust(), inTheClear("tree", dovecot.IMAP))},
		{"clear", []string{"--tls=off", inTheClear("tree", dovecot.IMAP)}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			compareTwice(t, held, way.args)
		})
	}
}

func TestMountHoldsWhatAServerOfIMAP4rev1Holds(t *testing.T) {
	t.Parallel()
	server := run.Memory(t, "memory", harness.Password)
	harness.Plant(server.Dial(t, "memory"))
	held := server.Dial(t, "memory").All()
	for _, way := range []struct {
		name string
		args []string
	}{
		{"imaps", []string{"--ca-file", server.CA, fmt.Sprintf("imaps://memory@localhost:%d", server.IMAPS)}},
		{"STARTTLS", []string{"--ca-file", server.CA, inTheClear("memory", server.IMAP)}},
		{"clear", []string{"--tls=off", inTheClear("memory", server.IMAP)}},
	} {
		t.Run(way.name, func(t *testing.T) { compareTwice(t, held, way.args) })
	}
}

// compareTwice compares a mount with the server, and a second mount with the first.
func compareTwice(t *testing.T, held map[string][]harness.Mail, args []string) {
	m := run.Mount(t, args...)
	first := m.Compare(t, held, folderNames)
	m.Unmount(t)
	again := run.Mount(t, args...).List(t)
	for dir, files := range first {
		if !slices.Equal(files, again[dir]) {
			t.Errorf("%q is not the same after a remount: %v, then %v", dir, files, again[dir])
		}
	}
	if len(again) != len(first) {
		t.Errorf("%d directories, after a remount %d", len(first), len(again))
	}
}

// Where the namespace has the prefix INBOX. and a dot as delimiter, as with Courier, all mailboxes nest below INBOX.
func TestFoldersBelowINBOXNest(t *testing.T) {
	t.Parallel()
	server := run.Dovecot(t, harness.DovecotOptions{Namespace: "separator = .\n  prefix = INBOX."})
	c := server.Dial(t, "below")
	c.Put("INBOX", harness.Letters(1, 3)...)
	c.Make("INBOX.Archive", "INBOX.Archive.2025", "INBOX.Entwürfe")
	c.Put("INBOX.Archive.2025", harness.Letters(2, 2)...)
	dirs := map[string]string{
		"INBOX.Archive": "INBOX/Archive", "INBOX.Archive.2025": "INBOX/Archive/2025", "INBOX.Entwürfe": "INBOX/Entwürfe",
	}
	m := run.Mount(t, "--tls=off", inTheClear("below", server.IMAP))
	m.Compare(t, c.All(), dirs)
}

func TestMountHoldsWhatThePOP3ServerHolds(t *testing.T) {
	c := dovecot.Dial(t, "popper")
	c.Put("INBOX", harness.Letters(7, 30)...)
	var want []string
	sizes := make(map[string]int64)
	for _, mail := range c.Held("INBOX") {
		sum := harness.Fingerprint(mail.Body)
		want = append(want, sum)
		sizes[sum] = int64(len(mail.Body))
	}
	slices.Sort(want)
	var names []string
	for _, way := range []struct {
		name string
		args []string
	}{
		{"pop3s", append(trust(), fmt.Sprintf("pop3s://popper@localhost:%d", dovecot.POP3S))},
		{"STLS", append(trust(), fmt.Sprintf("pop3://popper@127.0.0.1:%d", dovecot.POP3))},
		{"clear", []string{"--tls=off", fmt.Sprintf("pop3://popper@127.0.0.1:%d", dovecot.POP3)}},
	} {
		t.Run(way.name, func(t *testing.T) {
			m := run.Mount(t, way.args...)
			list := m.List(t)
			if len(list) != 2 || len(list[""]) != 0 {
				t.Errorf("a POP3 account is more than one directory INBOX: %v", list)
			}
			var got, now []string
			for _, f := range list["INBOX"] {
				harness.CheckName(t, f.Name)
				body := m.Read(t, f)
				sum := harness.Fingerprint(body)
				got, now = append(got, sum), append(now, f.Name)
				if f.Size != sizes[sum] {
					t.Errorf("%s: st_size %d before it was read, the server has %d bytes", f.Name, f.Size, sizes[sum])
				}
				// The Date of a letter is its INTERNALDATE.
				if f.Time.Before(harness.First) || !strings.HasPrefix(f.Name, f.Time.UTC().Format("2006-01-02_")) {
					t.Errorf("%s: mtime %v is not the Date header's", f.Name, f.Time.UTC())
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("the mount holds other bytes than the server: %d messages, want %d", len(got), len(want))
			}
			if names == nil {
				names = now
			} else if !slices.Equal(names, now) {
				t.Errorf("names are not the same after a remount:\n%v\n%v", names, now)
			}
			m.Unmount(t)
		})
	}
}

// The usual tools for directories see the same in a mount that was not read before as in a copy of the server's mail.
func TestToolsSeeTheSameInAMountAsInACopy(t *testing.T) {
	harness.Plant(dovecot.Dial(t, "tools"))
	bodies := make(map[string][]byte)
	for mailbox, mails := range dovecot.Dial(t, "tools").All() {
		dir := mailbox
		if d, ok := folderNames[mailbox]; ok {
			dir = d
		}
		for _, mail := range mails {
			bodies[fmt.Sprintf("%s %d", dir, mail.UID)] = mail.Body
		}
	}
	pop := dovecot.Dial(t, "poptools")
	pop.Put("INBOX", harness.Letters(8, 40)...)
	popBodies := make(map[string][]byte)
	for _, mail := range pop.Held("INBOX") {
		// Dovecot's UIDL is UID and UIDVALIDITY in 8 hex digits each.
		popBodies[fmt.Sprintf("%08x", mail.UID)] = mail.Body
	}
	for _, account := range []struct {
		name string
		args []string
		body func(harness.File) []byte
	}{
		{"imap", append(trust(), imaps("tools")), func(f harness.File) []byte { return bodies[f.Dir+" "+f.Key()] }},
		{"pop3", append(trust(), fmt.Sprintf("pop3s://poptools@localhost:%d", dovecot.POP3S)),
			func(f harness.File) []byte { return popBodies[f.Key()[:8]] }},
	} {
		t.Run(account.name, func(t *testing.T) {
			t.Parallel()
			copied := filepath.Join(run.TempDir(t), "copy")
			first := run.Mount(t, account.args...)
			first.List(t).Copy(t, copied, account.body)
			first.Unmount(t)
			for _, tool := range []struct{ name, script string }{
				{"grep", `grep -r -c needle . | sort`},
				{"grep binary", `grep -r -l -a 'dots at the start' . | sort; ! grep -r 'this is nowhere' .`},
				{"find -size", `find . -type f -size -3 | sort; find . -type f -size +20k | sort`},
				{"find -printf", `find . -type f -printf '%p %s %T@\n' | sort; find . -type d | sort`},
				{"md5sum", `find . -type f -print0 | sort -z | xargs -0 md5sum`},
				{"wc", `find . -type f -print0 | sort -z | xargs -0 wc -c`},
				{"tar", `rm -rf "$1"; mkdir "$1" "$1/out"; tar -cf "$1/tar" .; tar -xf "$1/tar" -C "$1/out"; diff -rq . "$1/out"`},
				{"cp", `rm -rf "$1"; cp -r . "$1"; chmod -R u+w "$1"; diff -rq . "$1"`},
				{"rsync", `rm -rf "$1"; rsync -a ./ "$1"; rsync -a -n -i -O ./ "$1"; chmod -R u+w "$1"; diff -rq . "$1"`},
				{"du", `find . -type f -print0 | sort -z | xargs -0 du -b`},
			} {
				t.Run(tool.name, func(t *testing.T) {
					m := run.Mount(t, account.args...)
					scratch := filepath.Join(run.TempDir(t), "scratch")
					want := harness.Shell(t, copied, tool.script, scratch+".want")
					got := harness.Shell(t, m.Path, tool.script, scratch)
					if got != want {
						t.Errorf("in the mount:\n%s\nin a copy of the server's mail:\n%s", got, want)
					}
					if tool.name == "cp" || tool.name == "rsync" {
						harness.Shell(t, copied, `diff -rq . "$1"`, scratch)
					}
					m.Unmount(t)
				})
			}
		})
	}
}
