package config

import (
	"slices"
	"strings"
	"testing"
)

func TestArgumentsOfMountBecomeThoseOfMailfsMount(t *testing.T) {
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
		got, err := CommandLine(append([]string{"/sbin/mount.mailfs"}, strings.Fields(c.args)...))
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
	if got, err := CommandLine([]string{"/sbin/mount.fuse.mailfs", "imaps://me@h", "/mnt"}); err != nil || strings.Join(got, " ") != "mount imaps://me@h /mnt" {
		t.Errorf("called for fuse.mailfs: %q (%v)", got, err)
	}
	if got, err := CommandLine([]string{"mailfs", "status"}); err != nil || !slices.Equal(got, []string{"status"}) {
		t.Errorf("called as mailfs: %q (%v)", got, err)
	}
}
