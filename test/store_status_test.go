package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/mailfs/mailfs/test/harness"
)

// The status of a mount is in a file that no listing shows, and counts what happens.
func TestStatusFileIsHiddenAndCounts(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "status")
	c.Make("Folder", "Folder/Below")
	c.Put("INBOX", harness.Letters(250, 6)...)
	c.Put("Folder/Below", harness.Letters(251, 3)...)
	store := filepath.Join(run.TempDir(t), "store")
	sizes := []string{"--cache-dir", store, "--cache-size", "30MiB", "--memory", "20MiB"}
	m := run.Mount(t, append(append(trust(), sizes...), imaps("status"))...)
	harness.Shell(t, m.Path, `! ls -a . | grep -q mailfs
		! find . | grep -q mailfs
		ls .mailfs
		stat .mailfs/status.json >/dev/null`)
	if err := os.WriteFile(filepath.Join(m.Path, ".mailfs", "status.json"), nil, 0o600); !isErrno(err, syscall.EROFS) {
		t.Errorf("writing the status: %v, want EROFS", err)
	}
	if _, err := os.Stat(filepath.Join(m.Path, ".mailfs", "other")); !isErrno(err, syscall.ENOENT) {
		t.Errorf("another file beside it: %v, want ENOENT", err)
	}
	info, err := os.Stat(filepath.Join(m.Path, ".mailfs", "status.json"))
	if err != nil || info.Size() == 0 || info.Mode().Perm() != 0o400 {
		t.Errorf("its attributes: %v (%v)", info, err)
	}

	before := statusOf(t, m)
	if before.Mountpoint != m.Path || before.Process != m.Process(t) || before.Version == "" || len(before.Accounts) != 1 {
		t.Fatalf("the status is %+v", before)
	}
	if before.Memory.Budget != 20<<20 || before.Disk.Budget != 30<<20 ||
		!strings.Contains(before.Accounts[0].Server, "status@localhost") {
		t.Errorf("the status is %+v", before)
	}
	list := m.Compare(t, c.All(), nil)
	after := statusOf(t, m)
	a := after.Accounts[0]
	if a.Mailboxes != 3 || a.Listed != 3 || a.Messages != int64(len(list.Files())) || a.Fetched != 9 || a.Error != "" {
		t.Errorf("after everything was read the status is %+v", a)
	}
	if a.BytesIn <= before.Accounts[0].BytesIn || a.BytesOut <= before.Accounts[0].BytesOut || a.Connections < 1 || a.Dials < 1 {
		t.Errorf("the counters went from %+v to %+v", before.Accounts[0], a)
	}
	if after.Memory.Messages != 9 || after.Disk.Messages != 9 || after.Disk.Bytes < bytesBelow(t, store, "bodies") {
		t.Errorf("after everything was read the caches hold %+v and %+v", after.Memory, after.Disk)
	}
	if !strings.HasPrefix(a.Store, store) {
		t.Errorf("the store is %q, want one in %q", a.Store, store)
	}

	m.Unmount(t)
	m.Again(t, withPassword(append(trust(), "--cache-dir", store, imaps("status"))...))
	m.Compare(t, c.All(), nil)
	if a := statusOf(t, m).Accounts[0]; a.Fetched != 0 || a.FromDisk != 9 {
		t.Errorf("after another mount, %d messages were fetched and %d came from disk, want 0 and 9", a.Fetched, a.FromDisk)
	}
}

// While a mailbox is listed, the status says how many messages were listed.
func TestStatusTellsHowFarAListingIs(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "statuslisting").Put("INBOX", harness.Letters(252, 120)...)
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	m := run.Mount(t, "--tls=off", "--timeout", hangs, inTheClear("statuslisting", proxy.Port))
	proxy.FreezeWhen(`BODY\.PEEK\[HEADER\.FIELDS`)
	listed := make(chan int, 1)
	go func() { listed <- len(names(filepath.Join(m.Path, "INBOX"))) }()
	harness.Eventually(t, "the listing hangs", proxy.Frozen)
	s := statusOf(t, m).Accounts[0].Syncing
	if len(s) != 1 || s[0].Mailbox != "INBOX" || s[0].Done != 0 || s[0].Since.IsZero() {
		t.Errorf("while INBOX is listed the status says %+v", s)
	}
	res := run.Run(t, harness.Command{Args: []string{"status", m.Path}})
	if res.Code != 0 || !strings.Contains(res.Stdout, "listing INBOX") {
		t.Errorf("mailfs status: %d\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
	proxy.Thaw()
	if n := <-listed; n != 120 {
		t.Errorf("INBOX shows %d messages, want 120", n)
	}
	if s := statusOf(t, m).Accounts[0].Syncing; len(s) != 0 {
		t.Errorf("after that the status says %+v", s)
	}
}

// mailfs status prints the state of all mounts, for people and in JSON.
func TestStatusCommandTellsWhatIsMounted(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "statuscommand")
	c.Put("INBOX", harness.Letters(253, 7)...)
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	m := run.Mount(t, "--tls=off", "--refresh", "1s", inTheClear("statuscommand", proxy.Port))
	m.Compare(t, c.All(), nil)

	res := run.Run(t, harness.Command{Args: []string{"status", m.Path}})
	want := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(m.Path) + fmt.Sprintf(` \(process %d\)$`, m.Process(t)) +
		`[\s\S]*^ *imap://statuscommand@127\.0\.0\.1:\d+ .* 7 .* 1 +7$`)
	if res.Code != 0 || res.Stderr != "" || !want.MatchString(res.Stdout) {
		t.Errorf("mailfs status: %d\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
	res = run.Run(t, harness.Command{Args: []string{"status", "--json"}})
	var all []status
	if err := json.Unmarshal([]byte(res.Stdout), &all); err != nil { // tests beside this one mount and unmount
		t.Fatalf("mailfs status --json: %v\n%s%s", err, res.Stdout, res.Stderr)
	}
	found := 0
	for _, s := range all {
		if s.Mountpoint == m.Path && s.Accounts[0].Messages == 7 {
			found++
		}
	}
	if found != 1 {
		t.Errorf("the mount is %d times in\n%s", found, res.Stdout)
	}
	proxy.Close()
	harness.Eventually(t, "the status says that the server is out of reach", func() bool {
		names(filepath.Join(m.Path, "INBOX"))
		return statusOf(t, m).Accounts[0].Error != ""
	})
	res = run.Run(t, harness.Command{Args: []string{"status", m.Path}})
	if res.Code != 0 || !strings.Contains(res.Stdout, "refused") {
		t.Errorf("mailfs status: %d\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
	proxy.Open(t)
	harness.Eventually(t, "the status says no more that the server is out of reach", func() bool {
		names(filepath.Join(m.Path, "INBOX"))
		return statusOf(t, m).Accounts[0].Error == ""
	})

	kill(t, m)
	checkRefusal(t, run.Run(t, harness.Command{Args: []string{"status", m.Path}}), `is gone`)
	m.Unmount(t)
	checkRefusal(t, run.Run(t, harness.Command{Args: []string{"status", m.Path}}), `no mail is mounted`)
}

// mailfs status does not wait for a mount that does not answer.
func TestStatusCommandDoesNotWaitForAHungProcess(t *testing.T) {
	t.Parallel()
	m := run.Mount(t, append(trust(), imaps("statushung"))...)
	pid := m.Process(t)
	stop(t, pid)
	defer syscall.Kill(pid, syscall.SIGCONT)
	checkRefusal(t, run.Run(t, harness.Command{Args: []string{"status", m.Path}}), `does not answer`)
}

// mailfs cache lists the stores, and removes those that no mount uses.
func TestCacheCommandListsAndClears(t *testing.T) {
	t.Parallel()
	store := filepath.Join(run.TempDir(t), "store")
	cache := func(args ...string) harness.Result {
		return run.Run(t, harness.Command{Args: append([]string{"cache", "--cache-dir", store}, args...)})
	}
	if res := cache("list"); res.Code != 0 || res.Stdout != "The cache is empty.\n" {
		t.Errorf("cache list of nothing: %d %q %q", res.Code, res.Stdout, res.Stderr)
	}
	if res := cache("list", "--json"); res.Code != 0 || strings.TrimSpace(res.Stdout) != "[]" {
		t.Errorf("cache list --json of nothing: %d %q %q", res.Code, res.Stdout, res.Stderr)
	}
	refused := run.Run(t, harness.Command{
		Args: append(append([]string{"mount"}, trust()...), "--cache-dir", store, imaps("cacheone"), run.TempDir(t)),
		Env:  []string{"MAILFS_PASSWORD=wrong"},
	})
	if res := cache("list"); !strings.Contains(refused.Stderr, "login refused") || res.Code != 0 || res.Stdout != "The cache is empty.\n" {
		t.Errorf("cache list after a mount that said %q: %d %q %q", refused.Stderr, res.Code, res.Stdout, res.Stderr)
	}
	mounts := map[string]*harness.Mount{}
	for i, user := range []string{"cacheone", "cachetwo"} {
		c := dovecot.Dial(t, user)
		c.Put("INBOX", harness.Letters(uint64(254+i), 4+i)...)
		mounts[user] = run.Mount(t, append(trust(), "--cache-dir", store, imaps(user))...)
		mounts[user].Compare(t, c.All(), nil)
	}
	mounts["cachetwo"].Unmount(t)

	res := cache("list")
	for _, want := range []string{
		`cacheone@localhost:\d+ +4 .* process ` + fmt.Sprint(mounts["cacheone"].Process(t)),
		`cachetwo@localhost:\d+ +5 .*\d\d:\d\d *\n`,
	} {
		if res.Code != 0 || !regexp.MustCompile(want).MatchString(res.Stdout) {
			t.Errorf("cache list: %d, no %s in\n%s%s", res.Code, want, res.Stdout, res.Stderr)
		}
	}
	var list []struct {
		Dir, Account, Holder string
		Messages             int
		Bytes                int64
	}
	if err := json.Unmarshal([]byte(cache("list", "--json").Stdout), &list); err != nil || len(list) != 2 {
		t.Fatalf("cache list --json: %v, %+v", err, list)
	}
	for _, s := range list {
		if s.Account != imaps("cacheone") && s.Account != imaps("cachetwo") || s.Messages < 4 || s.Bytes < 5000 ||
			(s.Holder != "") != (s.Account == imaps("cacheone")) {
			t.Errorf("cache list --json: %+v", s)
		}
	}

	res = cache("clear")
	if res.Code != 1 || res.Stdout != "cleared "+imaps("cachetwo")+"\n" ||
		!regexp.MustCompile(`^mailfs: .*cacheone.*in use by process \d+; unmount the account first\n$`).MatchString(res.Stderr) {
		t.Errorf("cache clear: %d %q %q", res.Code, res.Stdout, res.Stderr)
	}
	if n := onDisk(t, store, "cacheone"); n != 4 {
		t.Errorf("cache clear left %d messages of the account that is mounted, want 4", n)
	}
	if n := onDisk(t, store, "cachetwo"); n != 0 {
		t.Errorf("cache clear left %d messages", n)
	}
	mounts["cacheone"].Compare(t, dovecot.Dial(t, "cacheone").All(), nil)
	checkRefusal(t, cache("clear", "nobody@example.org"), `no such account`)
	mounts["cacheone"].Unmount(t)
	if res := cache("clear", "cacheone"); res.Code != 0 || res.Stdout != "cleared "+imaps("cacheone")+"\n" {
		t.Errorf("cache clear of one account: %d %q %q", res.Code, res.Stdout, res.Stderr)
	}
	if left := names(store); len(left) != 0 {
		t.Errorf("the cache directory still holds %v", left)
	}
}
