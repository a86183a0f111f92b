package cache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/remotetest"
)

// letter returns a message with a text, HTML and a PDF in base64.
func letter(subject, text string) []byte {
	return []byte(strings.ReplaceAll(fmt.Sprintf(`From: Alice <alice@example.com>
To: bob@example.com
Subject: %s
Date: Thu, 05 Nov 2026 11:22:33 +0100
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=utf-8

%s
--inner
Content-Type: text/html; charset=utf-8

<p>%s</p>
--inner--
--outer
Content-Type: application/pdf
Content-Disposition: attachment; filename="bill.pdf"
Content-Transfer-Encoding: base64

SGVsbG8sIHBkZg==
--outer--
`, subject, text, text), "\n", "\r\n"))
}

// views is a mailbox with letters, in a cache of its own.
type views struct {
	t       *testing.T
	account *remotetest.Account
	cache   *cache.Cache
	mailbox *cache.Mailbox
	uids    []remote.UID
}

// newViews returns a mailbox with three letters. prepare may be nil; it is called before the account is used.
func newViews(t *testing.T, store string, prepare func(*remotetest.Account)) *views {
	account := remotetest.NewAccount()
	if prepare != nil {
		prepare(account)
	}
	v := &views{t: t, account: account}
	for i, text := range []string{"first text", "second text", "third text"} {
		v.uids = append(v.uids, account.Put("INBOX", letter(fmt.Sprint("letter ", i+1), text))...)
	}
	v.open(store)
	return v
}

// open opens a cache of the account, with a store unless that is "", and lists the mailbox.
func (v *views) open(store string) {
	c := cache.New(cache.Options{Memory: 1 << 20, Refresh: time.Hour, Timeout: time.Minute, Disk: 1 << 20})
	v.t.Cleanup(func() { c.Close() })
	a, err := c.Account("test", v.account, cache.AccountOptions{Store: store})
	if err != nil {
		v.t.Fatal(err)
	}
	v.cache, v.mailbox = c, inbox(v.t, a)
	table(v.t, v.mailbox)
}

// ref returns the i-th letter.
func (v *views) ref(i int) cache.Ref {
	return cache.Ref{UIDValidity: table(v.t, v.mailbox).UIDValidity(), UID: v.uids[i]}
}

func (v *views) text(i int) string {
	text, err := v.mailbox.Text(v.t.Context(), v.ref(i))
	if err != nil {
		v.t.Fatal(err)
	}
	return string(text)
}

// parts returns the names of the files of a letter, and their contents by name.
func (v *views) parts(i int) (names []string, contents map[string]string) {
	files, err := v.mailbox.Parts(v.t.Context(), v.ref(i))
	if err != nil {
		v.t.Fatal(err)
	}
	contents = map[string]string{}
	for _, f := range files {
		content, err := v.mailbox.PartBytes(v.t.Context(), v.ref(i), f)
		if err != nil {
			v.t.Fatalf("%s: %v", f.Name, err)
		}
		if size, err := v.mailbox.PartSize(v.t.Context(), v.ref(i), f); err != nil || size != int64(len(content)) {
			v.t.Errorf("%s has %d bytes, %v; it is of %d", f.Name, size, err, len(content))
		}
		names = append(names, f.Name)
		contents[f.Name] = string(content)
	}
	return names, contents
}

func (v *views) search(q remote.Query) (uids []remote.UID) {
	found, err := v.mailbox.Search(v.t.Context(), q)
	if err != nil {
		v.t.Fatal(err)
	}
	for i := range found.Len() {
		uids = append(uids, found.At(i).UID)
	}
	return uids
}

func (v *views) calls(method string) int { return len(v.account.Calls(method)) }

func TestATextIsFetchedOnceAndWithoutItsAttachments(t *testing.T) {
	v := newViews(t, "", nil)
	for range 3 {
		text := v.text(1)
		if !strings.HasPrefix(text, "From: Alice <alice@example.com>\nTo: bob@example.com\n") ||
			!strings.Contains(text, "\n\nsecond text\n") || !strings.Contains(text, "[attachment: bill.pdf (application/pdf, ") {
			t.Errorf("the text is %q", text)
		}
	}
	if s, b := v.calls("Sections"), v.calls("Bodies"); s != 1 || b != 0 {
		t.Errorf("%d calls of Sections, %d of Bodies; want 1 and 0", s, b)
	}
	if size, ok := v.mailbox.KnownTextSize(v.ref(1)); !ok || size != int64(len(v.text(1))) {
		t.Errorf("the size is %d, known: %v", size, ok)
	}
}

func TestPartsAreTheSameWhetherTheServerParsesTheMessageOrMailfs(t *testing.T) {
	want := []string{"headers.txt", "body.txt", "body.html", "bill.pdf"}
	var before map[string]string
	for _, wholeOnly := range []bool{false, true} {
		v := newViews(t, "", func(a *remotetest.Account) { a.WholeOnly = wholeOnly })
		names, contents := v.parts(0)
		if !slices.Equal(names, want) {
			t.Errorf("whole messages only: %v: files %v, want %v", wholeOnly, names, want)
		}
		if contents["bill.pdf"] != "Hello, pdf" || contents["body.txt"] != "first text\n" {
			t.Errorf("whole messages only: %v: %q", wholeOnly, contents)
		}
		if before != nil && fmt.Sprint(before) != fmt.Sprint(contents) {
			t.Errorf("the server's parts are %q, mailfs' own %q", before, contents)
		}
		before = contents
		if n := v.calls("Bodies"); wholeOnly != (n > 0) {
			t.Errorf("whole messages only: %v: %d calls of Bodies", wholeOnly, n)
		}
	}
}

func TestTextsAndPartsOutliveTheProcess(t *testing.T) {
	store := t.TempDir()
	v := newViews(t, store, nil)
	text := v.text(2)
	_, parts := v.parts(2)
	if err := v.cache.Close(); err != nil {
		t.Fatal(err)
	}
	v.account = remotetest.NewAccount()
	for range v.uids {
		v.account.Put("INBOX", letter("another one", "which nobody reads"))
	}
	v.open(store)
	if now := v.text(2); now != text {
		t.Errorf("the text was %q, is %q", text, now)
	}
	if _, now := v.parts(2); fmt.Sprint(now) != fmt.Sprint(parts) {
		t.Errorf("the parts were %q, are %q", parts, now)
	}
	for _, method := range []string{"Structures", "Sections", "Decoded", "DecodedSizes", "Bodies"} {
		if n := v.calls(method); n != 0 {
			t.Errorf("%d calls of %s", n, method)
		}
	}
}

func TestTheTextOfAMessageThatIsGoneIsNoMessageAndTheListingExpires(t *testing.T) {
	v := newViews(t, "", nil)
	ref := v.ref(0)
	v.account.Remove("INBOX", v.uids[0])
	if _, err := v.mailbox.Text(t.Context(), ref); !errors.Is(err, remote.ErrNoMessage) {
		t.Errorf("the error is %v", err)
	}
	if n := table(t, v.mailbox).Len(); n != len(v.uids)-1 {
		t.Errorf("%d messages are listed, want %d", n, len(v.uids)-1)
	}
}

func TestAServerThatCantSearchIsNotNeededForWhatWasRead(t *testing.T) {
	v := newViews(t, "", func(a *remotetest.Account) { a.WholeOnly = true })
	v.text(1)
	for _, c := range []struct {
		what  string
		query remote.Query
		want  []remote.UID
	}{
		{"a subject", remote.Query{Subject: []string{"LETTER 3"}}, []remote.UID{v.uids[2]}},
		{"a text that was read", remote.Query{Body: []string{"second"}}, []remote.UID{v.uids[1]}},
		{"a text that was not read", remote.Query{Body: []string{"third"}}, nil},
		{"a sender", remote.Query{From: []string{"alice@"}}, v.uids},
		{"a size", remote.Query{Larger: 1 << 20}, nil},
	} {
		if uids := v.search(c.query); !slices.Equal(uids, c.want) {
			t.Errorf("%s: found %v, want %v", c.what, uids, c.want)
		}
	}
	if n := v.calls("Bodies"); n != 1 {
		t.Errorf("%d calls of Bodies, want the one of the reader", n)
	}
}

func TestWhileAServerIsAwayASearchFindsWhatWasRead(t *testing.T) {
	v := newViews(t, "", nil)
	if _, err := v.mailbox.Header(t.Context(), v.ref(0)); err != nil {
		t.Fatal(err)
	}
	v.text(0)
	v.account.Intercept(func(context.Context, remotetest.Call) error { return remote.ErrUnreachable })
	if uids := v.search(remote.Query{Text: []string{"text"}}); !slices.Equal(uids, v.uids[:1]) {
		t.Errorf("found %v, want %v", uids, v.uids[:1])
	}
}
