package faults

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// maildrops are the scenarios over POP3. There is one session at a time, and mailfs ends it after two seconds without
// requests, so more connections are made than over IMAP.
var maildrops = []scenario{
	{
		name:  "TOP does not stuff dots, and ends at the lone one: the message is read with RETR",
		mails: withDot(), connections: 15, heals: true,
		pop3: func(p *pop3Peer) {
			p.command = func(c *conn, verb, rest string, m *message) bool {
				if verb != "TOP" || m == nil {
					return false
				}
				var n, lines int
				fmt.Sscan(rest, &n, &lines)
				c.say("+OK\r\n%s.\r\n", m.top(lines))
				return true
			}
		},
	},
	{
		name:  "TOP gives twenty lines, whatever was asked for",
		mails: []*message{letter(1, strings.Repeat("one of many lines\r\n", 3000)), letter(2, strings.Repeat("line\r\n", 100)), letter(3, "x\r\n")},
		pop3: func(p *pop3Peer) {
			p.command = func(c *conn, verb, _ string, m *message) bool {
				if verb != "TOP" || m == nil {
					return false
				}
				c.say("+OK\r\n%s.\r\n", stuffed(m.top(20)))
				return true
			}
		},
	},
	{
		name: "tabs and several blanks separate what LIST and UIDL tell",
		pop3: func(p *pop3Peer) {
			p.entry = func(verb string, n int, m *message) string {
				return strings.ReplaceAll(entry(verb, n, m), " ", []string{"\t", "   ", " \t "}[n%3]) + []string{"", " ", "\t"}[n%3]
			}
		},
	},
	{
		name:  "TOP and RETR are refused with -ERR for a while",
		heals: true, connections: 60, // one for each time that the user tries again
		pop3: func(p *pop3Peer) {
			now := forAWhile(4 * time.Second)
			p.command = func(c *conn, verb, _ string, _ *message) bool {
				refused := (verb == "TOP" || verb == "RETR") && now()
				if refused {
					c.say("-ERR [SYS/TEMP] try again later\r\n")
				}
				return refused
			}
		},
	},
	{
		name:  "the connection ends in the middle of a message, over POP3",
		heals: true, connections: 15,
		pop3: func(p *pop3Peer) {
			cut := &atomic.Int32{}
			p.command = func(c *conn, verb, rest string, m *message) bool {
				if verb != "RETR" && (verb != "TOP" || strings.HasSuffix(rest, " 0")) || m == nil || cut.Add(1) > 2 {
					return false
				}
				c.say("+OK\r\n%s", m.body[:len(m.body)-12])
				c.flush()
				c.Close()
				return true
			}
		},
	},
	{
		name:  "dates have no zone, another form, or are missing",
		mails: dated("Mon, 04 Apr 2022 08:00:00 +0000", "Mon, 04 Apr 2022 08:00:00", "Monday, 04-Apr-22 08:00:00 GMT", "2022-04-04T08:00:00Z", ""),
		pop3:  func(*pop3Peer) {},
		see: func(t *testing.T, w *world) {
			names := namesIn(filepath.Join(w.odd, "INBOX"))
			if len(names) != len(w.mails) {
				t.Errorf("INBOX shows %q", names)
			}
			for _, name := range names {
				if !strings.HasPrefix(name, "2022-04-04_") {
					t.Errorf("%s does not begin with the date", name)
				}
			}
		},
	},
}

func withDot() []*message {
	mails := []*message{letter(1, strings.Repeat("plain line\r\n", 20)), letter(2, strings.Repeat("plain line\r\n", 20)), letter(3, "x\r\n")}
	mails[1].body = append(mails[1].body, "before\r\n.\r\nafter the dot\r\n"...)
	return mails
}

// dated returns messages with these texts as Date, and a Received that is an hour later.
func dated(dates ...string) []*message {
	var fields []string
	for i, d := range dates {
		if d != "" {
			d = "Date: " + d + "\r\n"
		}
		fields = append(fields, fmt.Sprintf("Received: from mx.example.org by me.example.net; Mon, 04 Apr 2022 09:00:00 +0000\r\n"+
			"From: a@example.org\r\nSubject: d%d\r\n%s", i, d))
	}
	return headers(fields...)
}
