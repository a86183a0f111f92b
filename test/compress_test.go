package test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// Over a slow line the server compresses (RFC 4978), also what is read in pieces, and every byte is the server's.
func TestSlowLine(t *testing.T) {
	t.Parallel()
	server := run.Dovecot(t, harness.DovecotOptions{
		Settings: "protocol imap {\n  mail_plugins = $mail_plugins imap_zlib\n}",
	})
	random := rand.New(rand.NewPCG(4978, 1))
	var mail []harness.Mail
	total := int64(0)
	for i := range 120 {
		lines := 2000
		if i == 20 {
			lines = 30_000
		}
		var text strings.Builder
		for range lines {
			fmt.Fprintf(&text, "%d words were said of %d others, and then %x\r\n", random.IntN(100), random.IntN(10), random.Uint32())
		}
		body := append(harness.Letter("alice@example.com", fmt.Sprintf("Letter %d", i), ""), text.String()...)
		total += int64(len(body))
		mail = append(mail, harness.Mail{Body: body})
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
