package faults

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// listing are the scenarios in which mailboxes and messages are listed.
var listing = []scenario{
	{name: "two blanks stand before EXISTS's number", imap: replaces("* 5 EXISTS", "*  5 EXISTS")},
	{name: "a keyword in FLAGS holds parentheses", imap: replaces(`\Answered \Flagged \Deleted \Seen \Draft`, `\Answered Label(old) Later`)},
	{name: "a blank stands before the end of FLAGS", imap: replaces(`\Answered \Flagged \Deleted \Seen \Draft`, `\Seen `)},
	{name: "a keyword in PERMANENTFLAGS holds brackets", imap: replaces(`[PERMANENTFLAGS (\Seen \*)]`, `[PERMANENTFLAGS (\Seen [css3-page] \*)]`)},
	{name: "UIDVALIDITY has 41 bits", imap: replaces("UIDVALIDITY 77", "UIDVALIDITY 1713632002544")},
	{
		name: "a line of LIST has a name with a blank and no quotes",
		imap: func(p *imapPeer) {
			p.boxes["Archive"] = &mailbox{validity: 78, next: 1}
			replaces(`* LIST (\HasNoChildren) "/" "INBOX"`, `* LIST (\HasNoChildren) "/" Sent Items`+"\r\n"+`* LIST (\HasNoChildren) "/" "INBOX"`)(p)
		},
		see: func(t *testing.T, w *world) {
			if err := w.all(); err != nil {
				t.Error(err)
			}
			if names := namesIn(w.odd); !slices.Contains(names, "Archive") {
				t.Errorf("the account shows %q, and no Archive", names)
			}
		},
	},
	{
		name: "EXISTS is missing: an error or all mail, but no empty directory",
		imap: replaces("* 5 EXISTS\r\n", ""),
		see: func(t *testing.T, w *world) {
			if _, err := os.ReadDir(filepath.Join(w.odd, "INBOX")); err != nil {
				return
			}
			if err := w.all(); err != nil {
				t.Error(err)
			}
		},
	},
	{
		name: "STATUS names mailboxes by a literal, in small letters, or without quotes",
		imap: func(p *imapPeer) {
			p.boxes["Some Mail"] = &mailbox{validity: 78, next: 2, messages: []*message{letter(1, "some")}}
			p.boxes["Other"] = &mailbox{validity: 79, next: 3, messages: []*message{letter(2, "other")}}
			p.line = func(line string) string {
				if strings.HasPrefix(line, "* STATUS") {
					line = strings.NewReplacer("INBOX", "Inbox", `"Some Mail"`, "{9}\r\nSome Mail", `"Other"`, "Other", `Other`, `"Other"`).Replace(line)
				}
				return line
			}
		},
		see: func(t *testing.T, w *world) {
			if err := w.all(); err != nil {
				t.Error(err)
			}
			for box, letter := range map[string]string{"Some Mail": "_letter-1_", "Other": "_letter-2_"} {
				if names := namesIn(filepath.Join(w.odd, box)); len(names) != 1 || !strings.Contains(names[0], letter) {
					t.Errorf("%s shows %q", box, names)
				}
			}
			w.imap.mu.Lock()
			for _, b := range w.imap.boxes {
				b.messages = append(b.messages, letter(int(b.next), "new"))
				b.next++
			}
			w.imap.mu.Unlock()
			for box, letter := range map[string]string{"INBOX": "_letter-6_", "Some Mail": "_letter-2_", "Other": "_letter-3_"} {
				harness.Eventually(t, "a new message shows in "+box, func() bool {
					return strings.Contains(strings.Join(namesIn(filepath.Join(w.odd, box)), " "), letter)
				})
			}
		},
	},
	{
		name: "a message is expunged while it is listed",
		imap: func(p *imapPeer) {
			var once sync.Once
			p.command = func(c *conn, tag, verb, _ string) bool {
				if verb == "UID FETCH" {
					once.Do(func() {
						p.mu.Lock()
						defer p.mu.Unlock()
						p.boxes["INBOX"].messages = slices.Delete(p.boxes["INBOX"].messages, 2, 3)
					})
				}
				return false
			}
		},
		heals: true,
		see: func(t *testing.T, w *world) {
			w.mails = slices.Delete(slices.Clone(letters(5)), 2, 3)
			w.eventuallyAll(t)
			time.Sleep(1200 * time.Millisecond)
			w.eventuallyAll(t)
		},
	},
	{
		name:  "encoded words are cut within a character",
		mails: subjects(cutWords()),
		imap:  func(*imapPeer) {},
		see: func(t *testing.T, w *world) {
			seeNames(t, w, "会議の資料を送付します", "Приглашение-на-встречу", "Приглашение-на-встречу")
		},
	},
	{
		name: "the name of a sender holds another address",
		mails: headers("From: boss@corp.example <evil@bad.example>\r\nSubject: s\r\n",
			"From: support@shop.example via List <list@lists.example>\r\nSubject: s\r\n"),
		imap: func(*imapPeer) {},
		see:  func(t *testing.T, w *world) { seeNames(t, w, "_evil@bad.example_", "_list@lists.example_") },
	},
}

// replaces has the peer send something else in place of a part of its lines.
func replaces(old, new string) func(*imapPeer) {
	return func(p *imapPeer) {
		p.line = func(line string) string { return strings.ReplaceAll(line, old, new) }
	}
}

// headers returns messages with the given header fields.
func headers(fields ...string) []*message {
	var all []*message
	for i, f := range fields {
		m := letter(i+1, "")
		m.body = []byte(f + "\r\nx\r\n")
		all = append(all, m)
	}
	return all
}

func subjects(subjects []string) []*message {
	var fields []string
	for _, s := range subjects {
		fields = append(fields, "From: a@example.org\r\nSubject: "+s+"\r\n")
	}
	return headers(fields...)
}

// cutWords are subjects of two encoded words each: ISO-2022-JP without the way back to ASCII between them, base64 whose first
// word ends within a group, and UTF-8 whose first word ends within a character.
func cutWords() []string {
	japanese := "\x1b$B2q5D$N;qNA$rAwIU$7$^$9\x1b(B"
	russian := "Приглашение на встречу"
	words := func(charset, a, b string) string {
		return fmt.Sprintf("=?%s?B?%s?=\r\n =?%s?B?%s?=", charset, a, charset, b)
	}
	code := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	return []string{
		words("ISO-2022-JP", code(japanese[:13]), code(japanese[13:])), // after five of the characters, each of two bytes
		words("utf-8", code(russian)[:30], code(russian)[30:]),
		words("utf-8", code(russian[:23]), code(russian[23:])),
	}
}

// seeNames checks that the messages, in the order of their numbers, have names that hold these texts.
func seeNames(t *testing.T, w *world, parts ...string) {
	t.Helper()
	names := namesIn(filepath.Join(w.odd, "INBOX"))
	if len(names) != len(parts) {
		t.Errorf("INBOX shows %q, want %d messages", names, len(parts))
	}
	for i, part := range parts {
		end := fmt.Sprintf("_%d.eml", i+1)
		if k := slices.IndexFunc(names, func(name string) bool { return strings.HasSuffix(name, end) }); k < 0 || !strings.Contains(names[k], part) {
			t.Errorf("the name of message %d lacks %q; the names are %q", i+1, part, names)
		}
	}
}

func namesIn(dir string) (names []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}
