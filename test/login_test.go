package test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/mailfs/mailfs/test/harness"
)

// refused tells whether reading a directory is EACCES.
func refused(path string) bool {
	_, err := os.ReadDir(path)
	return os.IsPermission(err)
}

func readable(path string) bool {
	_, err := os.ReadDir(path)
	return err == nil
}

// untilRefused waits until a server refuses a password. Dovecot looks for changed passwords once a second.
func untilRefused(t *testing.T, url, password string) {
	t.Helper()
	harness.Eventually(t, "the old password is refused", func() bool {
		res := run.Run(t, harness.Command{Args: []string{"check", "--tls=off", url}, Env: []string{"MAILFS_PASSWORD=" + password}})
		return res.Code == 1 && strings.Contains(res.Stdout, "login refused")
	})
}

// holdsNoSecret fails the test if the output of the program holds one of the secrets.
func holdsNoSecret(t *testing.T, res harness.Result, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(res.Stdout+res.Stderr, s) {
			t.Errorf("%q shows: %s%s", s, res.Stdout, res.Stderr)
		}
	}
}

// mailfs login tries a password and puts it into the keyring if the server takes it. A mount asks the keyring at each
// sign-in, and goes on as soon as the keyring has a password that the server takes.
func TestLoginKeepsThePasswordThatMountsUse(t *testing.T) {
	t.Parallel()
	const first, second = "the first one 1", "the second one 2"
	keyring := run.Keyring(t)
	d := run.Dovecot(t, harness.DovecotOptions{Passwords: map[string]string{"keeper": first}})
	p := run.Proxy(t, d.IMAP, harness.ProxyOptions{})
	url := inTheClear("keeper", p.Port)
	bus := "DBUS_SESSION_BUS_ADDRESS=" + keyring.Address
	login := func(password string) harness.Result {
		res := run.Run(t, harness.Command{Args: []string{"login", "--tls=off", url}, Env: []string{bus, "MAILFS_PASSWORD=" + password}})
		holdsNoSecret(t, res, first, second, "neither of them")
		return res
	}

	res := run.Run(t, harness.Command{Args: []string{"mount", "--tls=off", url, run.TempDir(t)}, Env: []string{bus}})
	checkRefusal(t, res, `mailfs login`)
	checkRefusal(t, login("neither of them"), `login refused for "keeper"`)
	if kept := keyring.Secrets(); len(kept) != 0 {
		t.Fatalf("a refused password is kept: %v", kept)
	}
	if res := login(first); res.Code != 0 || res.Stderr != "" {
		t.Fatalf("login: exit status %d\n%s", res.Code, res.Stderr)
	}
	if kept := keyring.Secrets()["mailfs "+url]; kept != first {
		t.Fatalf("the keyring has %q, of %v", kept, keyring.Secrets())
	}

	m := run.MountAs(t, harness.Command{Args: []string{"--tls=off", "--refresh=100ms", url}, Env: []string{bus}})
	inbox := filepath.Join(m.Path, "INBOX")
	if !readable(inbox) {
		t.Fatal("INBOX can't be read")
	}
	t.Log("the password is changed on the server")
	// The server would also take harness.Password, but the keyring does not have that.
	if err := d.SetPasswords(map[string]string{"keeper": second}); err != nil {
		t.Fatal(err)
	}
	untilRefused(t, url, first)
	p.Cut()
	harness.Eventually(t, "the old password is refused", func() bool { return refused(inbox) })
	res = run.Run(t, harness.Command{Args: []string{"status", m.Path}})
	if !strings.Contains(res.Stdout, "login refused") || !strings.Contains(res.Stdout, "mailfs login "+url) {
		t.Errorf("status does not say why, and what to do: %s", res.Stdout)
	}
	if log, err := os.ReadFile(m.Log); err != nil || !strings.Contains(string(log), "login refused") {
		t.Errorf("the log does not say why: %s (%v)", log, err)
	} else {
		holdsNoSecret(t, harness.Result{Stdout: string(log), Stderr: res.Stdout}, first,
			base64.StdEncoding.EncodeToString([]byte("\x00keeper\x00"+first)))
	}
	if res := login(second); res.Code != 0 || res.Stderr != "" {
		t.Fatalf("login: exit status %d\n%s", res.Code, res.Stderr)
	}
	harness.Eventually(t, "the mount goes on", func() bool { return readable(inbox) })
	res = run.Run(t, harness.Command{Args: []string{"login", "--forget", "--tls=off", url}, Env: []string{bus}})
	if kept := keyring.Secrets(); res.Code != 0 || len(kept) != 0 {
		t.Errorf("exit status %d, the keyring has %v\n%s", res.Code, kept, res.Stderr)
	}
}

// When the server refuses the password that a mount was given, the mount takes the one that mailfs login has put into the
// keyring.
func TestLoginReplacesTheRefusedPasswordOfAMount(t *testing.T) {
	t.Parallel()
	keyring := run.Keyring(t)
	d := run.Dovecot(t, harness.DovecotOptions{Passwords: map[string]string{"given": "old"}})
	p := run.Proxy(t, d.POP3, harness.ProxyOptions{})
	url := fmt.Sprintf("pop3://given@127.0.0.1:%d", p.Port)
	bus := "DBUS_SESSION_BUS_ADDRESS=" + keyring.Address
	m := run.MountAs(t, harness.Command{Args: []string{"--tls=off", "--refresh=100ms", url}, Env: []string{bus, "MAILFS_PASSWORD=old"}})
	inbox := filepath.Join(m.Path, "INBOX")
	if err := d.SetPasswords(map[string]string{"given": "the new one"}); err != nil {
		t.Fatal(err)
	}
	untilRefused(t, url, "old")
	p.Cut()
	harness.Eventually(t, "the old password is refused", func() bool { return refused(inbox) })
	res := run.Run(t, harness.Command{Args: []string{"login", "--tls=off", url}, Env: []string{bus, "MAILFS_PASSWORD=the new one"}})
	if res.Code != 0 {
		t.Fatalf("login: exit status %d\n%s", res.Code, res.Stderr)
	}
	harness.Eventually(t, "the mount goes on", func() bool { return readable(inbox) })
}

// Where there is no keyring, mailfs login says so before the user types a password.
func TestLoginWithoutKeyringSaysSoBeforeAnybodyTypes(t *testing.T) {
	t.Parallel()
	res := run.Run(t, harness.Command{Args: append(append([]string{"login"}, trust()...), imaps("nokeyring"))})
	checkRefusal(t, res, `keyring.*password_command`)
	lost := "DBUS_SESSION_BUS_ADDRESS=unix:path=" + filepath.Join(run.TempDir(t), "none")
	res = run.Run(t, harness.Command{Args: append(append([]string{"login"}, trust()...), imaps("nokeyring")),
		Env: []string{lost, "MAILFS_PASSWORD=" + harness.Password}})
	checkRefusal(t, res, `keyring can't be used`)
}

const oauthConfiguration = `
tls = "off"
refresh = "100ms"
[account.work]
url = "imap://me@127.0.0.1:%d"
[account.work.oauth]
client_id = "mailfs-test"
%s
token_url = "%s/token"
scopes = ["mail"]
`

// mailfs login signs in with a device code (RFC 8628). A mount renews a token that has expired. After the tokens were
// revoked the mount is refused until the user signs in again.
func TestDeviceCodeSignsInUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"OAUTHBEARER", "XOAUTH2"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			keyring := run.Keyring(t)
			o := run.OAuth(t, "me", mechanism)
			o.Put(t, "Subject: first\r\n\r\nread before\r\n")
			o.Put(t, "Subject: second\r\n\r\nread after\r\n")
			p := run.Proxy(t, o.IMAP, harness.ProxyOptions{})
			config := config(t, oauthConfiguration, p.Port, fmt.Sprintf("device_url = %q", o.URL+"/device"), o.URL)
			bus := "DBUS_SESSION_BUS_ADDRESS=" + keyring.Address
			login := func() {
				t.Helper()
				cmd, stdout, stderr := run.Start(t, harness.Command{Args: []string{"login", "--config", config, "work"}, Env: []string{bus}})
				harness.Eventually(t, "it shows the code", func() bool {
					return strings.Contains(stdout.String(), "open "+o.URL+"/enter and enter the code WDJB-MJHT")
				})
				o.Permit()
				if err := cmd.Wait(); err != nil {
					t.Fatalf("login: %v\n%s", err, stderr)
				}
				holdsNoSecret(t, harness.Result{Stdout: stdout.String(), Stderr: stderr.String()}, "access-", "refresh-")
			}

			res := run.Run(t, harness.Command{Args: []string{"mount", "--config", config, run.TempDir(t)}, Env: []string{bus}})
			checkRefusal(t, res, `mailfs login work`)
			login()
			if kept := keyring.Secrets()[fmt.Sprintf("mailfs OAuth imap://me@127.0.0.1:%d", p.Port)]; !strings.HasPrefix(kept, "refresh-") {
				t.Fatalf("the keyring has %v", keyring.Secrets())
			}
			m := run.MountAs(t, harness.Command{Args: []string{"--config", config}, Env: []string{bus}})
			inbox := filepath.Join(m.Path, "work", "INBOX")
			list := names(inbox)
			if len(list) != 2 {
				t.Fatalf("in INBOX is %q", list)
			}
			first, second := filepath.Join(inbox, list[0]), filepath.Join(inbox, list[1])
			if text, err := os.ReadFile(first); err != nil || !strings.HasSuffix(string(text), "read before\r\n") {
				t.Fatalf("%s: %q (%v)", first, text, err)
			}

			t.Log("the access token is void before its time")
			before := o.Issued()
			o.Expire()
			p.Cut()
			harness.Eventually(t, "it is renewed without a word", func() bool { return readable(inbox) && o.Issued() > before })

			t.Log("the permission is revoked")
			o.Revoke()
			p.Cut()
			harness.Eventually(t, "the mount is refused", func() bool { return refused(inbox) })
			if _, err := os.ReadFile(second); !errors.Is(err, syscall.EACCES) {
				t.Errorf("a message that nobody has read: %v, want EACCES", err)
			}
			if text, err := os.ReadFile(first); err != nil || !strings.HasSuffix(string(text), "read before\r\n") {
				t.Errorf("what was read before: %q (%v)", text, err)
			}
			res = run.Run(t, harness.Command{Args: []string{"status", m.Path}})
			if !strings.Contains(res.Stdout, "revoked; run mailfs login work") {
				t.Errorf("status does not say why: %s", res.Stdout)
			}
			res = run.Run(t, harness.Command{Args: []string{"check", "--config", config}, Env: []string{bus}})
			if res.Code != 1 || !strings.Contains(res.Stdout, "revoked; run mailfs login work") {
				t.Errorf("check: exit status %d\n%s%s", res.Code, res.Stdout, res.Stderr)
			}
			login()
			harness.Eventually(t, "the mount goes on", func() bool { return readable(inbox) })
			if text, err := os.ReadFile(second); err != nil || !strings.HasSuffix(string(text), "read after\r\n") {
				t.Errorf("after the login: %q (%v)", text, err)
			}
			res = run.Run(t, harness.Command{Args: []string{"status", m.Path}})
			if res.Code != 0 || strings.Contains(res.Stdout, "revoked") {
				t.Errorf("status still complains: %s%s", res.Stdout, res.Stderr)
			}
			res = run.Run(t, harness.Command{Args: []string{"check", "--config", config, "work"}, Env: []string{bus}})
			if res.Code != 0 || !strings.Contains(res.Stdout, "with "+mechanism) {
				t.Errorf("check: exit status %d\n%s%s", res.Code, res.Stdout, res.Stderr)
			}
			if log, err := os.ReadFile(m.Log); err != nil || regexp.MustCompile(`(access|refresh)-\d`).Match(log) {
				t.Errorf("tokens in the log (%v):\n%s", err, log)
			}
		})
	}
}

// Where the provider has no device codes, mailfs login has a browser signed in, which the provider sends back to it.
func TestBrowserSignsInWhereThereAreNoDeviceCodes(t *testing.T) {
	t.Parallel()
	keyring := run.Keyring(t)
	o := run.OAuth(t, "me", "XOAUTH2")
	config := config(t, oauthConfiguration, o.IMAP, fmt.Sprintf("auth_url = %q", o.URL+"/authorize"), o.URL)
	cmd, stdout, stderr := run.Start(t, harness.Command{Args: []string{"login", "--config", config, "work"},
		Env: []string{"DBUS_SESSION_BUS_ADDRESS=" + keyring.Address}})
	var page string
	harness.Eventually(t, "it shows the page", func() bool {
		page = regexp.MustCompile(`http://\S+/authorize\S+`).FindString(stdout.String())
		return page != "" && strings.HasSuffix(stdout.String(), "\n\n")
	})
	answer, err := http.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if err := cmd.Wait(); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("login: %v; the browser got %s\n%s", err, answer.Status, stderr)
	}
	if kept := keyring.Secrets(); len(kept) != 1 {
		t.Errorf("the keyring has %v", kept)
	}
}

// A token that a command prints is not taken by a server that has not issued it, and shows nowhere.
func TestTokenThatWasNotIssuedIsRefused(t *testing.T) {
	t.Parallel()
	o := run.OAuth(t, "me", "OAUTHBEARER")
	res, err := http.PostForm(o.URL+"/token", map[string][]string{
		"client_id": {"mailfs-test"}, "grant_type": {"authorization_code"}, "code": {"a code"}, "code_verifier": {"x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	args := []string{"check", "--tls=off", "--token-command", "echo access-1", inTheClear("me", o.IMAP)}
	out := run.Run(t, harness.Command{Args: args})
	if out.Code == 0 {
		t.Errorf("a token that was never issued is let in: %s", out.Stdout)
	}
	holdsNoSecret(t, out, "access-1")
}
