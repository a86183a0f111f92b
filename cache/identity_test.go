package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/remotetest"
)

// lasting is an account that survives the cache, for the next one.
type lasting struct{ *remotetest.Account }

func (lasting) Close() error { return nil }

// reuse is a mailbox whose server gives identifiers again.
type reuse struct {
	t       *testing.T
	server  lasting
	store   string
	cache   *cache.Cache
	mailbox *cache.Mailbox
}

func newReuse(t *testing.T, store string) *reuse {
	r := &reuse{t: t, server: lasting{remotetest.NewAccount()}, store: store}
	r.open()
	t.Cleanup(func() { r.cache.Close() })
	return r
}

func (r *reuse) open() {
	r.t.Helper()
	r.cache = cache.New(cache.Options{Memory: 64 << 20, Disk: 64 << 20, Timeout: 10 * time.Second, Refresh: time.Nanosecond})
	a, err := r.cache.Account("test", r.server, cache.AccountOptions{Store: r.store})
	if err != nil {
		r.t.Fatal(err)
	}
	r.mailbox = a.Mailbox(remote.Mailbox{Name: "INBOX"})
}

func (r *reuse) again() {
	r.t.Helper()
	if err := r.cache.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

// reads are the ways in which bytes of a message are read.
var reads = map[string]func(context.Context, *cache.Mailbox, cache.Ref) ([]byte, error){
	"message": func(ctx context.Context, m *cache.Mailbox, ref cache.Ref) ([]byte, error) {
		var got []byte
		for {
			data, done, err := m.Bytes(ctx, ref, int64(len(got)), 128<<10)
			if err != nil || len(data) == 0 {
				return got, err
			}
			got = append(got, data...)
			done()
		}
	},
	"header": func(ctx context.Context, m *cache.Mailbox, ref cache.Ref) ([]byte, error) { return m.Header(ctx, ref) },
	"text":   func(ctx context.Context, m *cache.Mailbox, ref cache.Ref) ([]byte, error) { return m.Text(ctx, ref) },
	"parts": func(ctx context.Context, m *cache.Mailbox, ref cache.Ref) ([]byte, error) {
		files, err := m.Parts(ctx, ref)
		var all []byte
		for _, f := range files {
			content, failed := m.PartBytes(ctx, ref, f)
			err = errors.Join(err, failed)
			size, failed := m.PartSize(ctx, ref, f)
			if err = errors.Join(err, failed); err == nil && size != int64(len(content)) {
				err = fmt.Errorf("%s: %d bytes of %d", f.Name, len(content), size)
			}
			all = fmt.Appendf(all, "%s\n%s\n", f.Name, content)
		}
		return all, err
	},
}

// check reads all messages in all ways. Each says its own mark everywhere, and never another one.
func (r *reuse) check(marks ...string) []cache.Entry {
	r.t.Helper()
	table := table(r.t, r.mailbox)
	if table.Len() != len(marks) {
		r.t.Fatalf("%d messages of %d", table.Len(), len(marks))
	}
	var entries []cache.Entry
	for i, mark := range marks {
		e := table.At(i)
		entries = append(entries, e)
		for how, read := range reads {
			got, err := read(r.t.Context(), r.mailbox, e.Ref)
			if err != nil || !bytes.Contains(got, []byte(mark)) {
				r.t.Errorf("%s of %s is not that of %s: %v, %.300q", how, e.Name, mark, err, got)
			}
		}
	}
	return entries
}

// marked returns a message that says a mark in its header, its text and its parts. All are of the same length and date.
func marked(mark string) []byte {
	return append(fmt.Appendf(nil, "Message-ID: <%s@x>\r\n", mark), letter("the same", mark)...)
}

func TestAnIdentifierServesNoOtherMessage(t *testing.T) {
	for _, test := range []struct {
		name  string
		after []string // marks that are listed afterwards
		reuse func(r *reuse)
		gone  func(r *reuse) // before: the cache sees it; nil where it does not
	}{
		{name: "a UID that was given again after it was seen gone", after: []string{"mark-one", "mark-new", "mark-tre"},
			gone:  func(r *reuse) { r.server.Remove("INBOX", 2) },
			reuse: func(r *reuse) { r.server.PutAt("INBOX", 2, marked("mark-new")) }},
		{name: "UIDNEXT that goes back, with UIDs below given again", after: []string{"mark-one", "mark-new"},
			reuse: func(r *reuse) {
				r.server.Restore("INBOX", 1, 1)
				r.server.Put("INBOX", marked("mark-one"), marked("mark-new"))
			}},
		{name: "UIDVALIDITY that comes back", after: []string{"mark-nw1", "mark-nw2", "mark-nw3"},
			gone: func(r *reuse) {
				r.server.Restore("INBOX", 99, 1)
				r.server.Put("INBOX", marked("mark-x"))
			},
			reuse: func(r *reuse) {
				r.server.Restore("INBOX", 1, 1)
				r.server.Put("INBOX", marked("mark-nw1"), marked("mark-nw2"), marked("mark-nw3"))
			}},
	} {
		for _, kept := range []bool{false, true} {
			for restart := range 4 {
				if restart > 0 && !kept || restart&1 > 0 && test.gone == nil {
					continue
				}
				t.Run(fmt.Sprintf("%s, on disk %v, restart %d", test.name, kept, restart), func(t *testing.T) {
					store := ""
					if kept {
						store = t.TempDir()
					}
					r := newReuse(t, store)
					r.server.Put("INBOX", marked("mark-one"), marked("mark-two"), marked("mark-tre"))
					before := r.check("mark-one", "mark-two", "mark-tre")
					time.Sleep(10 * time.Millisecond)
					if restart&1 > 0 {
						r.again()
					}
					if test.gone != nil {
						test.gone(r)
						table(t, r.mailbox)
					}
					if restart&2 > 0 {
						r.again()
					}
					test.reuse(r)
					r.check(test.after...)
					if restart > 0 {
						return
					}
					// Who holds the message open that had the UID gets its bytes or an error.
					for how, read := range reads {
						if got, err := read(t.Context(), r.mailbox, before[1].Ref); err == nil && !bytes.Contains(got, []byte("mark-two")) {
							t.Errorf("%s of the message before: %.300q", how, got)
						}
					}
				})
			}
		}
	}
}

func TestAMessageThatComesBackIsNotFetchedAgain(t *testing.T) {
	r := newReuse(t, t.TempDir())
	r.server.Put("INBOX", marked("mark-one"), marked("mark-two"))
	r.check("mark-one", "mark-two")
	r.again() // nothing is in memory
	r.server.Remove("INBOX", 2)
	r.check("mark-one")
	fetched := len(r.server.Calls("Bodies"))
	r.server.PutAt("INBOX", 2, marked("mark-two"))
	r.check("mark-one", "mark-two")
	if n := len(r.server.Calls("Bodies")); n != fetched {
		t.Errorf("%d fetches", n-fetched)
	}
}
