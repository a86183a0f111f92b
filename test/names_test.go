package test

import (
	"fmt"
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

func TestNameIsDateCorrespondentSubjectAndUID(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "names")
	c.Make("Sent")
	mail := []byte("From: Alice <alice@example.com>\r\nTo: First One <first@example.org>, second@example.org\r\n" +
		"Subject: Quarterly report\r\nDate: Mon, 2 Nov 2026 08:00:00 +0100\r\n\r\nx\r\n")
	// Late at night in New York it is the next day in UTC, which the name has.
	night := time.Date(2026, 11, 21, 22, 30, 0, 0, time.FixedZone("", -5*3600))
	c.Put("INBOX", harness.Mail{Date: night, Body: mail})
	c.Put("Sent", harness.Mail{Date: night, Body: mail})
	m := run.Mount(t, append(trust(), imaps("names"))...)
	list := m.List(t)
	for dir, want := range map[string]string{
		"INBOX": "2026-11-22_alice@example.com_Quarterly-report_1.eml",
		"Sent":  "2026-11-22_first@example.org_Quarterly-report_1.eml",
	} {
		if len(list[dir]) != 1 || list[dir][0].Name != want {
			t.Errorf("%s holds %v, want %s", dir, list[dir], want)
		}
	}
}

// Modes, link counts, owners, inode numbers and the order of a directory are as README.md promises.
func TestAttributesAreThoseOfReadOnlyFiles(t *testing.T) {
	t.Parallel()
	harness.Plant(dovecot.Dial(t, "attributes"))
	m := run.Mount(t, append(trust(), imaps("attributes"))...)
	list := m.List(t)
	inodes := make(map[uint64]string)
	for dir := range list {
		info, err := os.Stat(filepath.Join(m.Path, dir))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != os.ModeDir|0o500 {
			t.Errorf("mode of %q is %v, want 0500", dir, info.Mode())
		}
		children := 0
		for other := range list {
			if other != "" && strings.TrimPrefix("/"+filepath.Dir(other), "/.") == strings.TrimPrefix("/"+dir, "/.") ||
				dir == "" && other != "" && !strings.Contains(other, "/") {
				children++
			}
		}
		if n := info.Sys().(*syscall.Stat_t).Nlink; int(n) != 2+children {
			t.Errorf("nlink of %q is %d, with %d subdirectories", dir, n, children)
		}
	}
	for _, f := range list.Files() {
		if other, ok := inodes[f.Inode]; ok {
			t.Errorf("%s and %s have the same inode number %d", f.Path(), other, f.Inode)
		}
		inodes[f.Inode] = f.Path()
		info, err := os.Stat(filepath.Join(m.Path, f.Path()))
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		if info.Mode() != 0o400 || st.Nlink != 1 || int(st.Uid) != os.Getuid() || st.Blocks != (st.Size+511)/512 {
			t.Errorf("%s: mode %v, nlink %d, uid %d, %d blocks for %d bytes", f.Path(), info.Mode(), st.Nlink, st.Uid,
				st.Blocks, st.Size)
		}
	}
	// A directory is read in the order of UIDs, here that of the days in the names.
	dir, err := os.Open(filepath.Join(m.Path, "INBOX"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	days := slices.Clone(names)
	for i, name := range days {
		days[i] = name[:len(time.DateOnly)]
	}
	if !slices.IsSorted(days) || len(names) != 25 {
		t.Errorf("INBOX is read as %v", names)
	}
	if kind := harness.MountType(t, m.Path); kind != "fuse.mailfs" {
		t.Errorf("the mount's type is %q", kind)
	}

	other := run.Mount(t, append(trust(), "--file-mode", "0440", "-o", "dir_mode=0550", imaps("attributes"))...)
	for path, want := range map[string]os.FileMode{"INBOX": os.ModeDir | 0o550, list["INBOX"][0].Path(): 0o440} {
		if info, err := os.Stat(filepath.Join(other.Path, path)); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v (%v), want %v", path, info.Mode(), err, want)
		}
	}
}

func TestExtendedAttributesShowHeaderAndFlags(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "xattr")
	c.Put("INBOX", harness.Mail{Date: harness.First, Flags: []imap.Flag{imap.FlagSeen, "$Forwarded"}, Body: []byte(
		"From: =?utf-8?Q?J=C3=BCrgen?= <juergen@example.com>\r\nTo: a@example.org,\r\n b@example.org\r\n" +
			"Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n =?iso-8859-1?Q?_aus_K=F6ln?=\r\n" +
			"Date: Mon, 5 Jan 2026 10:30:00 +0100\r\nMessage-ID: <17@example.com>\r\n\r\nx\r\n")},
		harness.Mail{Date: harness.First, Body: []byte("\r\nno header\r\n")})
	m := run.Mount(t, append(trust(), imaps("xattr"))...)
	list := m.List(t)
	file := func(uid imap.UID) string { return filepath.Join(m.Path, list.Find(t, "INBOX", uid).Path()) }
	get := func(path, name string) (string, error) {
		buf := make([]byte, 4096)
		n, err := syscall.Getxattr(path, name, buf)
		return string(buf[:max(n, 0)]), err
	}
	for name, want := range map[string]string{
		"subject": "Grüße aus Köln", "from": "Jürgen <juergen@example.com>", "to": "a@example.org, b@example.org",
		"date": "Mon, 5 Jan 2026 10:30:00 +0100", "message-id": "<17@example.com>", "uid": "1",
	} {
		if got, err := get(file(1), "user.mail."+name); err != nil || got != want {
			t.Errorf("user.mail.%s is %q (%v), want %q", name, got, err, want)
		}
	}
	flags, err := get(file(1), "user.mail.flags")
	if err != nil || !strings.Contains(flags, `\Seen`) || !strings.Contains(flags, "$Forwarded") {
		t.Errorf("user.mail.flags is %q (%v)", flags, err)
	}
	if got, err := get(file(2), "user.mail.subject"); got != "" || err != nil && !isErrno(err, syscall.ENODATA) {
		t.Errorf("a message without a subject has %q (%v)", got, err)
	}
	buf := make([]byte, 4096)
	n, err := syscall.Listxattr(file(1), buf)
	if err != nil || !strings.Contains(string(buf[:max(n, 0)]), "user.mail.subject\x00") {
		t.Errorf("the list of attributes is %q (%v)", buf[:max(n, 0)], err)
	}
	if _, err := get(file(1), "security.selinux"); !isErrno(err, syscall.ENOTSUP) {
		t.Errorf("an attribute outside user.: %v, want ENOTSUP", err)
	}
	if _, err := get(file(1), "user.nonsense"); !isErrno(err, syscall.ENODATA) {
		t.Errorf("an attribute that is not there: %v, want ENODATA", err)
	}
	// With an empty buffer a caller asks for the size.
	if n, err := syscall.Getxattr(file(1), "user.mail.uid", nil); err != nil || n != 1 {
		t.Errorf("size of user.mail.uid: %d (%v), want 1", n, err)
	}
}

// Mailboxes whose names differ by little, or can't be file names, are different directories.
func TestFoldersWithOddNamesAreDifferentDirectories(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "folders")
	names := map[string]string{
		".text": "%2Etext", "50%2F": "50%252F", "a\u0301": "", "\u00e1": "", "..x": "..x", "tab\there": "tab%09here",
		"\u202egpj": "", "x": "x", "X": "X", strings.Repeat("长", 70): "", " lead": " lead", "trail ": "trail ",
		"2026-01-05_a@example.com_x_1.eml": "",
	}
	made := make(map[string]bool)
	for name := range names {
		if err := c.Create(name, nil).Wait(); err != nil {
			t.Logf("Dovecot refuses %q: %v", name, err)
			continue
		}
		c.Put(name, harness.Mail{Date: harness.First, Body: harness.Letter("a@example.com", "x", name)})
		made[name] = true
	}
	if len(made) < 8 {
		t.Fatalf("only %d folders could be made", len(made))
	}
	m := run.Mount(t, append(trust(), imaps("folders"))...)
	found := make(map[string]string)
	for dir, files := range m.List(t) {
		if len(filepath.Base(dir)) > 255 {
			t.Errorf("%q is too long", dir)
		}
		for _, f := range files {
			body := string(m.Read(t, f))
			for name := range made {
				if strings.HasSuffix(body, "\r\n\r\n"+name) {
					found[name] = dir
				}
			}
		}
	}
	for name := range made {
		dir, ok := found[name]
		if !ok {
			t.Errorf("folder %q is nowhere in %v", name, found)
		}
		if want := names[name]; want != "" && dir != want {
			t.Errorf("folder %q is %q, want %q", name, dir, want)
		}
	}
	if info, err := os.Stat(filepath.Join(m.Path, fmt.Sprintf("%s/nothing", found["x"]))); err == nil {
		t.Errorf("a name that is not there is %v", info.Mode())
	}
}
