package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/mailfs/mailfs/test/harness"
)

// plantSearches puts messages for queries into two mailboxes of a user.
func plantSearches(t *testing.T, user string) {
	t.Helper()
	c := dovecot.Dial(t, user)
	c.Make("Archive", "Archive/2025", "Empty")
	letter := func(from, subject, text string, day int, flags ...imap.Flag) harness.Mail {
		return harness.Mail{Date: harness.First.AddDate(0, 0, day), Flags: flags, Body: harness.Letter(from, subject, text)}
	}
	c.Put("INBOX",
		letter("alice@example.com", "Invoice 1", "the total is 100\r\n", 0, imap.FlagSeen),
		letter("bob@example.com", "Re: Invoice 1", "thanks\r\n", 1, imap.FlagSeen, imap.FlagAnswered),
		letter("alice@example.com", "Holiday", "the invoice follows\r\n"+strings.Repeat("sand and sea\r\n", 2000), 2),
		letter("carol@example.com", "=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "liebe Grüße\r\n", 3, imap.FlagFlagged),
	)
	c.Put("Archive/2025", letter("alice@example.com", "Invoice 0", "the total is 99\r\n", -30, imap.FlagSeen))
}

// queries are searches, with the UIDs that they find in INBOX.
var queries = []struct {
	query string
	uids  []int
}{
	{"from:alice", []int{1, 3}},
	{"FROM:ALICE", []int{1, 3}},
	{"to:bob", []int{1, 2, 3, 4}},
	{"subject:invoice", []int{1, 2}},
	{`subject:"Re: Invoice"`, []int{2}},
	{"from:alice subject:invoice", []int{1}},
	{"from:alice since:2026-01-06", []int{3}},
	{"since:2026-01-06 before:2026-01-08", []int{2, 3}},
	{"before:2026-01-06", []int{1}},
	{"larger:10k", []int{3}},
	{"smaller:10k from:alice", []int{1}},
	{"unread", []int{3, 4}},
	{"flagged", []int{4}},
	{"answered", []int{2}},
	{"unread from:alice", []int{3}},
	{"subject:Grüße", []int{4}},
	{"from:nobody", nil},
	{"invoice", []int{1, 2, 3}},
	{"body:invoice", []int{3}},
	{`"the invoice follows"`, []int{3}},
	{"text:grüße", []int{4}},
}

func foundIn(t *testing.T, dir string) (uids []int, names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var uid int
		base := strings.TrimSuffix(e.Name(), ".eml")
		fmt.Sscan(base[strings.LastIndexByte(base, '_')+1:], &uid)
		uids, names = append(uids, uid), append(names, e.Name())
	}
	slices.Sort(uids)
	return uids, names
}

// A query finds what SEARCH of the server finds, with the names and inode numbers of the mailbox, in one round trip.
func TestSearchFindsWhatTheServerFinds(t *testing.T) {
	t.Parallel()
	plantSearches(t, "search")
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	m := run.Mount(t, "--tls=off", "--cache-dir", "none", "--refresh", "1h", inTheClear("search", proxy.Port))
	box := filepath.Join(m.Path, "INBOX")
	foundIn(t, box)
	harness.Eventually(t, "the connection for bodies has INBOX open as well", func() bool {
		return len(proxy.Commands(`EXAMINE`)) == 2
	})
	for _, q := range queries {
		proxy.Forget()
		uids, names := foundIn(t, filepath.Join(box, ".search", q.query))
		if !slices.Equal(uids, q.uids) {
			t.Errorf("%s: found %v, want %v", q.query, uids, q.uids)
		}
		if said := proxy.Commands(`.`); len(said) != 1 || !strings.Contains(said[0], "UID SEARCH") {
			t.Errorf("%s: took %q", q.query, said)
		}
		for _, name := range names {
			a, err := os.Stat(filepath.Join(box, name))
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.Stat(filepath.Join(box, ".search", q.query, name))
			if err != nil {
				t.Fatal(err)
			}
			if !os.SameFile(a, b) || a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) {
				t.Errorf("%s: %s is another file than in the mailbox", q.query, name)
			}
		}
	}
	if out := harness.Shell(t, m.Path, `cat INBOX/.search/from:carol/*; ls INBOX/.search; cp INBOX/.search/flagged/*.eml "$1"; ls "$1"`,
		run.TempDir(t)); !strings.Contains(out, "liebe Grüße") || !strings.Contains(out, "_4.eml") {
		t.Errorf("what was found can't be used: %s", out)
	}
}

// A search at the root of an account searches all mailboxes.
func TestSearchAtTheRootSearchesAllMailboxes(t *testing.T) {
	t.Parallel()
	plantSearches(t, "searchall")
	m := run.Mount(t, append(trust(), imaps("searchall"))...)
	out := harness.Shell(t, m.Path, `cd .search/"from:alice subject:invoice"; find . | sort | sed 's/.*_//'; cat INBOX/* Archive/2025/* | grep total`)
	if !strings.HasSuffix(out, "the total is 100\r\nthe total is 99\r\n") || strings.Count(out, ".eml") != 2 ||
		!strings.Contains(out, "./Archive/2025\n") || strings.Contains(out, "Empty") {
		t.Errorf("got %q, want one message in each of INBOX and Archive/2025", out)
	}
}

// A query that makes no sense is EINVAL, and the log says at which character.
func TestQueryThatMakesNoSenseIsEINVAL(t *testing.T) {
	t.Parallel()
	plantSearches(t, "nonsense")
	m := run.Mount(t, append(trust(), imaps("nonsense"))...)
	for _, q := range []string{"form:alice", "since:yesterday", "larger:big", `"open`, "from:", " ", "from:a\xff"} {
		for _, box := range []string{"INBOX", ""} {
			if _, err := os.Stat(filepath.Join(m.Path, box, ".search", q)); !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%q: %v, want EINVAL", q, err)
			}
		}
	}
	log, err := os.ReadFile(m.Log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), "at character 7") || !strings.Contains(string(log), "is not a date") {
		t.Errorf("the log does not say where since:yesterday is wrong:\n%s", log)
	}
}

// A search finds new mail once it is listed, and no longer finds mail that was removed.
func TestSearchFollowsTheMailbox(t *testing.T) {
	t.Parallel()
	plantSearches(t, "searchnew")
	m := run.Mount(t, append(trust(), "--refresh", "1s", imaps("searchnew"))...)
	dir := filepath.Join(m.Path, "INBOX/.search/from:alice")
	if uids, _ := foundIn(t, dir); !slices.Equal(uids, []int{1, 3}) {
		t.Fatalf("found %v", uids)
	}
	c := dovecot.Dial(t, "searchnew")
	c.Put("INBOX", harness.Mail{Date: harness.First, Body: harness.Letter("alice@example.com", "new", "x\r\n")})
	c.Remove("INBOX", 1)
	harness.Eventually(t, "the search follows the mailbox", func() bool {
		uids, _ := foundIn(t, dir)
		return slices.Equal(uids, []int{3, 5})
	})
}

// The cache is searched over POP3, and when the server can't be reached.
func TestSearchWithoutServerSearchesTheCache(t *testing.T) {
	t.Parallel()
	plantSearches(t, "searchkept")
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	m := run.Mount(t, "--tls=off", "--cache-dir", run.TempDir(t), inTheClear("searchkept", proxy.Port))
	harness.Shell(t, m.Path, `ls INBOX >/dev/null; cat INBOX/*_3.eml >/dev/null; cat INBOX/.text/*_4.txt >/dev/null`)
	proxy.Close()
	for _, q := range queries {
		uids, _ := foundIn(t, filepath.Join(m.Path, "INBOX/.search", q.query))
		if !slices.Equal(uids, q.uids) {
			t.Errorf("without the server, %s: found %v, want %v", q.query, uids, q.uids)
		}
	}
	if log, _ := os.ReadFile(m.Log); !strings.Contains(string(log), "mailfs searches in what it has") ||
		!strings.Contains(string(log), "a search is incomplete") {
		t.Errorf("the log does not say that the search was incomplete:\n%s", log)
	}

	p := run.Mount(t, append(trust(), "--cache-dir", "none", fmt.Sprintf("pop3s://searchkept@localhost:%d", dovecot.POP3S))...)
	for query, want := range map[string]int{"from:alice": 2, `subject:"Re: Invoice"`: 1, "from:nobody": 0, "larger:10k": 1} {
		if _, names := foundIn(t, filepath.Join(p.Path, "INBOX/.search", query)); len(names) != want {
			t.Errorf("POP3, %s: found %v, want %d", query, names, want)
		}
	}
	harness.Shell(t, p.Path, `cat INBOX/*.eml >/dev/null`)
	if _, names := foundIn(t, filepath.Join(p.Path, "INBOX/.search/body:invoice")); len(names) != 1 {
		t.Errorf("POP3: found %v in messages that were read, want one", names)
	}
}
