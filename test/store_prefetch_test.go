package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// status holds the fields of .mailfs/status.json that the tests look at.
type status struct {
	Mountpoint string
	Process    int
	Version    string
	Memory     struct{ Messages, Bytes, Budget int64 }
	Disk       struct{ Messages, Bytes, Budget int64 }
	Accounts   []struct {
		Name, Server, Error, Store    string
		Connections, Dials, Mailboxes int64
		BytesIn                       int64 `json:"bytes_in"`
		BytesOut                      int64 `json:"bytes_out"`
		Fetched                       int64 `json:"messages_fetched"`
		FromMemory                    int64 `json:"messages_from_memory"`
		FromDisk                      int64 `json:"messages_from_disk"`
		Listed                        int64 `json:"mailboxes_listed"`
		Messages                      int64 `json:"messages_listed"`
		Syncing                       []struct {
			Mailbox string
			Since   time.Time
			Done    int `json:"messages_done"`
			Total   int `json:"messages_total"`
		}
	}
}

// statusOf reads the status of a mount.
func statusOf(t testing.TB, m *harness.Mount) (s status) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(m.Path, ".mailfs", "status.json"))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		t.Fatalf("the status of the mount: %v\n%s", err, b)
	}
	return s
}

// onDisk counts the messages in a cache directory, of the account whose store has a name that contains account.
func onDisk(t *testing.T, cacheDir, account string) (n int) {
	for _, f := range bodiesIn(t, cacheDir) {
		if strings.Contains(f, account) && !strings.HasSuffix(f, ".new") {
			n++
		}
	}
	return n
}

// Messages that the option prefetch names are fetched before anything reads them, and can then be read without the server.
func TestPrefetchedMailNeedsNoServer(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	mails := harness.Letters(240, 30)
	for i := range mails { // from two months ago to today: 12 of them within 30 days
		mails[i].Date = time.Now().Add(-time.Duration(29-i) * 5 * day / 2).Truncate(time.Second).Add(-time.Hour)
	}
	deep := harness.Letters(241, 3)
	for i := range deep {
		deep[i].Date = time.Now().Add(-200 * day).Truncate(time.Second)
	}
	for _, kind := range []string{"all", "recent", "none"} {
		c := dovecot.Dial(t, "prefetch"+kind)
		c.Put("INBOX", mails...)
		c.Make("Old", "Old/Deep")
		c.Put("Old/Deep", deep...)
	}
	store := filepath.Join(run.TempDir(t), "store")
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	tables := ""
	for _, kind := range []string{"all", "recent", "none"} {
		tables += fmt.Sprintf("[account.%s]\nurl = %q\ntls = \"off\"\nprefetch = %q\npassword_command = \"echo '%s'\"\n", kind,
			inTheClear("prefetch"+kind, proxy.Port), kind, harness.Password)
	}
	args := []string{"--config", config(t, "cache_dir = %q\n%s", store, tables)}
	m := run.MountAs(t, harness.Command{Args: args})
	for kind, want := range map[string]int{"all": 33, "recent": 12} {
		harness.Eventually(t, "what is wanted of "+kind+" is here", func() bool {
			return onDisk(t, store, "prefetch"+kind) == want
		})
	}
	for kind, want := range map[string]int{"all": 33, "recent": 12, "none": 0} {
		if n := onDisk(t, store, "prefetch"+kind); n != want {
			t.Errorf("%d messages of %s are on disk, want %d", n, kind, want)
		}
	}
	if seen := dovecot.Dial(t, "prefetchall").Held("INBOX"); !slices.EqualFunc(seen, mails, func(a, b harness.Mail) bool {
		return len(a.Flags) == len(b.Flags) || len(a.Flags) == len(b.Flags)+1 && slices.Contains(a.Flags, `\Recent`)
	}) {
		t.Error("bringing messages changed their flags")
	}
	proxy.Close()
	kill(t, m)
	m.Again(t, harness.Command{Args: args})
	all := &harness.Mount{Path: filepath.Join(m.Path, "all")}
	all.Compare(t, dovecot.Dial(t, "prefetchall").All(), nil)
}

// With the option keep, messages that were fetched stay when the POP3 server drops them. Without the option they vanish.
func TestKeptMailStaysWhenThePOP3ServerDropsIt(t *testing.T) {
	t.Parallel()
	mails := harness.Letters(242, 8)
	for _, kind := range []string{"kept", "lost"} {
		dovecot.Dial(t, kind).Put("INBOX", mails...)
	}
	store := filepath.Join(run.TempDir(t), "store")
	proxy := run.Proxy(t, dovecot.POP3, harness.ProxyOptions{})
	tables := ""
	for _, kind := range []string{"kept", "lost"} {
		tables += fmt.Sprintf("[account.%s]\nurl = \"pop3://%s@127.0.0.1:%d\"\ntls = \"off\"\nprefetch = \"all\"\nkeep = %v\n"+
			"password_command = \"echo '%s'\"\n", kind, kind, proxy.Port, kind == "kept", harness.Password)
	}
	// The cache has room for one message. Those of the account with keep do not count.
	file := config(t, "cache_dir = %q\ncache_size = \"2KiB\"\nrefresh = \"1s\"\n%s", store, tables)
	args := []string{"--config", file}
	m := run.MountAs(t, harness.Command{Args: args})
	inbox := func(account string) string { return filepath.Join(m.Path, account, "INBOX") }
	// check compares what an account shows with the messages that it must show.
	check := func(when, account string, want []harness.Mail) {
		t.Helper()
		bodies := map[string]bool{}
		for _, name := range names(inbox(account)) {
			b, err := os.ReadFile(filepath.Join(inbox(account), name))
			if err != nil {
				t.Errorf("%s: %v", when, err)
			}
			bodies[string(b)] = true
		}
		if len(bodies) != len(want) {
			t.Errorf("%s: %s shows %d messages, want %d", when, account, len(bodies), len(want))
		}
		for _, mail := range want {
			if !bodies[string(mail.Body)] {
				t.Errorf("%s: %s does not show %.60q", when, account, mail.Body)
			}
		}
	}
	harness.Eventually(t, "all mail of the kept account is here", func() bool {
		return onDisk(t, store, "kept") == len(mails)
	})
	check("at first", "kept", mails)
	check("at first", "lost", mails)

	for _, account := range []string{"kept", "lost"} {
		c := dovecot.Dial(t, account)
		for _, mail := range c.Held("INBOX")[:5] {
			c.Remove("INBOX", mail.UID)
		}
	}
	fresh := harness.Letters(243, 1)
	dovecot.Dial(t, "kept").Put("INBOX", fresh...)
	all := append(slices.Clone(mails), fresh...)
	harness.Eventually(t, "what was deleted vanishes from an account that is not kept",
		func() bool { return len(names(inbox("lost"))) == 3 })
	harness.Eventually(t, "new mail shows beside what is kept", func() bool { return len(names(inbox("kept"))) == len(all) })
	check("after messages were dropped", "kept", all)
	check("after messages were dropped", "lost", mails[5:])

	kill(t, m)
	m.Again(t, harness.Command{Args: args})
	harness.Eventually(t, "the account was looked at since", func() bool { return statusOf(t, m).Accounts[0].Listed == 1 })
	check("after another mount", "kept", all)
	check("after another mount", "lost", mails[5:])
	m.Unmount(t)
	proxy.Close()
	m.Again(t, harness.Command{Args: args})
	check("without the server", "kept", all)
}
