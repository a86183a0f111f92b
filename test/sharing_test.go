package test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailfs/mailfs/test/harness"
)

var bodyFetch = regexp.MustCompile(`UID FETCH (\S+) .*BODY\.PEEK\[\]`)

// asked returns how often the lines ask for the body of each UID.
func asked(lines []harness.Line) map[int]int {
	times := make(map[int]int)
	for _, l := range lines {
		m := bodyFetch.FindStringSubmatch(l.Text)
		if l.FromServer || m == nil {
			continue
		}
		for part := range strings.SplitSeq(m[1], ",") {
			from, to, isRange := strings.Cut(part, ":")
			first, _ := strconv.Atoi(from)
			last := first
			if isRange {
				last, _ = strconv.Atoi(to)
			}
			for uid := min(first, last); uid <= max(first, last); uid++ {
				times[uid]++
			}
		}
	}
	return times
}

func TestManyReadersOfOneMessageCostOneFetch(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "sharing").Put("INBOX", harness.Letters(30, 5)...)
	want := dovecot.Dial(t, "sharing").Held("INBOX")[2]
	// The round trip is long, so that all readers have come before the answer has.
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{RTT: 500 * time.Millisecond})
	m := run.Mount(t, "--tls=off", inTheClear("sharing", proxy.Port))
	f := m.List(t).Find(t, "INBOX", want.UID)
	proxy.Forget()
	read(t, m, 20, func(int) string { return f.Path() }, func(int) []byte { return want.Body })
	if n := asked(proxy.Said())[int(want.UID)]; n != 1 {
		t.Errorf("20 readers of one message cost %d fetches", n)
	}
	read(t, m, 20, func(int) string { return f.Path() }, func(int) []byte { return want.Body })
	if n := asked(proxy.Said())[int(want.UID)]; n != 1 {
		t.Errorf("reading it again brought the fetches to %d", n)
	}
}

func TestReadersOfManyMessagesDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	dovecot.Dial(t, "queue").Put("INBOX", harness.Letters(31, 20)...)
	held := dovecot.Dial(t, "queue").Held("INBOX")
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	m := run.Mount(t, "--tls=off", "--timeout", hangs, inTheClear("queue", proxy.Port))
	list := m.List(t)
	m.Read(t, list.Find(t, "INBOX", held[0].UID)) // opens the connection for bodies
	proxy.Forget()
	proxy.Freeze()
	done := make(chan struct{})
	go func() {
		defer close(done)
		read(t, m, 19, func(i int) string { return list.Find(t, "INBOX", held[i+1].UID).Path() },
			func(i int) []byte { return held[i+1].Body })
	}()
	harness.Eventually(t, "nearly all readers have asked for their messages before one of them has an answer", func() bool {
		return len(asked(proxy.Said())) >= 15
	})
	proxy.Thaw()
	<-done
	for uid, n := range asked(proxy.Said()) {
		if n != 1 {
			t.Errorf("UID %d was fetched %d times", uid, n)
		}
	}
}

// A reader does not wait until the long listing of another mailbox is done.
func TestReaderDoesNotWaitForTheListingOfAnotherMailbox(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "listing")
	c.Make("Big")
	c.Put("Big", harness.Letters(32, 150)...)
	c.Put("INBOX", harness.Letters(33, 1)...)
	want := c.Held("INBOX")[0]
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	m := run.Mount(t, "--tls=off", "--timeout", hangs, inTheClear("listing", proxy.Port))
	inbox, err := os.ReadDir(filepath.Join(m.Path, "INBOX"))
	if err != nil || len(inbox) != 1 {
		t.Fatalf("INBOX holds %v (%v)", inbox, err)
	}
	// A reader has the connection for bodies opened. After that only the connection for listings hangs.
	read(t, m, 1, func(int) string { return "INBOX/" + inbox[0].Name() }, func(int) []byte { return want.Body })
	listed := make(chan error, 1)
	proxy.FreezeWhen(`BODY\.PEEK\[HEADER\.FIELDS`)
	go func() {
		_, err := os.ReadDir(filepath.Join(m.Path, "Big"))
		listed <- err
	}()
	harness.Eventually(t, "the listing hangs", proxy.Frozen)
	c.Put("INBOX", harness.Letters(34, 1)...)
	harness.Shell(t, m.Path, `cat INBOX/* | wc -c`)
	select {
	case err := <-listed:
		t.Fatalf("the listing was done meanwhile (%v), so this test has seen nothing", err)
	default:
	}
	proxy.Thaw()
	if err := <-listed; err != nil {
		t.Error(err)
	}
}

// read reads n paths at the same time and compares the bytes.
func read(t *testing.T, m *harness.Mount, n int, path func(int) string, want func(int) []byte) {
	t.Helper()
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			got, err := os.ReadFile(filepath.Join(m.Path, path(i)))
			if err != nil {
				t.Error(err)
			} else if string(got) != string(want(i)) {
				t.Errorf("%s: %d bytes that are not the server's %d", path(i), len(got), len(want(i)))
			}
		})
	}
	close(start)
	all.Wait()
}

// A reader asks for a message of its own when the message was asked for ahead of another reader, but is far behind others.
func TestReaderDoesNotWaitForReadaheadBeforeIt(t *testing.T) {
	t.Parallel()
	server := run.Dovecot(t, harness.DovecotOptions{})
	var mail []harness.Mail
	for i := range 400 {
		body := append(harness.Letter("alice@example.com", fmt.Sprintf("Letter %d", i), ""), strings.Repeat("a word\r\n", 2500)...)
		mail = append(mail, harness.Mail{Body: body})
	}
	server.Dial(t, "amid").Put("INBOX", mail...)
	proxy := run.Proxy(t, server.IMAP, harness.ProxyOptions{RTT: 5 * time.Millisecond, Rate: 4e6})
	m := run.Mount(t, "--tls=off", inTheClear("amid", proxy.Port))
	list := m.List(t)
	next := 1
	for ; ; next++ {
		m.Read(t, list.Find(t, "INBOX", imap.UID(next)))
		last := slices.Max(slices.Collect(maps.Keys(asked(proxy.Said()))))
		if last > next+150 { // 3 MB
			next = last
			break
		}
		if next == len(mail) {
			t.Fatal("nothing far ahead was asked for")
		}
	}
	f := list.Find(t, "INBOX", imap.UID(next))
	if got := m.Read(t, f); !bytes.Equal(got, mail[next-1].Body) {
		t.Errorf("%s has %d bytes that are not the server's", f.Name, len(got))
	}
	if n := asked(proxy.Said())[next]; n != 2 {
		t.Errorf("UID %d was asked for %d times, want once ahead of the first reader and once for the second", next, n)
	}
}
