package pop3

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// BenchmarkBodies reads a maildrop as a walk through it does: in batches of a megabyte, four of them at once. The
// server, which is as cheap as can be, is measured along.
func BenchmarkBodies(b *testing.B) {
	line := strings.Repeat("0123456789abcdefghi", 4) + "\r\n"
	for _, c := range []struct {
		name            string
		messages, lines int
	}{
		{"4KB", 5000, 50}, {"40KB", 1000, 500}, {"1MB", 100, 13_000},
	} {
		b.Run(c.name, func(b *testing.B) {
			header := "Subject: bulk\r\nFrom: bob@example.org\r\n\r\n"
			content := header + strings.Repeat(line, c.lines)
			a := bulk(b, c.messages, content, header)
			var uids []remote.UID
			_, err := a.Sync(b.Context(), "INBOX", remote.Version{}, remote.Version{}, nil, func(d remote.Delta) error {
				for _, m := range d.Messages {
					uids = append(uids, m.UID)
				}
				return nil
			})
			if err != nil || len(uids) != c.messages {
				b.Fatalf("%d messages, %v", len(uids), err)
			}
			b.SetBytes(int64(c.messages * len(content)))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				walk(b, a, uids, len(content))
			}
			runtime.ReadMemStats(&after)
			read := float64(b.N * c.messages)
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/read, "allocs/message")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/(read*float64(len(content))), "B/B")
		})
	}
}

// walk reads messages that are all of one size.
func walk(b *testing.B, a *Account, uids []remote.UID, size int) {
	var wg sync.WaitGroup
	running := make(chan struct{}, 4)
	for len(uids) > 0 {
		n := min(len(uids), max(1<<20/size, 1), 128)
		part := uids[:n]
		uids = uids[n:]
		running <- struct{}{}
		wg.Go(func() {
			defer func() { <-running }()
			err := a.Bodies(b.Context(), remote.Place{Mailbox: "INBOX", UIDValidity: 1, Priority: remote.Readahead}, part, func(_ remote.UID, body []byte) {
				if len(body) != size {
					b.Errorf("%d bytes, not %d", len(body), size)
				}
			})
			if err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}

// bulk starts a server for one session, whose messages all have the same content, and returns the account.
func bulk(b *testing.B, messages int, content, header string) *Account {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var uidl, list bytes.Buffer
	for i := range messages {
		fmt.Fprintf(&uidl, "%d u%d\r\n", i+1, i+1)
		fmt.Fprintf(&list, "%d %d\r\n", i+1, len(content))
	}
	multi := func(s string) []byte { return []byte("+OK\r\n" + s + ".\r\n") }
	answers := map[string][]byte{
		"CAPA": multi("USER\r\nUIDL\r\nTOP\r\nPIPELINING\r\n"), "UIDL": multi(uidl.String()), "LIST": multi(list.String()),
		"STAT": fmt.Appendf(nil, "+OK %d %d\r\n", messages, messages*len(content)),
	}
	whole, top, ok := multi(content), multi(header), []byte("+OK\r\n")
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write(ok)
		in, out := bufio.NewReader(conn), bufio.NewWriterSize(conn, 16<<10)
		for {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return
			}
			line = bytes.TrimRight(line, "\r\n")
			answer := ok
			switch {
			case bytes.HasPrefix(line, []byte("TOP ")) && bytes.HasSuffix(line, []byte(" 0")):
				answer = top
			case bytes.HasPrefix(line, []byte("TOP ")):
				answer = whole
			case answers[string(line)] != nil:
				answer = answers[string(line)]
			}
			if _, err := out.Write(answer); err != nil {
				return
			}
			if in.Buffered() == 0 && out.Flush() != nil {
				return
			}
		}
	})
	server, err := dial.ParseURL("pop3://alice@" + l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	server.InTheClear, server.Timeout = true, 10*time.Second
	server.Password = func(context.Context) (string, error) { return "secret", nil }
	a := New(dial.New(server), Options{Idle: time.Minute})
	b.Cleanup(func() {
		a.Close()
		l.Close()
		wg.Wait()
	})
	return a
}
