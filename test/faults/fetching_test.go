package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// wholeBody matches a FETCH that asks for the bytes of messages, not of their headers.
var wholeBody = regexp.MustCompile(`BODY\.PEEK\[\]`)

// fetching are the scenarios in which FETCH answers otherwise.
var fetching = []scenario{
	{
		name:  "every FETCH is refused with NO [UNAVAILABLE] for a while",
		heals: true, connections: 12,
		imap: fetchFor(4*time.Second, func(c *conn, tag string) { c.say("%s NO [UNAVAILABLE] try again\r\n", tag) }),
	},
	{
		name:  "FETCH is answered with OK and nothing else for a while",
		heals: true, connections: 12,
		imap: fetchFor(3*time.Second, func(c *conn, tag string) { c.say("%s OK completed\r\n", tag) }),
	},
	{
		name:  "FETCH responses hold nothing but UID for a while",
		heals: true, connections: 12,
		imap: func(p *imapPeer) {
			now := forAWhile(3 * time.Second)
			p.row = func(n int, _ *message, items []item) string {
				if now() {
					items = items[:1]
				}
				return fetched(n, items)
			}
		},
	},
	{
		name:  "a FETCH response comes in two, the second without a UID",
		mails: letters(30),
		imap: func(p *imapPeer) {
			p.row = func(n int, _ *message, items []item) string {
				if len(items) <= 2 {
					return fetched(n, items)
				}
				return fetched(n, items[:2]) + fetched(n, slices.Concat(items[:1], items[2:]))
			}
		},
	},
	{
		name: "items stand in any order, the UID behind the literal",
		imap: func(p *imapPeer) {
			p.row = func(n int, _ *message, items []item) string {
				items = slices.Clone(items)
				slices.Reverse(items)
				return fetched(n, items)
			}
		},
	},
	{
		name: "unknown responses with literals stand between those to FETCH",
		imap: func(p *imapPeer) {
			p.row = func(n int, _ *message, items []item) string {
				return "* XODD {12}\r\n* 1 EXPUNGE\r\n (NIL {2}\r\n)\"\r\n)\r\n" + fetched(n, items) + "* 3 XNEWS {3}\r\n)\r\n\r\n* NIL)\r\n"
			}
		},
	},
	{
		name:  "no more than 100,000 bytes come of a part of a message",
		mails: []*message{letter(1, strings.Repeat("Ein langer Brief ohne Ende.\r\n", 103_449)+"\r\n"), letter(2, "short\r\n")},
		imap: func(p *imapPeer) {
			p.command = func(c *conn, tag, verb, rest string) bool {
				part := regexp.MustCompile(`<(\d+)\.(\d+)>`).FindStringSubmatch(rest)
				if verb != "UID FETCH" || part == nil || len(part[2]) < 6 {
					return false
				}
				c.say("%s%s OK completed\r\n", answered(p, c, strings.Replace(rest, part[0], "<"+part[1]+".100000>", 1)), tag)
				return true
			}
		},
	},
	{
		name: "messages are announced, and come as empty literals: an error, not an empty file",
		imap: func(p *imapPeer) {
			p.row = func(n int, _ *message, items []item) string {
				items = slices.Clone(items)
				for i := range items {
					if strings.HasPrefix(items[i].name, "BODY[]") {
						items[i].value = "{0}\r\n"
					}
				}
				return fetched(n, items)
			}
		},
		see: func(t *testing.T, w *world) {
			names := namesIn(filepath.Join(w.odd, "INBOX"))
			if len(names) != len(w.mails) {
				t.Errorf("INBOX shows %q", names)
			}
			for _, name := range names {
				if b, err := os.ReadFile(filepath.Join(w.odd, "INBOX", name)); err == nil {
					t.Errorf("%s reads %d bytes without an error", name, len(b))
				}
			}
		},
	},
	{
		name: "the first answers to FETCH of a message are empty literals", heals: true,
		imap: func(p *imapPeer) {
			now := forAWhile(3 * time.Second)
			p.row = func(n int, _ *message, items []item) string {
				items = slices.Clone(items)
				for i := range items {
					if strings.HasPrefix(items[i].name, "BODY[]") && now() {
						items[i].value = "{0}\r\n"
					}
				}
				return fetched(n, items)
			}
		},
	},
	{
		name:  "the connection ends in the middle of a message",
		heals: true, connections: 8,
		imap: func(p *imapPeer) {
			var mu sync.Mutex
			cut := 0
			p.command = func(c *conn, tag, verb, rest string) bool {
				if verb != "UID FETCH" || !wholeBody.MatchString(rest) {
					return false
				}
				mu.Lock()
				defer mu.Unlock()
				if cut++; cut > 3 {
					return false
				}
				whole := answered(p, c, rest)
				c.say("%s", whole[:len(whole)-12])
				c.flush()
				c.Close()
				return true
			}
		},
	},
	{
		name:        "BODYSTRUCTURE lacks what the grammar asks for: no connection more for each message",
		mails:       letters(60),
		connections: 6,
		imap: func(p *imapPeer) {
			p.structure = func(m *message) string {
				return fmt.Sprintf(`("text" "plain" NIL NIL NIL "7bit" %d NIL NIL NIL NIL)`, len(m.text()))
			}
		},
		see: func(t *testing.T, w *world) {
			for _, dir := range namesIn(filepath.Join(w.odd, "INBOX", ".parts")) {
				parts := namesIn(filepath.Join(w.odd, "INBOX", ".parts", dir))
				if !slices.Equal(parts, []string{"body.txt", "headers.txt"}) {
					t.Errorf("%s has the parts %q", dir, parts)
				}
			}
			if err := w.all(); err != nil {
				t.Error(err)
			}
		},
	},
	{
		name: "a mailbox is made anew with the same names and other bytes",
		imap: func(*imapPeer) {},
		see: func(t *testing.T, w *world) {
			if err := w.all(); err != nil {
				t.Error(err)
			}
			held, err := os.Open(filepath.Join(w.odd, "INBOX", fmt.Sprintf("%s1.eml", w.mails[0].prefix())))
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			old := w.mails[0].body
			var anew []*message
			for _, m := range w.mails {
				anew = append(anew, letter(int(m.uid), fmt.Sprintf("THIS IS LETTER %d.\r\n", m.uid)))
			}
			w.imap.mu.Lock()
			w.imap.boxes["INBOX"] = &mailbox{validity: 78, next: 6, messages: anew}
			w.imap.mu.Unlock()
			w.imap.cut()
			w.mails = anew
			harness.Eventually(t, "the new messages are read", func() bool { return w.all() == nil })
			b := make([]byte, len(old))
			if n, err := held.ReadAt(b, 0); err == nil && !bytes.Equal(b, old) {
				t.Errorf("the file that was held open reads %.100q", b[:n])
			} else if err != nil && !errors.Is(err, syscall.ESTALE) {
				t.Errorf("the file that was held open: %v, want ESTALE", err)
			}
		},
	},
}

// fetchFor has every FETCH answered otherwise for some time.
func fetchFor(d time.Duration, answer func(c *conn, tag string)) func(*imapPeer) {
	return func(p *imapPeer) {
		now := forAWhile(d)
		p.command = func(c *conn, tag, verb, _ string) bool {
			if verb != "UID FETCH" || !now() {
				return false
			}
			answer(c, tag)
			return true
		}
	}
}

// answered returns what the peer would send to a UID FETCH before the tagged response.
func answered(p *imapPeer, c *conn, rest string) string {
	other := &conn{peer: c.peer, selected: c.selected}
	p.answer(other, "UID FETCH", rest)
	return other.out.String()
}
