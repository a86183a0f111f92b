//go:build linux

package harness

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// Password is the password of every user of every server, unless [DovecotOptions.Passwords] gives the user another one.
const Password = "correct-horse+battery"

// DovecotOptions are the settings of a Dovecot that tests change.
type DovecotOptions struct {
	Namespace   string            // settings inside the namespace; default: separator = /, folders as nested directories
	Passwords   map[string]string // by user name; others have [Password]
	Connections int               // per user and address; default 50
	NotAfter    time.Time         // end of the certificate; default in a year
	Hosts       []string          // in the certificate; default localhost and 127.0.0.1
	Quota       int64             // bytes that each account may hold; 0: no quota
	Settings    string            // further settings
	Format      string            // of mailboxes, by Dovecot's name for it; default maildir
	Mechanisms  []string          // of SASL, in lower case; default plain and login
}

// Dovecot is a private Dovecot: any user name is an account there, empty until mail is put in.
type Dovecot struct {
	Certificates
	IMAP, IMAPS, POP3, POP3S int // ports on 127.0.0.1

	dir      string
	uid, gid int // owner of the mail
	cmd      *exec.Cmd
	done     chan struct{}
}

// StartDovecot starts a Dovecot that keeps everything in a new directory below r.Dir.
func (r *Run) StartDovecot(o DovecotOptions) (*Dovecot, error) {
	dir, err := os.MkdirTemp(r.Dir, dovecotPrefix)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	d := &Dovecot{dir: dir, done: make(chan struct{}), uid: os.Getuid(), gid: os.Getgid()}
	if o.NotAfter.IsZero() {
		o.NotAfter = NextYear()
	}
	if len(o.Hosts) == 0 {
		o.Hosts = []string{"localhost", "127.0.0.1"}
	}
	if d.Certificates, err = NewCertificates(dir, o.NotAfter, o.Hosts...); err != nil {
		return nil, err
	}
	if d.uid == 0 { // Dovecot serves no mail as root
		if d.uid, d.gid, err = ids("mail"); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o755); err != nil {
		return nil, err
	}
	if err := os.Chown(filepath.Join(dir, "mail"), d.uid, d.gid); err != nil {
		return nil, err
	}
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	d.IMAP, d.IMAPS, d.POP3, d.POP3S = ports[0], ports[1], ports[2], ports[3]
	config, err := d.configuration(o)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "dovecot.conf"), []byte(config), 0o644); err != nil {
		return nil, err
	}
	if err := d.launch(); err != nil {
		d.Stop()
		return nil, fmt.Errorf("starting dovecot: %w\n%s", err, d.Log())
	}
	return d, nil
}

// Dovecot starts a Dovecot that ends with the test.
func (r *Run) Dovecot(t testing.TB, o DovecotOptions) *Dovecot {
	t.Helper()
	d, err := r.StartDovecot(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Stop()
		if t.Failed() {
			t.Logf("dovecot's log:\n%s", d.Log())
		}
	})
	return d
}

func (d *Dovecot) configuration(o DovecotOptions) (string, error) {
	internal, login := "dovecot", "dovenull"
	if os.Getuid() != 0 {
		me, err := user.Current()
		if err != nil {
			return "", err
		}
		internal, login = me.Username, me.Username
	}
	group, err := user.LookupGroupId(strconv.Itoa(d.gid))
	if err != nil {
		return "", err
	}
	version, err := exec.Command(dovecotPath(), "--version").Output()
	if err != nil {
		return "", fmt.Errorf("asking dovecot for its version: %w", err)
	}
	if o.Namespace == "" {
		o.Namespace = "separator = /"
	}
	if o.Format == "" {
		o.Format = "maildir"
	}
	if len(o.Mechanisms) == 0 {
		o.Mechanisms = []string{"plain", "login"}
	}
	if o.Connections == 0 {
		o.Connections = 50
	}
	if err := d.SetPasswords(o.Passwords); err != nil {
		return "", err
	}
	release, _, _ := strings.Cut(strings.Fields(string(version))[0], "-") // as in "2.4.1-4 (7d8c0e5759)"
	text := dovecot23
	if !strings.HasPrefix(release, "2.3.") {
		text = dovecot24
	}
	var config strings.Builder
	err = template.Must(template.New("dovecot.conf").Parse(text)).Execute(&config, map[string]any{
		"Dir": d.dir, "InternalUser": internal, "LoginUser": login, "UID": d.uid, "GID": d.gid, "Group": group.Name,
		"IMAP": d.IMAP, "IMAPS": d.IMAPS, "POP3": d.POP3, "POP3S": d.POP3S, "Password": Password, "Connections": o.Connections,
		"Namespace": o.Namespace, "QuotaKiB": o.Quota >> 10, "Settings": o.Settings, "Format": o.Format, "Cert": d.Cert, "Key": d.Key,
		"Version": release, "Mechanisms": o.Mechanisms,
	})
	return config.String(), err
}

// SetPasswords gives users a password each, beside [Password]. Sessions that are signed in go on.
func (d *Dovecot) SetPasswords(passwords map[string]string) error {
	var users strings.Builder
	for name, password := range passwords {
		fmt.Fprintf(&users, "%s:{PLAIN.b64}%s::::::\n", name, base64.StdEncoding.EncodeToString([]byte(password)))
	}
	return os.WriteFile(filepath.Join(d.dir, "users"), []byte(users.String()), 0o644)
}

// services is the part of the configuration that Dovecot 2.3 and 2.4 share: processes and ports. Refused logins are not
// slowed down and nothing is fsynced, since the tests are many and their mail may be lost.
const services = `
base_dir = {{.Dir}}/run
state_dir = {{.Dir}}/state
instance_name = mailfs-test
log_path = {{.Dir}}/log
protocols = imap pop3
listen = 127.0.0.1
default_internal_user = {{.InternalUser}}
default_internal_group = {{.Group}}
default_login_user = {{.LoginUser}}
first_valid_uid = 1
mail_fsync = never
mail_max_userip_connections = {{.Connections}}
auth_failure_delay = 0
ssl = yes
ssl_min_protocol = TLSv1.2
service imap-login {
  chroot =
  inet_listener imap {
    port = {{.IMAP}}
  }
  inet_listener imaps {
    port = {{.IMAPS}}
    ssl = yes
  }
}
service pop3-login {
  chroot =
  inet_listener pop3 {
    port = {{.POP3}}
  }
  inet_listener pop3s {
    port = {{.POP3S}}
    ssl = yes
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
{{.Settings}}
`

const dovecot23 = services + `
disable_plaintext_auth = no
auth_mechanisms ={{range .Mechanisms}} {{.}}{{end}}
ssl_cert = <{{.Cert}}
ssl_key = <{{.Key}}
mail_location = {{.Format}}:~/Maildir:LAYOUT=fs
namespace inbox {
  inbox = yes
  {{.Namespace}}
}
passdb {
  driver = passwd-file
  args = username_format=%u {{.Dir}}/users
  result_failure = continue
}
passdb {
  driver = static
  args = password={{.Password}}
}
userdb {
  driver = static
  args = uid={{.UID}} gid={{.GID}} home={{.Dir}}/mail/%u
}
{{if .QuotaKiB}}
mail_plugins = quota
protocol imap {
  mail_plugins = quota imap_quota
}
plugin {
  quota = count:User
  quota_vsizes = yes
  quota_rule = *:storage={{.QuotaKiB}}K
}
{{end}}
`

const dovecot24 = "dovecot_config_version = {{.Version}}\ndovecot_storage_version = {{.Version}}\n" + services + `
auth_allow_cleartext = yes
auth_mechanisms {
{{- range .Mechanisms}}
  {{.}} = yes
{{- end}}
}
ssl_server_cert_file = {{.Cert}}
ssl_server_key_file = {{.Key}}
mail_driver = {{.Format}}
mail_path = ~/Maildir
mailbox_list_layout = fs
namespace inbox {
  inbox = yes
  {{.Namespace}}
}
passdb passwd-file {
  passwd_file_path = {{.Dir}}/users
  result_failure = continue
}
passdb static {
  password = {{.Password}}
}
userdb static {
  fields {
    uid = {{.UID}}
    gid = {{.GID}}
    home = {{.Dir}}/mail/%{user}
  }
}
{{if .QuotaKiB}}
mail_plugins {
  quota = yes
}
protocol imap {
  mail_plugins {
    imap_quota = yes
  }
}
quota "User" {
  driver = count
  storage_size = {{.QuotaKiB}}K
}
{{end}}
`

// launch starts Dovecot and returns when all ports answer. Dovecot ends with this process, however this process ends.
func (d *Dovecot) launch() error {
	d.cmd = exec.Command(dovecotPath(), "-F", "-c", filepath.Join(d.dir, "dovecot.conf"))
	out, err := os.Create(filepath.Join(d.dir, "out"))
	if err != nil {
		return err
	}
	defer out.Close()
	d.cmd.Stdout, d.cmd.Stderr = out, out
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is sent when the thread ends that started the process
		defer runtime.UnlockOSThread()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			d.cmd.Wait()
		}
		close(d.done)
	}()
	if err := <-started; err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.dir, pidFile), []byte(identity(d.cmd.Process.Pid)), 0o644); err != nil {
		return err
	}
	for _, port := range []int{d.IMAP, d.IMAPS, d.POP3, d.POP3S} {
		if !poll(Patience, func() bool { return d.exited() || answers(port) }) || d.exited() {
			return fmt.Errorf("port %d does not answer", port)
		}
	}
	return nil
}

func (d *Dovecot) exited() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

func answers(port int) bool {
	conn, err := net.DialTimeout("tcp", local(port), time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Stop ends Dovecot and all connections to it.
func (d *Dovecot) Stop() {
	if d.cmd == nil || d.cmd.Process == nil || d.exited() {
		return
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(Patience):
		syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
		<-d.done
	}
}

// Restart starts Dovecot again after Stop, with the mail and at the ports that it had.
func (d *Dovecot) Restart() error {
	d.done = make(chan struct{})
	return d.launch()
}

// Process returns the id of the process that has started all others of this Dovecot.
func (d *Dovecot) Process() int { return d.cmd.Process.Pid }

// Log returns the last 8,000 bytes that Dovecot logged.
func (d *Dovecot) Log() string {
	var all []byte
	for _, name := range []string{"out", "log"} {
		b, err := os.ReadFile(filepath.Join(d.dir, name))
		if err == nil {
			all = append(all, b...)
		}
	}
	return string(all[max(0, len(all)-8000):])
}

// Dial returns a client that is signed in over TLS. The account is removed when the test ends, not when a subtest does.
func (d *Dovecot) Dial(t testing.TB, user string) *Client {
	t.Helper()
	d.forget(t, user)
	return dial(t, d.IMAPS, user, Password)
}

// forget removes all mail of a user at the end of the test, so that the test may run again.
func (d *Dovecot) forget(t testing.TB, user string) {
	if !strings.Contains(t.Name(), "/") {
		t.Cleanup(func() { d.Forget(user) })
	}
}

// Forget removes all mail of a user.
func (d *Dovecot) Forget(user string) { os.RemoveAll(filepath.Dir(d.Maildir(user))) }

// Maildir is the directory of a user's INBOX. It exists after the user's first sign-in or [Dovecot.Deliver].
func (d *Dovecot) Maildir(user string) string { return filepath.Join(d.dir, "mail", user, "Maildir") }

// New, given as flags, delivers a message that no client has seen yet: it is \Recent.
const New = "new"

// Deliver puts a message into the Maildir of INBOX, byte for byte, even one that APPEND would refuse. UIDs follow the
// order of number. flags are Maildir's letters (S: seen), or [New]. date becomes INTERNALDATE.
func (d *Dovecot) Deliver(t testing.TB, user string, number int, flags string, date time.Time, message []byte) {
	t.Helper()
	d.forget(t, user)
	root := d.Maildir(user)
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	name := fmt.Sprintf("%d.M%dP1.localhost", 1_700_000_000+number, number)
	file := filepath.Join(root, "cur", name+":2,"+flags)
	if flags == New {
		file = filepath.Join(root, "new", name)
	}
	tmp := filepath.Join(root, "tmp", name)
	if err := os.WriteFile(tmp, message, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(tmp, date, date); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(filepath.Dir(root), func(p string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Chown(p, d.uid, d.gid)
		}
		if errors.Is(err, os.ErrNotExist) { // Dovecot removes its own files meanwhile
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, file); err != nil {
		t.Fatal(err)
	}
}

func dovecotPath() string {
	p, _ := lookPath("dovecot")
	return p
}

func ids(name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, err
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// freePorts returns n different ports at which nothing listens.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// local is the address of a port of this machine.
func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
