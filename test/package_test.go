package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// installed is what is done with the package, in a copy of this machine: everything that it writes goes to a file system
// in memory that lies over all others, in a namespace that ends with it. Its /dev/fuse is open to everybody, as it is on
// most machines. Of this machine's packages it has only those that mailfs depends on, whatever else is being installed
// here meanwhile, and however dpkg is set up.
const installed = letGo + `
set -e
mkdir "$1/over"
mount -t tmpfs tmpfs "$1/over"
mkdir "$1/over/up" "$1/over/work" "$1/over/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/over/up,workdir=$1/over/work" "$1/over/root"
mkdir -p "$1/over/root$1/shared"
mount --rbind "$1/shared" "$1/over/root$1/shared"
mount -t proc proc "$1/over/root/proc"
mount -t tmpfs tmpfs "$1/over/root/dev"
while read name minor; do
	mknod -m 666 "$1/over/root/dev/$name" c $minor
done <<END
null 1 3
zero 1 5
random 1 8
urandom 1 9
fuse 10 229
END
ln -s /proc/self/fd "$1/over/root/dev/fd"
mount -t tmpfs tmpfs "$1/over/root/etc/dpkg"
mount -t tmpfs tmpfs "$1/over/root/var/lib/dpkg"
mkdir "$1/over/root/var/lib/dpkg/info" "$1/over/root/var/lib/dpkg/updates" "$1/over/root/var/lib/dpkg/triggers"
for name in fuse3 ca-certificates; do
	printf 'Package: %s\nStatus: install ok installed\nMaintainer: none\nArchitecture: all\nVersion: 3\nDescription: none\n\n' $name
	: >"$1/over/root/var/lib/dpkg/info/$name.list"
done >"$1/over/root/var/lib/dpkg/status"
exec chroot "$1/over/root" sh -c "$2" sh "$1/shared"
`

// letGo comes first in a new mount namespace. The namespace has copies of the mounts of other tests, which could not end
// before the namespace does.
const letGo = `umount -a -l -i -t fuse.mailfs || :`

// Limits of time, on a busy machine.
const (
	buildLimit = 5 * time.Minute // for the package, which compiles Go's own packages once more
	copyLimit  = 4 * time.Minute // for what happens in the copy, 10 s on an idle machine
)

// inCopy runs a script in a copy of this machine, where $1 is a directory of this one, and returns what it says.
func inCopy(t *testing.T, shared, script string) string {
	t.Helper()
	// When unshare is killed, the kernel kills the first process of the namespace, and with that all others in there.
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", installed, "sh", filepath.Dir(shared), script)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := harness.Finish(t, copyLimit, cmd); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return out.String()
}

// dpkg installs the Debian package. Version, manual and completions are those of the program, mount(8) mounts with it, with
// and without fstab, and nothing is left when it is removed.
func TestPackageInstallsMountsAndIsRemoved(t *testing.T) {
	t.Parallel()
	needRoot(t)
	shared := filepath.Join(run.TempDir(t), "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("../.ci/deb", "1.2.3", shared)
	var out, stderr bytes.Buffer
	build.Stdout, build.Stderr = &out, &stderr
	if err := harness.Finish(t, buildLimit, build); err != nil {
		t.Fatalf("building the package: %v\n%s", err, &stderr)
	}
	if name := strings.TrimSpace(out.String()); !strings.HasPrefix(filepath.Base(name), "mailfs_1.2.3_") {
		t.Errorf("the package is called %s", name)
	}
	dovecot.Dial(t, "fstab").Put("INBOX", harness.Letters(70, 2)...)
	ca, err := os.ReadFile(dovecot.CA)
	if err != nil {
		t.Fatal(err)
	}
	options := "rw,noauto,user,_netdev,ca_file=" + filepath.Join(shared, "ca.pem") + ",password_command=echo " + harness.Password
	var fstab strings.Builder
	for at, line := range map[string][3]string{
		"line": {imaps("fstab"), "mailfs", options},
		"fuse": {imaps("fstab"), "fuse.mailfs", options},
		"user": {imaps("fstab"), "mailfs", options},
		"file": {filepath.Join(shared, "mailfs.toml"), "mailfs", "ro,nofail,_netdev"},
	} {
		fmt.Fprintf(&fstab, "%s /mnt/%s %s %s 0 0\n", line[0], at, line[1], strings.ReplaceAll(line[2], " ", `\040`))
	}
	for name, text := range map[string]string{
		"ca.pem": string(ca), "options": options, "fstab": fstab.String(),
		"mailfs.toml": fmt.Sprintf("[account.a]\nurl = %q\nca_file = \"ca.pem\"\npassword_command = \"echo %s\"\n", imaps("fstab"), harness.Password),
	} {
		if err := os.WriteFile(filepath.Join(shared, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	said := inCopy(t, shared, `
set -e
dpkg -i "$1"/mailfs_1.2.3_*.deb >"$1/dpkg" 2>&1 || { cat "$1/dpkg"; exit 1; }
dpkg-query -W -f '${Status} ${Version}\n' mailfs
mailfs version
mailfs man >"$1/manual"
zcat /usr/share/man/man1/mailfs.1.gz | cmp - "$1/manual" && echo the manual is its own
zcat /usr/share/man/man1/mailfs.1.gz | sed -n 1p
for shell in bash zsh fish; do mailfs completion $shell; done | cksum
cat /usr/share/bash-completion/completions/mailfs /usr/share/zsh/vendor-completions/_mailfs /usr/share/fish/vendor_completions.d/mailfs.fish | cksum
bash -n /usr/share/bash-completion/completions/mailfs
grep Type= /usr/lib/systemd/user/mailfs.service
mkdir /mnt/plain /mnt/line /mnt/file /mnt/fuse /mnt/user
chown 65534 /mnt/user
cp "$1/fstab" /etc/fstab
runs() { readlink /proc/[0-9]*/exe | grep -q ^/usr/bin/mailfs; }
look() { # MAILBOX MOUNTPOINT [COMMAND...]
	mailbox=$1 at=$2
	shift 2
	"$@" ls "$mailbox" | wc -l
	awk -v at="$at" '$2 == at { print $3 }' /proc/mounts
	"$@" umount "$at"
	deadline=$(($(date +%s) + 20))
	while runs; do
		if [ $(date +%s) -gt $deadline ]; then echo it goes on after umount; break; fi
		sleep 0.05
	done
}
echo with mount -t
mount -t mailfs -o "$(cat "$1/options")" `+imaps("fstab")+` /mnt/plain
look /mnt/plain/INBOX /mnt/plain
for at in line file fuse; do
	echo with the $at of fstab
	mount /mnt/$at
	case $at in file) look /mnt/file/a/INBOX /mnt/file ;; *) look /mnt/$at/INBOX /mnt/$at ;; esac
done
echo as an ordinary user
as() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
as mount /mnt/user
if ls /mnt/user; then echo root looks into it; fi 2>/dev/null
look /mnt/user/INBOX /mnt/user as
as mount /mnt/file 2>&1 || echo exit status $?
echo without a server
mount -t mailfs -o password_command=true imaps://u@localhost:1 /mnt/plain 2>&1 || echo exit status $?
dpkg -r mailfs >"$1/dpkg" 2>&1 || { cat "$1/dpkg"; exit 1; }
ls -d /usr/bin/mailfs /usr/sbin/mount.mailfs /usr/share/doc/mailfs 2>/dev/null || echo nothing is left
`)
	want := `install ok installed 1\.2\.3
mailfs 1\.2\.3 \(.*\) go.*
the manual is its own
\.TH MAILFS 1 "" "mailfs 1\.2\.3" "User Commands"
(\d+ \d+)
(\d+ \d+)
Type=notify
with mount -t
2
fuse\.mailfs
with the line of fstab
2
fuse\.mailfs
with the file of fstab
2
fuse\.mailfs
with the fuse of fstab
2
fuse\.mailfs
as an ordinary user
2
fuse\.mailfs
mailfs: mounting at /mnt/file: user has no write access to mountpoint /mnt/file
exit status 1
without a server
mailfs: localhost:1: connection refused: nothing listens there; check host and port
exit status 1
nothing is left
`
	m := regexp.MustCompile("^" + want + "$").FindStringSubmatch(said)
	if m == nil || m[1] != m[2] {
		t.Errorf("it says\n%s\nwant\n%s", said, want)
	}
	if _, err := os.Stat("/mnt/line"); err == nil {
		t.Error("it has written to this machine")
	}
}
