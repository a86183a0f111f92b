package test

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/mailfs/mailfs/test/harness"
)

// An ordinary user mounts with fusermount3 and owns all files in the mount. Nobody else sees them, not even root. Where
// ordinary users may not open /dev/fuse, mailfs mount says so.
func TestOrdinaryUserMountsForNobodyElse(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "ordinary").Put("INBOX", harness.Letters(96, 3)...)
	info, err := os.Stat("/dev/fuse")
	if err != nil {
		t.Fatal(err)
	}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	if os.Getuid() != 0 {
		nobody = nil // the tests run as an ordinary user
	}
	if nobody != nil && info.Mode().Perm()&0o006 != 0o006 {
		point := run.TempDir(t)
		if err := os.Chown(point, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		c := withPassword(append(append([]string{"mount"}, trust()...), imaps("ordinary"), point)...)
		c.User = nobody
		checkRefusal(t, run.Run(t, c), `fuse`)
		if harness.Mounted(point) != 0 {
			t.Error("something is mounted")
		}
		return
	}
	c := withPassword(append(trust(), imaps("ordinary"))...)
	c.User = nobody
	m := run.MountAs(t, c)
	see := func(credential *syscall.Credential) harness.Result {
		return as(t, credential, `ls "$1/INBOX" | wc -l && cat "$1"/INBOX/* >/dev/null && stat -c %u "$1/INBOX"`, m.Path)
	}
	if res := see(nobody); res.Code != 0 || nobody != nil && res.Stdout != "3\n65534\n" {
		t.Errorf("its owner sees %q %q, exit status %d", res.Stdout, res.Stderr, res.Code)
	}
	if nobody != nil {
		if res := see(&syscall.Credential{}); res.Stdout == "3\n65534\n" {
			t.Error("root sees the mail of a user who has not allowed it")
		}
	}
	if kind := harness.MountType(t, m.Path); kind != "fuse.mailfs" {
		t.Errorf("the mount's type is %q", kind)
	}
	m.Unmount(t)
}

// Only root sees what root has mounted, unless --allow-other and the modes let others in.
func TestOthersSeeRootsMountOnlyIfAllowed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dovecot.Dial(t, "others").Put("INBOX", harness.Letters(97, 3)...)
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	for _, try := range []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"--allow-other"}, ""}, // the kernel lets others through, the modes do not
		{[]string{"-o", "allow_other", "--dir-mode", "0555", "--file-mode", "0444"}, "3\n"},
		{[]string{"-o", "allow_other,uid=nobody"}, "3\n"}, // the user owns the files
		{[]string{"-o", "allow_other,gid=65534,dir_mode=0550,file_mode=0440"}, "3\n"},
		{[]string{"-o", "allow_other,gid=65534"}, ""},
	} {
		m := run.Mount(t, append(append(try.args, trust()...), imaps("others"))...)
		if err := os.Chmod(m.Path+"/..", 0o755); err != nil {
			t.Fatal(err)
		}
		if res := as(t, nobody, `cat "$1"/INBOX/* | grep -c ^Subject:`, m.Path); res.Stdout != try.want &&
			(try.want != "" || res.Stdout != "0\n") {
			t.Errorf("with %v another user sees %q %q, want %q", try.args, res.Stdout, res.Stderr, try.want)
		}
		m.Unmount(t)
	}
}

// needRoot skips a test that only root can run: one that mounts for others, or has a mount namespace of its own.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("this test needs root")
	}
}

// as runs a script as another user.
func as(t *testing.T, user *syscall.Credential, script string, args ...string) harness.Result {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", script, "sh"}, args...)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := harness.Finish(t, harness.Patience, cmd); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return harness.Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
}
