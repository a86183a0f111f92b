package config

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// write writes a text to a new file and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certificate returns a certificate in PEM.
func certificate(t *testing.T) []byte {
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// jobOf returns the job of a command line of mailfs mount.
func jobOf(t *testing.T, args ...string) (*Job, error) {
	t.Helper()
	f := NewFlags()
	flags := pflag.NewFlagSet("mount", pflag.ContinueOnError)
	f.AddAll(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f.Job(flags.Arg(0))
}

func TestFlagsBeatTheTableOfAnAccountWhichBeatsTheTopOfTheFile(t *testing.T) {
	dir := t.TempDir()
	roots := certificate(t)
	write(t, dir, "ca.pem", string(roots))
	path := write(t, dir, "config.toml", `
memory = "1GiB"
refresh = 90
timeout = "10s"
file_mode = "0444"
allow_other = true
log_file = "log/mailfs.log"

[account.work]
url = "imaps://me%40example.org@mail.example.org"
password_command = "pass show mail/work"
connections = 3
timeout = "5s"
ca_file = "ca.pem"

[account."bücher & mehr"]
url = "pop3s://books@pop.example.net:9995"

[account.aaa]
url = "imap://a@127.0.0.1"
tls = "off"
`)
	j, err := jobOf(t, "--config", path)
	if err != nil {
		t.Fatal(err)
	}
	if j.Single || j.Memory != 1<<30 || j.Refresh != 90*time.Second || j.FileMode != 0o444 || j.DirMode != 0o500 ||
		!j.AllowOther || j.LogFile != filepath.Join(dir, "log/mailfs.log") || j.FSName != "mailfs" {
		t.Errorf("the job is %+v", j)
	}
	want := []Account{
		{Name: "work", URL: "imaps://me%40example.org@mail.example.org", User: "me@example.org",
			Roots: roots, Connection: Connection{PasswordCommand: "pass show mail/work", Connections: 3, TLS: "auto", Timeout: Duration(5 * time.Second)}},
		{Name: "bücher & mehr", URL: "pop3s://books@pop.example.net:9995", User: "books",
			Connection: Connection{Connections: 2, TLS: "auto", Timeout: Duration(10 * time.Second)}},
		{Name: "aaa", URL: "imap://a@127.0.0.1", User: "a",
			Connection: Connection{Connections: 2, TLS: "off", Timeout: Duration(10 * time.Second)}},
	}
	checkAccounts(t, j.Accounts, want)

	// What the command line says beats both parts of the file.
	j, err = jobOf(t, "--config", path, "--timeout", "1s", "--tls", "auto", "--memory", "5M", "--connections", "1")
	if err != nil {
		t.Fatal(err)
	}
	if j.Memory != 5<<20 {
		t.Errorf("memory is %d", j.Memory)
	}
	for i := range want {
		want[i].Timeout, want[i].TLS, want[i].Connections = Duration(time.Second), "auto", 1
	}
	checkAccounts(t, j.Accounts, want)
}

func checkAccounts(t *testing.T, got, want []Account) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d accounts, want %d", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		if g.Name != w.Name || g.URL != w.URL || g.User != w.User || g.TLS != w.TLS ||
			string(g.Roots) != string(w.Roots) || g.Timeout != w.Timeout || g.Connections != w.Connections ||
			g.PasswordCommand != w.PasswordCommand || g.HasPassword {
			t.Errorf("account %d is %+v, want %+v", i, g, w)
		}
	}
}

func TestAnErrorInTheConfigurationSaysWhatIsWrong(t *testing.T) {
	const account = "[account.a]\nurl = \"imaps://u@h\"\n"
	for text, says := range map[string]string{
		"":                                       "no account",
		"memory = \"1G\"\n":                      "no account",
		"[account.a\n":                           "line ",
		account + "passwort = \"x\"\n":           "account.a.passwort",
		"passwort = \"hunter2\"\n" + account:     "passwort",
		account + "password = \"hunter2\"\n":     "password_command",
		"Password = \"hunter2\"\n" + account:     "password_command",
		"foreground = true\n" + account:          "foreground",
		"allow-other = true\n" + account:         "allow-other",
		"memory = \"lots\"\n" + account:          "memory",
		"file_mode = 0o400\n" + account:          "string",
		"tls = \"maybe\"\n" + account:            "auto or off",
		"connections = 99\n" + account:           "from 1 to 10",
		account + "tls = \"maybe\"\n":            "auto or off",
		account + "timeout = \"-1s\"\n":          "out of range",
		account + "connections = 99\n":           "from 1 to 10",
		account + "ca_file = \"nothing.pem\"\n":  "nothing.pem",
		"[account.a]\n":                          "url is missing",
		"[account.a]\nurl = \"ftp://h\"\n":       "imaps://",
		"[account.a]\nurl = \"smtps://u@h\"\n":   "SMTP",
		"[account.a]\nurl = \"imaps://u:p@h\"\n": "MAILFS_PASSWORD",
		"[account.\".x\"]\nurl = \"imaps://u\"":  "dot",
		"[account.\"a/b\"]\nurl = \"imaps://u\"": "/",
		"[account.\"\"]\nurl = \"imaps://u\"":    "name",
		"account = 3\n":                          "account",
		"[account]\nurl = \"x\"\n":               "line 2: account.url must be a table, not a string",
		"[account.a]\nurl = 5\n":                 "line 2: account.a.url must be a string (in quotes), not a number",
		account + "keep = \"yes\"\n":             "line 3: account.a.keep must be true or false, not a string",
		account + "connections = true\n":         "line 3: account.a.connections must be a number, not true or false",
		"allow_other = \"perhaps\"\n" + account:  `allow_other: "perhaps" is neither true nor false`,
		"connections = \"few\"\n" + account:      `connections: "few" is not a number`,
	} {
		path := write(t, t.TempDir(), "config.toml", text)
		_, err := jobOf(t, "--config", path)
		if err == nil {
			t.Errorf("it takes %q", text)
			continue
		}
		got := err.Error()
		if !strings.Contains(got, says) || strings.Contains(got, "hunter2") || strings.Contains(got, " toml: ") || strings.Contains(got, "\n") {
			t.Errorf("of %q it says %q, want something about %q", text, got, says)
		}
	}
}

// It is in the file for mailfs check.
func TestAnAccountOfSMTPIsNotMounted(t *testing.T) {
	const smtp, imap = "[account.out]\nurl = \"smtps://u@h\"\n", "[account.in]\nurl = \"imaps://u@h\"\n"
	j, err := jobOf(t, "--config", write(t, t.TempDir(), "config.toml", smtp+imap))
	if err != nil || len(j.Accounts) != 1 || j.Accounts[0].Name != "in" {
		t.Errorf("%+v (%v), want one account", j, err)
	}
	if _, err := jobOf(t, "--config", write(t, t.TempDir(), "config.toml", smtp+strings.Replace(smtp, "out", "more", 1))); err == nil {
		t.Error("nothing is mounted without a word")
	}
}

func TestAPasswordCommandIsForOneAccount(t *testing.T) {
	const text = "[account.a]\nurl = \"imaps://u@h\"\n[account.b]\nurl = \"imaps://u@h\"\n"
	path := write(t, t.TempDir(), "config.toml", text)
	if _, err := jobOf(t, "--config", path, "--password-command", "true"); err == nil {
		t.Error("one password command is taken for two accounts")
	}
}

func TestTheConfigurationIsLookedForInTheXDGDirectory(t *testing.T) {
	t.Setenv("HOME", "/home/u")
	for xdg, want := range map[string]string{
		"":         "/home/u/.config/mailfs/config.toml",
		"relative": "/home/u/.config/mailfs/config.toml",
		"/x":       "/x/mailfs/config.toml",
	} {
		t.Setenv("XDG_CONFIG_HOME", xdg)
		if got, err := usualPath(); err != nil || got != want {
			t.Errorf("with XDG_CONFIG_HOME=%q it is %q (%v), want %q", xdg, got, err, want)
		}
	}
}
