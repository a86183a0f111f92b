package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// wordy returns n letters of about 100 KB that compress well. The one with index 20 has 1.5 MB.
func wordy(n int) (mail []harness.Mail) {
	random := rand.New(rand.NewPCG(4978, 1))
	for i := range n {
		lines := 2000
		if i == 20 {
			lines = 30_000
		}
		var text strings.Builder
		for range lines {
			fmt.Fprintf(&text, "%d words were said of %d others, and then %x\r\n", random.IntN(100), random.IntN(10), random.Uint32())
		}
		body := append(harness.Letter("alice@example.com", fmt.Sprintf("Letter %d", i), ""), text.String()...)
		mail = append(mail, harness.Mail{Body: body})
	}
	return mail
}

// Over a slow line mailfs has the server compress (RFC 4978), also where it reads a message in pieces, and gets every byte
// right.
func TestServerCompressesOverASlowLine(t *testing.T) {
	t.Parallel()
	server := run.Dovecot(t, harness.DovecotOptions{
		Settings: "protocol imap {\n  mail_plugins = $mail_plugins imap_zlib\n}",
	})
	mail := wordy(120)
	total := int64(0)
	for _, m := range mail {
		total += int64(len(m.Body))
	}
	server.Dial(t, "slow").Put("INBOX", mail...)
	held := server.Dial(t, "slow").All()
	proxy := run.Proxy(t, server.IMAP, harness.ProxyOptions{RTT: 10 * time.Millisecond, Rate: 8e6})
	m := run.Mount(t, "--tls=off", inTheClear("slow", proxy.Port))
	m.Compare(t, held, nil)
	if n := len(proxy.Commands(`COMPRESS DEFLATE`)); n != 2 {
		t.Errorf("%d connections are compressed, want 2", n)
	}
	down := proxy.Down()
	t.Logf("%d bytes came over the line for %d", down, total)
	if down > total*2/3 {
		t.Errorf("%d bytes came over the line for %d", down, total)
	}
}

// Where the server compresses more slowly than the line carries, both connections fetch ahead.
func TestBothConnectionsFetchWhereTheServerCompressesSlowly(t *testing.T) {
	t.Parallel()
	server := run.Dovecot(t, harness.DovecotOptions{
		Settings: "protocol imap {\n  mail_plugins = $mail_plugins imap_zlib\n}",
	})
	server.Dial(t, "packing").Put("INBOX", wordy(500)...)
	held := server.Dial(t, "packing").All()
	proxy := run.Proxy(t, server.IMAP, harness.ProxyOptions{RTT: 10 * time.Millisecond, Rate: 17e6})
	m := run.Mount(t, "--tls=off", inTheClear("packing", proxy.Port))
	if _, err := os.ReadDir(filepath.Join(m.Path, "INBOX")); err != nil {
		t.Fatal(err)
	}
	proxy.Forget() // the listing
	m.Compare(t, held, nil)
	each := proxy.DownEach()
	t.Logf("bytes by connection: %v", each)
	if len(each) != 2 {
		t.Fatalf("%d connections brought something, want 2", len(each))
	}
	for conn, n := range each {
		if n < 300_000 { // about six letters, compressed
			t.Errorf("connection %d brought %d bytes of %v", conn, n, each)
		}
	}
}
