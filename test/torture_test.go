package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

func isErrno(err error, want ...syscall.Errno) bool {
	for _, w := range want {
		if errors.Is(err, w) {
			return true
		}
	}
	return false
}

// torture is mail as nobody should write it. name is the part of the file's name between DATE_ and _UID that README.md
// promises; "": any that keeps the rules for names.
var torture = []struct {
	what, mail, name string
}{
	{"nothing at all", "", "unknown_no-subject"},
	{"a single byte", "x", "unknown_no-subject"},
	{"only an empty line", "\r\n", "unknown_no-subject"},
	{"no header", "\r\nFrom: not@a.header\r\n", "unknown_no-subject"},
	{"no body, no empty line", "From: a@example.com\r\nSubject: cut\r\n", "a@example.com_cut"},
	{"a header without line end", "From: a@example.com\r\nSubject: cut off", "a@example.com_cut-off"},
	{"empty body", "From: a@example.com\r\nSubject: empty\r\n\r\n", "a@example.com_empty"},
	{"NUL bytes", "From: nul@example.com\r\nSubject: a\x00b\r\n\r\n\x00\x00body\x00\r\n", ""},
	{"8-bit junk in headers", "From: \xff\xfe\x80 <junk@example.com>\r\nSubject: \xe4\xf6\xfc\xff\xc3\x28\r\n\xa0\xa1: x\r\n\r\nb\r\n", ""},
	{"bare UTF-8 in headers", "From: j@example.com\r\nSubject: Grüße 你好\r\n\r\nb\r\n", "j@example.com_Grüße-你好"},
	{"decomposed letters", "From: d@example.com\r\nSubject: =?utf-8?Q?u=CC=88ber?=\r\n\r\nb\r\n", "d@example.com_über"},
	{"Latin-1 and KOI8-R", "From: l@example.com\r\nSubject: =?iso-8859-1?Q?Gr=FC=DFe?= =?koi8-r?B?8NLJ18XU?=\r\n\r\nb\r\n", "l@example.com_GrüßeПривет"},
	{"GB18030 and ISO-2022-JP", "From: c@example.com\r\nSubject: =?gb18030?B?xOO6ww==?= =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\r\n\r\nb\r\n", "c@example.com_你好日本"},
	{"unknown charset", "From: u@example.com\r\nSubject: =?x-martian?Q?hello?= =?no-such?B?////?=\r\n\r\nb\r\n", ""},
	{"broken encoded words", "From: e@example.com\r\nSubject: =?utf-8?B?!!!!?= =?utf-8?Q?=ZZ=4?= =?utf-8?\r\n\r\nb\r\n", ""},
	{"10,000 characters of subject", "From: s@example.com\r\nSubject: " + strings.Repeat("äbcdefghi", 1112) + "\r\n\r\nb\r\n", ""},
	{"10,000 folded encoded words", "From: s@example.com\r\nSubject: " + strings.Repeat("=?utf-8?B?5L2g5aW9?=\r\n ", 10000) + "x\r\n\r\nb\r\n", ""},
	{"slashes and dots", "From: p@example.com\r\nSubject: ../../etc/passwd\r\n\r\nb\r\n", ""},
	{"a line break inside", "From: n@example.com\r\nSubject: =?utf-8?Q?one=0D=0Atwo=09three=00four?=\r\n\r\nb\r\n", "n@example.com_one-two-three-four"},
	{"right-to-left override", "From: r@example.com\r\nSubject: =?utf-8?B?" + "4oCuZ3BqLmV4ZQ==" + "?=\r\n\r\nb\r\n", ""},
	{"Arabic and Hebrew", "From: h@example.com\r\nSubject: =?utf-8?B?2LPZhNin2YUg16nXnNeV150=?=\r\n\r\nb\r\n", "h@example.com_سلام-שלום"},
	{"only white space", "From:    \r\nSubject: \t  \r\n\r\nb\r\n", "unknown_no-subject"},
	{"only what is replaced", "From: <>\r\nSubject: ***///???\r\n\r\nb\r\n", ""},
	{"control characters", "From: \x01\x02\x7f@example.com\r\nSubject: \x1b[31mred\x07\r\n\r\nb\r\n", ""},
	{"shell bait", "From: \"$(rm -rf /)\" <x`id`@example.com>\r\nSubject: ; rm -rf ~ & | > < * ? ' \" \\ $HOME !1\r\n\r\nb\r\n", ""},
	{"a leading dash and dot", "From: -rf@example.com\r\nSubject: .hidden\r\n\r\nb\r\n", ""},
	{"underscores", "From: under_score@example.com\r\nSubject: a_b__c_4711.eml\r\n\r\nb\r\n", "under-score@example.com_a-b-c-4711.eml"},
	{"header twice", "From: one@example.com\r\nFrom: two@example.com\r\nSubject: first\r\nSubject: second\r\n\r\nb\r\n", "one@example.com_first"},
	{"many senders", "From: a@example.com, b@example.com,\r\n c@example.com\r\nSubject: us\r\n\r\nb\r\n", "a@example.com_us"},
	{"a group", "From: Friends: a@example.com, b@example.com;\r\nSubject: group\r\n\r\nb\r\n", ""},
	{"unbalanced address", "From: \"Bob <bob@example.com\r\nSubject: quote\r\n\r\nb\r\n", ""},
	{"no address in From", "From: The Management\r\nSubject: no address\r\n\r\nb\r\n", ""},
	{"a very long address", "From: " + strings.Repeat("a", 3000) + "@example.com\r\nSubject: long\r\n\r\nb\r\n", ""},
	{"a giant header field", "From: g@example.com\r\nX-Big: " + strings.Repeat("x", 300_000) + "\r\nSubject: behind\r\n\r\nb\r\n", "g@example.com_behind"},
	{"a giant subject", "From: g@example.com\r\nSubject: " + strings.Repeat("y ", 200_000) + "\r\n\r\nb\r\n", ""},
	{"20,000 fields", "From: m@example.com\r\n" + strings.Repeat("X-A: b\r\n", 20_000) + "Subject: many\r\n\r\nb\r\n", "m@example.com_many"},
	{"a line of 2 MB", "From: l@example.com\r\nSubject: line\r\n\r\n" + strings.Repeat("z", 2<<20), "l@example.com_line"},
	{"emoji and private use", "From: e@example.com\r\nSubject: a 🎉 b \xee\x80\x80\r\n\r\nb\r\n", "e@example.com_a-b-"},
	{"zero-width and joiners", "From: z@example.com\r\nSubject: a\u200bb\u200dc\ufeffd\r\n\r\nb\r\n", ""},
	{"lines of dots", "From: d@example.com\r\nSubject: dots\r\n\r\n.\r\n..\r\n...\r\n", "d@example.com_dots"},
	{"what looks like the wire", "From: w@example.com\r\nSubject: {5}\r\n\r\n)\r\n* 1 FETCH (UID 7 BODY[] {3}\r\nabc)\r\na1 OK done\r\n", "w@example.com_-5-"},
	{"a date that is none", "From: t@example.com\r\nDate: yesterday\r\nSubject: date\r\n\r\nb\r\n", "t@example.com_date"},
	{"bare CR", "From: cr@example.com\r\nSubject: cr\r\n\r\na\rb\r\n", "cr@example.com_cr"},
	{"no final line end", "From: f@example.com\r\nSubject: final\r\n\r\nb", "f@example.com_final"},
	{"MIME without an end", "From: m@example.com\r\nSubject: mime\r\nContent-Type: multipart/mixed; boundary=\"\r\n\r\n--\r\n", "m@example.com_mime"},
}

func TestMailAsNobodyShouldWriteItShowsOverIMAP(t *testing.T) {
	t.Parallel()
	date := time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC)
	for i, mail := range torture {
		dovecot.Deliver(t, "torture", i, "", date, []byte(mail.mail))
	}
	held := map[string][]harness.Mail{"INBOX": dovecot.Dial(t, "torture").Held("INBOX")}
	m := run.Mount(t, append(trust(), imaps("torture"))...)
	list := m.Compare(t, held, nil)
	for i, mail := range held["INBOX"] {
		want := torture[i]
		// In place of NUL, which IMAP's literals can't hold, Dovecot sends 0x80.
		if !bytes.Equal(mail.Body, bytes.ReplaceAll([]byte(want.mail), []byte{0}, []byte{0x80})) {
			t.Errorf("%s: the server holds something else than was delivered", want.what)
		}
		f := list.Find(t, "INBOX", mail.UID)
		if name := fmt.Sprintf("2024-02-29_%s_%d.eml", want.name, mail.UID); want.name != "" && f.Name != name {
			t.Errorf("%s: the name is %q, want %q", want.what, f.Name, name)
		}
		for _, attr := range []string{"subject", "from", "to", "date", "message-id", "flags", "uid"} {
			buf := make([]byte, 1<<17)
			_, err := syscall.Getxattr(m.Path+"/"+f.Path(), "user.mail."+attr, buf)
			if err != nil && !isErrno(err, syscall.ENODATA, syscall.E2BIG, syscall.ERANGE) {
				t.Errorf("%s: attribute %s: %v", want.what, attr, err)
			}
		}
	}
}

func TestMailAsNobodyShouldWriteItShowsOverPOP3(t *testing.T) {
	t.Parallel()
	date := time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC)
	want := make(map[string]string)
	for i, mail := range torture {
		dovecot.Deliver(t, "poptorture", i, "", date, []byte(mail.mail))
		want[harness.Fingerprint([]byte(mail.mail))] = mail.what
	}
	m := run.Mount(t, append(trust(), fmt.Sprintf("pop3s://poptorture@localhost:%d", dovecot.POP3S))...)
	files := m.List(t)["INBOX"]
	if len(files) != len(torture) {
		t.Errorf("%d files, want %d", len(files), len(torture))
	}
	for _, f := range files {
		harness.CheckName(t, f.Name)
		body := m.Read(t, f)
		if _, ok := want[harness.Fingerprint(body)]; !ok {
			t.Errorf("%s: its %d bytes are those of no message: %.60q", f.Name, len(body), body)
		}
		delete(want, harness.Fingerprint(body))
		info, err := os.Stat(m.Path + "/" + f.Path())
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() != int64(len(body)) {
			t.Errorf("%s: st_size %d after it was read, and it has %d bytes", f.Name, info.Size(), len(body))
		}
	}
	for _, what := range want {
		t.Errorf("%s: no file holds it", what)
	}
}

func containsAny(s string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}
