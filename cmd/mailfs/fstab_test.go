package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFstab(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // "" for nothing to do
		says string
	}{
		{args: "imaps://me@h /mnt/mail -o rw,noauto,user,_netdev", want: "mount imaps://me@h /mnt/mail -o noauto,user,_netdev"},
		{args: "imaps://me@h /mnt -o rw", want: "mount imaps://me@h /mnt"},
		{args: "-o ro,allow_other imaps://me@h /mnt", want: "mount imaps://me@h /mnt -o ro,allow_other"},
		{args: "imaps://me@h /mnt -sn -v -o ro -t mailfs", want: "mount imaps://me@h /mnt -o ro"},
		{args: "mailfs /mnt -o config=/etc/mail.toml", want: "mount /mnt -o config=/etc/mail.toml"},
		{args: "/etc/mail.toml /mnt -onofail", want: "mount /mnt -o nofail,config=/etc/mail.toml"},
		{args: "imaps://me@h /mnt -f", want: ""},
		{args: "imaps://me@h", says: "usage: mount.mailfs"},
		{args: "imaps://me@h /mnt -x", says: "unknown option -x"},
		{args: "imaps://me@h /mnt -o", says: "a value is missing"},
	} {
		got, err := commandLine(append([]string{"/sbin/mount.mailfs"}, strings.Fields(c.args)...))
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want something of %q", c.args, err, c.says)
			}
			continue
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q (%v), want %q", c.args, got, err, c.want)
		}
	}
	if got, err := commandLine([]string{"/sbin/mount.fuse.mailfs", "imaps://me@h", "/mnt"}); err != nil || strings.Join(got, " ") != "mount imaps://me@h /mnt" {
		t.Errorf("called for fuse.mailfs: %q (%v)", got, err)
	}
	if got, err := commandLine([]string{"mailfs", "status"}); err != nil || !slices.Equal(got, []string{"status"}) {
		t.Errorf("called as mailfs: %q (%v)", got, err)
	}
}

// The link that a package installs does what mount(8) asks of it.
func TestCalledAsHelper(t *testing.T) {
	link := filepath.Join(t.TempDir(), fstabName)
	if err := os.Symlink(binary, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"imaps://u@no-such-host.invalid", ".", "-o", "rw,password_command=echo x"}, 1, "unknown host"},
		{[]string{"mailfs", ".", "-o", "rw,config=/nothing.toml"}, 1, "/nothing.toml"},
		{[]string{"imaps://u@h", ".", "-o", "rw,nonsense"}, 2, `unknown option "nonsense"`},
		{[]string{"imaps://u@h", ".", "-f"}, 0, ""},
		{[]string{"imap://u@" + listen(t, says("* OK [CAPABILITY IMAP4rev1] hi\r\n", "")), ".", "-o", "tls=off,password_command=echo in $HOME >&2; exit 9"},
			1, "failed (exit status 9): in /"},
	} {
		cmd := exec.Command(link, c.args...)
		cmd.Dir, cmd.Env = t.TempDir(), []string{"XDG_CACHE_HOME=" + t.TempDir()} // mount(8) takes PATH and HOME away
		_, stderr, status := runCommand(t, cmd)
		if status != c.status || !strings.Contains(stderr, c.says) {
			t.Errorf("%q: exit status %d, %s", c.args, status, stderr)
		}
	}
}
