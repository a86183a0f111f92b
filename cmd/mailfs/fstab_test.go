package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
)

// mount(8) calls mailfs through the link that the package installs.
func TestTheHelperOfMountMounts(t *testing.T) {
	link := filepath.Join(t.TempDir(), config.FstabName)
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
