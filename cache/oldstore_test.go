package cache_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/remotetest"
)

// The store was written by an earlier version, see package disk. What was read then is there without the server: the message,
// its text and its parts.
func TestAStoreOfAnEarlierVersionIsServedWithoutTheServer(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("disk/testdata/imap")); err != nil {
		t.Fatal(err)
	}
	server := remotetest.NewAccount()
	server.Intercept(func(context.Context, remotetest.Call) error { return remote.ErrUnreachable })
	c := cache.New(cache.Options{Memory: 1 << 20, Disk: 1 << 20, Timeout: time.Minute})
	defer c.Close()
	a, err := c.Account("", server, cache.AccountOptions{Store: dir})
	if err != nil {
		t.Fatal(err)
	}
	mailboxes, err := a.Mailboxes(t.Context())
	i := slices.IndexFunc(mailboxes, func(m remote.Mailbox) bool { return m.Name == "Archive/2025" })
	if err != nil || i < 0 {
		t.Fatalf("mailboxes: %v, %v", mailboxes, err)
	}
	m := a.Mailbox(mailboxes[i])
	listing := table(t, m)
	const name = "2025-12-03_billing@power.example_Invoice-10604-for-December-2025_12.eml"
	e, ok := listing.Lookup(name)
	if !ok || listing.Len() != 12 || e.Size != 1590 {
		t.Fatalf("%s: %v, %+v of %d messages", name, ok, e, listing.Len())
	}
	if body := read(t, m, e); len(body) != 1590 || !strings.Contains(string(body), "Invoice 10604 for December 2025") {
		t.Errorf("the message is %d bytes", len(body))
	}
	text, err := m.Text(t.Context(), e.Ref)
	if err != nil || len(text) != 300 || !strings.Contains(string(text), "[attachment: invoice-10604.pdf (application/pdf, 570 bytes)]") {
		t.Errorf("the text is %q, %v", text, err)
	}
	sizes := map[string]int64{"headers.txt": 420, "body.txt": 67, "invoice-10604.pdf": 599}
	files, err := m.Parts(t.Context(), e.Ref)
	if err != nil || len(files) != len(sizes) {
		t.Errorf("the parts are %v, %v", files, err)
	}
	for _, f := range files {
		if content, err := m.PartBytes(t.Context(), e.Ref, f); err != nil || int64(len(content)) != sizes[f.Name] {
			t.Errorf("%s is %d bytes, %v", f.Name, len(content), err)
		}
	}
}
