//go:build linux

package harness

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/emersion/go-imap/v2"
)

// NextYear is the end of certificates that are to be good.
func NextYear() time.Time { return time.Now().AddDate(1, 0, 0) }

// First is the INTERNALDATE of the first message that [Letters] writes.
var First = time.Date(2026, 1, 5, 9, 30, 0, 0, time.UTC)

// Letter writes a plain message with CRLF line ends.
func Letter(from, subject, text string) []byte {
	return fmt.Appendf(nil, "From: %s\r\nTo: Bob <bob@example.com>\r\nSubject: %s\r\n"+
		"Date: Mon, 5 Jan 2026 09:30:00 +0000\r\nMessage-ID: <%x@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s",
		from, subject, text, text)
}

// Letters writes n different messages, an hour apart: short and long ones, with dots where POP3 stuffs them, with 8-bit
// text, with attachments, and without a line end at their end. The same seed writes the same messages.
func Letters(seed uint64, n int) []Mail {
	rnd := rand.New(rand.NewPCG(seed, seed))
	flags := [][]imap.Flag{{}, {imap.FlagSeen}, {imap.FlagAnswered, imap.FlagSeen}, {imap.FlagFlagged}}
	mails := make([]Mail, n)
	for i := range mails {
		var b bytes.Buffer
		fmt.Fprintf(&b, "Return-Path: <s%d@example.com>\r\nFrom: Sender %d <s%d@example.com>\r\nTo: bob@example.com\r\n"+
			"Subject: Letter %d of %d\r\nDate: %s\r\nMessage-ID: <%d.%d@example.com>\r\n", i%7, i%7, i%7, i, seed,
			First.Add(time.Duration(i)*time.Hour).Format(time.RFC1123Z), i, seed)
		switch i % 5 {
		case 0:
			b.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
			for range rnd.IntN(40) {
				fmt.Fprintf(&b, "Zeile mit Größe %d, 中文, and a needle\r\n", rnd.IntN(1000))
			}
		case 1:
			b.WriteString("\r\n.\r\n..\r\n.dots at the start\r\n...\r\n\r\n.\r\n")
		case 2:
			b.WriteString("MIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=data.bin\r\n" +
				"Content-Transfer-Encoding: base64\r\n\r\n")
			data := make([]byte, 1+rnd.IntN(60_000))
			for k := range data {
				data[k] = byte(rnd.Uint32())
			}
			for code := base64.StdEncoding.EncodeToString(data); code != ""; {
				line := code[:min(76, len(code))]
				code = code[len(line):]
				b.WriteString(line + "\r\n")
			}
		case 3:
			fmt.Fprintf(&b, "\r\nno end of line at the end, %d", rnd.IntN(1000))
		case 4:
			fmt.Fprintf(&b, "\r\n%s\r\n", bytes.Repeat([]byte("long line "), rnd.IntN(3000)))
		}
		mails[i] = Mail{Date: First.Add(time.Duration(i) * time.Hour), Flags: flags[i%len(flags)], Body: b.Bytes()}
	}
	return mails
}

// EndLine returns the message with an end to its last line, which POP3 can't send without.
func EndLine(body []byte) []byte {
	if len(body) == 0 || bytes.HasSuffix(body, []byte("\r\n")) {
		return body
	}
	return append(bytes.Clone(body), "\r\n"...)
}

// Plant fills an account with mailboxes of every kind: with messages, with mailboxes below them, with both and with neither,
// deep ones, and some whose names hold several scripts, spaces, percent signs or dots. It returns their names.
func Plant(c *Client) []string {
	c.t.Helper()
	counts := []struct {
		name string
		n    int
	}{
		{"INBOX", 25}, {"Archive", 4}, {"Archive/2025", 6}, {"Archive/2025/Q4", 3}, {"Entwürfe", 3}, {"归档/二〇二六", 4},
		{"Mit Leerzeichen und & mehr", 2}, {"Empty", 0}, {"100% sure", 2}, {"50%2F50", 1}, {"v1.2.3", 2}, {"Sent", 3},
		{"Only/Children/Here", 2}, {"-dash ~ and #", 1},
	}
	var names []string
	for i, box := range counts {
		if box.name != "INBOX" {
			c.Make(box.name)
		}
		c.Put(box.name, Letters(uint64(100+i), box.n)...)
		names = append(names, box.name)
	}
	return names
}
