package test

import (
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailfs/mailfs/test/harness"
)

// The Debian package, unpacked: what mount(8) calls mounts, and the rest is in its place.
func TestPackage(t *testing.T) {
	t.Parallel()
	dir := run.TempDir(t)
	build := exec.Command("../.ci/deb", "1.2.3", dir)
	build.Stderr = os.Stderr
	out, err := build.Output()
	if err != nil {
		t.Fatalf("building the package: %v", err)
	}
	file := strings.TrimSpace(string(out))
	root := filepath.Join(dir, "root")
	if out, err := exec.Command("dpkg-deb", "-x", file, root).CombinedOutput(); err != nil {
		t.Fatalf("unpacking %s: %v\n%s", file, err, out)
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	version := exec.Command(filepath.Join(root, "usr/bin/mailfs"), "version")
	version.Env = env
	if out, err := version.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "mailfs 1.2.3 (") {
		t.Errorf("version: %v\n%s", err, out)
	}
	for path, says := range map[string]string{
		"usr/share/bash-completion/completions/mailfs":    "complete",
		"usr/share/zsh/vendor-completions/_mailfs":        "#compdef mailfs",
		"usr/share/fish/vendor_completions.d/mailfs.fish": "complete -c mailfs",
		"usr/lib/systemd/user/mailfs.service":             "Type=notify",
	} {
		if text, err := os.ReadFile(filepath.Join(root, path)); err != nil || !strings.Contains(string(text), says) {
			t.Errorf("%s: %v, nothing of %q", path, err, says)
		}
	}
	page, err := os.Open(filepath.Join(root, "usr/share/man/man1/mailfs.1.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	unpacked, err := gzip.NewReader(page)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unpacked)
	if err != nil || !strings.HasPrefix(string(text), ".TH MAILFS 1") || !strings.Contains(string(text), `\-\-password\-command`) {
		t.Errorf("the manual: %v, %d bytes", err, len(text))
	}

	// As mount(8) calls it for a line of fstab.
	dovecot.Dial(t, "fstab").Put("INBOX", harness.Letters(70, 2)...)
	point := filepath.Join(dir, "mail")
	if err := os.Mkdir(point, 0o700); err != nil {
		t.Fatal(err)
	}
	mount := exec.Command(filepath.Join(root, "usr/sbin/mount.mailfs"), imaps("fstab"), point,
		"-o", "rw,noauto,user,_netdev,ca_file="+dovecot.CA+",password_command=echo "+harness.Password)
	mount.Env = env
	t.Cleanup(func() { exec.Command("umount", "-l", point).Run() }) // fails when it went well
	if out, err := mount.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("mount.mailfs: %v\n%s", err, out)
	}
	if list := names(filepath.Join(point, "INBOX")); len(list) != 2 {
		t.Errorf("in INBOX is %q", list)
	}
	if out, err := exec.Command("umount", point).CombinedOutput(); err != nil {
		t.Errorf("umount: %v\n%s", err, out)
	}
	harness.Eventually(t, "the mount is gone", func() bool { return harness.Mounted(point) == 0 })
}
