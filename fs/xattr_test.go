//go:build linux

package fs

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func getxattr(name, attribute string) (string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Getxattr(name, attribute, buf)
	return string(buf[:max(n, 0)]), err
}

func TestExtendedAttributesShowTheHeader(t *testing.T) {
	m := mountOne(t, newSynthetic(map[string]int{"INBOX": 3}))
	file := m.path("INBOX", m.names(t, "INBOX")[1])
	for name, want := range map[string]string{
		"user.mail.subject":    "Grüße number 2",
		"user.mail.from":       "Alice <alice2@example.com>",
		"user.mail.to":         "bob@example.org",
		"user.mail.date":       "Mon, 02 Feb 2026 10:11:12 +0100",
		"user.mail.message-id": "",
		"user.mail.flags":      `\Seen`,
		"user.mail.uid":        "2",
	} {
		if got, err := getxattr(file, name); got != want || err != nil {
			t.Errorf("%s = %q, %v, want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]error{
		"user.other": unix.ENODATA, "user.mail": unix.ENODATA,
		"security.selinux": unix.ENOTSUP, "system.posix_acl_access": unix.ENOTSUP, "trusted.x": unix.ENOTSUP,
	} {
		for _, path := range []string{file, m.path("INBOX"), m.dir} {
			if got, err := getxattr(path, name); !errors.Is(err, want) {
				t.Errorf("%s of %s = %q, %v, want %v", name, path, got, err, want)
			}
		}
	}
	buf := make([]byte, 1000)
	n, err := unix.Listxattr(file, buf)
	if err != nil || n != len(attributeNames) || string(buf[:n]) != attributeNames {
		t.Errorf("listxattr: %q, %v", buf[:max(n, 0)], err)
	}
	for _, name := range strings.Split(strings.TrimRight(attributeNames, "\x00"), "\x00") {
		if _, err := getxattr(file, name); err != nil {
			t.Errorf("%s is listed, but: %v", name, err)
		}
	}
	if n, err := unix.Listxattr(file, nil); err != nil || n != len(attributeNames) {
		t.Errorf("the length of the list is %d, %v", n, err)
	}
	if n, err := unix.Getxattr(file, "user.mail.uid", nil); err != nil || n != 1 {
		t.Errorf("the length of the UID is %d, %v", n, err)
	}
	if _, err := unix.Getxattr(file, "user.mail.subject", make([]byte, 3)); !errors.Is(err, syscall.ERANGE) {
		t.Errorf("getxattr without room: %v", err)
	}
	if n, err := unix.Listxattr(m.path("INBOX"), buf); err != nil || n != 0 {
		t.Errorf("a directory has %d bytes of attributes, %v", n, err)
	}
}
