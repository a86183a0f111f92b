package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailfs/mailfs/test/harness"
)

// pile fills a user's INBOX with n short messages, of which 500 differ: the server copies them, which is quickest.
func pile(t testing.TB, server *harness.Dovecot, user string, n int) {
	t.Helper()
	const letters = 500
	c := server.Dial(t, user)
	for i := range letters {
		c.Put("INBOX", harness.Mail{
			Date: harness.First.Add(time.Duration(i) * time.Hour),
			Body: harness.Letter(fmt.Sprintf("Sender %d <sender.%d@example.com>", i%97, i%97),
				fmt.Sprintf("Minutes of meeting %d", i), "Nothing was decided."),
		})
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	for have := letters; have < n; have *= 2 {
		all := imap.UIDSet{{Start: 1, Stop: imap.UID(min(have, n-have))}}
		if _, err := c.Copy(all, "INBOX").Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// listing returns how many names a directory holds, and how long it took to read them.
func listing(t testing.TB, path string) (int, time.Duration) {
	t.Helper()
	began := time.Now()
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	all, err := dir.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	return len(all), time.Since(began)
}

// received returns how many bytes have come from the server since the mount began.
func received(t testing.TB, m *harness.Mount) int64 {
	t.Helper()
	return statusOf(t, m).Accounts[0].BytesIn
}

// After another mount, listing a mailbox that has not changed takes less than 1 % of the bytes of the first listing.
func TestListingAfterARemountCostsLittle(t *testing.T) {
	t.Parallel()
	const messages = 3000
	pile(t, dovecot, "remount", messages)
	args := append(trust(), "--cache-dir", filepath.Join(run.TempDir(t), "store"), imaps("remount"))
	m := run.Mount(t, args...)
	if n, _ := listing(t, filepath.Join(m.Path, "INBOX")); n != messages {
		t.Fatalf("INBOX shows %d messages, want %d", n, messages)
	}
	first := received(t, m)
	list := m.List(t)
	for _, end := range []func(){func() { m.Unmount(t) }, func() { kill(t, m) }} {
		end()
		m.Again(t, withPassword(args...))
		if n, _ := listing(t, filepath.Join(m.Path, "INBOX")); n != messages {
			t.Errorf("INBOX shows %d messages, want %d", n, messages)
		}
		if again := received(t, m); again > first/100 {
			t.Errorf("listing again took %d bytes, more than 1 %% of the %d of the first time", again, first)
		}
		if now := m.List(t); !slices.Equal(now["INBOX"], list["INBOX"]) {
			t.Error("the listing is another one than before")
		}
	}

	// Only changes come from the server.
	kill(t, m)
	c := dovecot.Dial(t, "remount")
	c.Put("INBOX", harness.Letters(260, 5)...)
	c.Remove("INBOX", 17)
	c.SetFlags("INBOX", 2000, "$Label1")
	m.Again(t, withPassword(args...))
	if n, _ := listing(t, filepath.Join(m.Path, "INBOX")); n != messages+4 {
		t.Errorf("INBOX shows %d messages, want %d", n, messages+4)
	}
	if again := received(t, m); again > first/50 {
		t.Errorf("five new messages took %d bytes, after the %d of the first listing", again, first)
	}
}

// BenchmarkRemount lists 100,000 messages for the first time and after another mount, and prints the time and the bytes of
// both. The server has listed them before, so that filling its own caches counts for neither.
func BenchmarkRemount(b *testing.B) {
	const messages = 100_000
	server := run.Dovecot(b, harness.DovecotOptions{Format: "mdbox"}) // which holds this many messages with ease
	pile(b, server, "bench", messages)
	url := fmt.Sprintf("imaps://bench@localhost:%d", server.IMAPS)
	args := []string{"--timeout", "2m", "--ca-file", server.CA, "--cache-dir", "none", url}
	list := func(m *harness.Mount) (took time.Duration, bytes int64) {
		n, took := listing(b, filepath.Join(m.Path, "INBOX"))
		if n != messages {
			b.Fatalf("INBOX shows %d messages, want %d", n, messages)
		}
		return took, received(b, m)
	}
	limit := func(args ...string) harness.Command {
		return harness.Command{Args: args, Env: []string{"MAILFS_PASSWORD=" + harness.Password}, Limit: time.Minute}
	}
	warming := run.MountAs(b, limit(args...))
	list(warming)
	warming.Unmount(b)

	var m *harness.Mount
	var firsts []time.Duration
	var firstBytes int64
	for range 3 {
		if m != nil {
			m.Unmount(b)
		}
		args[5] = filepath.Join(run.TempDir(b), "store")
		m = run.MountAs(b, limit(args...))
		var took time.Duration
		took, firstBytes = list(m)
		firsts = append(firsts, took)
	}
	var agains, mounts []time.Duration
	var againBytes int64
	for b.Loop() {
		m.Unmount(b)
		began := time.Now()
		m.Again(b, limit(args...))
		mounts = append(mounts, time.Since(began))
		var took time.Duration
		took, againBytes = list(m)
		agains = append(agains, took)
	}
	median := func(all []time.Duration) time.Duration { return slices.Sorted(slices.Values(all))[len(all)/2] }
	first, again := median(firsts), median(agains)
	faster, share := float64(first)/float64(again), 100*float64(againBytes)/float64(firstBytes)
	b.Logf("first listing %v and %d bytes; after another mount, which takes %v, %v and %d bytes: %.1f times as fast, %.3f %% of "+
		"the bytes", first, firstBytes, median(mounts), again, againBytes, faster, share)
	b.ReportMetric(first.Seconds()*1000, "ms-first")
	b.ReportMetric(again.Seconds()*1000, "ms-again")
	b.ReportMetric(faster, "times-faster")
	b.ReportMetric(share, "%-bytes")
}
