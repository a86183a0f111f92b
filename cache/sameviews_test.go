package cache_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/remotetest"
)

const innerMessage = "From: inner@example.org\nSubject: =?utf-8?Q?inner_=C3=BC?=\nContent-Type: multipart/mixed; boundary=in\n\n" +
	"--in\nContent-Type: text/plain\n\ninner text\n--in\nContent-Type: image/png; name=i.png\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=\n--in--\n"

// samples are messages, without From and Subject, that servers and mailfs may take apart in different ways.
var samples = map[string]string{
	"plain":           "\nhello\n",
	"no body":         "",
	"html":            "Content-Type: text/html; charset=utf-8\n\n<p>hello</p>\n",
	"attachment only": "Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\nSGVsbG8=\n",
	"mixed": "Content-Type: multipart/mixed; boundary=x\n\npreamble\n--x\n\ntext\n--x\nContent-Type: application/postscript\n" +
		"Content-Transfer-Encoding: base64\n\nSGVsbG8=\n--x--\nepilogue\n",
	"nested": "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/alternative; boundary=y\n\n--y\n\ntext\n--y\n" +
		"Content-Type: text/html\n\n<b>text</b>\n--y--\n--x\nContent-Type: text/x-diff; name=d.diff\n\n+a\n--x--\n",
	"a message":            "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nsee\n--x\nContent-Type: message/rfc822\n\n" + innerMessage + "--x--\n",
	"only a message":       "Content-Type: message/rfc822\n\n" + innerMessage,
	"a message in base64":  "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nsee\n--x\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(innerMessage)) + "\n--x--\n",
	"a message in BASE64":  "Content-Type: message/rfc822; name=m.eml\nContent-Transfer-Encoding: BASE64 (yes)\n\n" + base64.StdEncoding.EncodeToString([]byte(innerMessage)) + "\n",
	"a message in quoted":  "Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.ReplaceAll(innerMessage, "=", "=3D"),
	"a message, not so":    "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + innerMessage,
	"a message of garbage": "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n!!!\n",
	"an empty message":     "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n",
	"no boundary":          "Content-Type: multipart/mixed\n\n--x\n\ntext\n--x--\n",
	"another boundary":     "Content-Type: multipart/mixed; boundary=y\n\n--x\n\ntext\n--x--\n",
	"empty boundary":       "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\ntext\n----\n",
	"no parts":             "Content-Type: multipart/mixed; boundary=x\n\n--x--\n",
	"no parts, no end":     "Content-Type: multipart/mixed; boundary=x\n\ntext\n",
	"no end":               "Content-Type: multipart/mixed; boundary=x\n\n--x\n\ntext\n--x\nContent-Type: text/csv; name=t.csv\n\na,b",
	"inner no parts":       "Content-Type: multipart/mixed; boundary=x\n\n--x\n\ntext\n--x\nContent-Type: multipart/alternative; boundary=z\n\nlost?\n--x--\n",
	"inner same boundary":  "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/alternative; boundary=x\n\n--x\n\na\n--x--\n--x\n\nb\n--x--\n",
	"boundary with prefix": "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/alternative; boundary=xy\n\n--xy\n\na\n--xy--\n--x\n\nb\n--x--\n",
	"blanks at boundary":   "Content-Type: multipart/mixed; boundary=\"x \"\n\n--x \n\ntext\n--x  \n\nmore\n--x-- \n",
	"boundary of RFC 2231": "Content-Type: multipart/mixed; boundary*=us-ascii''x\n\n--x\n\ntext\n--x--\n",
	"boundary in pieces":   "Content-Type: multipart/mixed; boundary*0=x; boundary*1=y\n\n--xy\n\ntext\n--xy--\n",
	"no semicolon":         "Content-Type: multipart/mixed boundary=x\n\n--x\n\ntext\n--x--\n",
	"two semicolons":       "Content-Type: multipart/mixed;; boundary=x;\n\n--x\n\ntext\n--x--\n",
	"bad type":             "Content-Type: text\n\nhello\n",
	"empty type":           "Content-Type: \n\nhello\n",
	"slashes":              "Content-Type: a/b/c\n\nhello\n",
	"unquoted name":        "Content-Type: application/octet-stream; name=my file (1).doc\nContent-Disposition: attachment; filename=my file (1).doc\n\nhello\n",
	"unknown encoding":     "Content-Type: text/plain\nContent-Transfer-Encoding: x-unheard\n\nhello\n",
	"digest":               "Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: one\n\nfirst\n--x\n\nSubject: two\n\nsecond\n--x--\n",
	"name of words":        "Content-Type: application/pdf; name=\"=?utf-8?B?w7?= =?utf-8?B?wucGRm?=\"\nContent-Transfer-Encoding: base64\n\nSGVsbG8=\n",
	"name cut in a letter": "Content-Type: application/pdf; name=\"=?utf-8?Q?=C3?= =?utf-8?Q?=BC.pdf?=\"\nContent-Transfer-Encoding: base64\n\nSGVsbG8=\n",
	"name in pieces":       "Content-Type: application/pdf; name*0*=utf-8''%C3; name*1*=%BC; name*3=.pdf\nContent-Transfer-Encoding: base64\n\nSGVsbG8=\n",
	"koi8-r":               "Content-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: 8bit\n\n\xf0\xd2\xc9\xd7\xc5\xd4\n",
	"raw name":             "Content-Type: application/pdf; name=\"Gr\xfc\xdfe.pdf\"\n\nhello\n",
	"uuencode":             "Content-Type: application/x; name=u\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 u\n#0V%T\n`\nend\n",
	"signed":               "Content-Type: multipart/signed; boundary=x; protocol=\"application/pgp-signature\"\n\n--x\n\ntext\n--x\nContent-Type: application/pgp-signature\n\nsig\n--x--\n",
	"bounce": "Content-Type: multipart/report; report-type=delivery-status; boundary=x\n\n--x\n\nfailed\n--x\nContent-Type: message/delivery-status\n\nAction: failed\n" +
		"--x\nContent-Type: text/rfc822-headers\n\nSubject: lost\n--x--\n",
}

// seen is what a user finds in .text and .parts.
type seen struct{ text, parts string }

func viewsOf(t *testing.T, m *cache.Mailbox, listing *cache.Table, i int) (s seen) {
	t.Helper()
	ref := listing.At(i).Ref
	text, err := m.Text(t.Context(), ref)
	s.text = fmt.Sprintf("%s%v", text, err)
	files, err := m.Parts(t.Context(), ref)
	if err != nil {
		return seen{s.text, err.Error()}
	}
	var b strings.Builder
	for _, f := range files {
		content, err := m.PartBytes(t.Context(), ref, f)
		size, sizeErr := m.PartSize(t.Context(), ref, f)
		if err != nil || sizeErr != nil || size != int64(len(content)) {
			t.Errorf("%s: %d bytes, announced %d; %v, %v", f.Name, len(content), size, err, sizeErr)
		}
		fmt.Fprintf(&b, "%s: %q\n", f.Name, content)
	}
	s.parts = b.String()
	return s
}

// The server takes messages apart as the server of go-imap does. Without it, as over POP3, mailfs does.
func TestViewsAreTheSameWhetherTheServerTakesMessagesApartOrMailfs(t *testing.T) {
	bySample := map[string]map[bool]seen{}
	for _, whole := range []bool{false, true} {
		for name, sample := range samples {
			account := remotetest.NewAccount()
			account.WholeOnly = whole
			body := "From: Alice <alice@example.com>\nSubject: a sample\nDate: Thu, 05 Nov 2026 11:22:33 +0100\n" + sample
			account.Put("INBOX", []byte(strings.ReplaceAll(body, "\n", "\r\n")))
			c := cache.New(cache.Options{Memory: 1 << 20, Refresh: time.Hour, Timeout: time.Minute})
			a, err := c.Account("test", account, cache.AccountOptions{})
			if err != nil {
				t.Fatal(err)
			}
			m := inbox(t, a)
			if bySample[name] == nil {
				bySample[name] = map[bool]seen{}
			}
			bySample[name][whole] = viewsOf(t, m, table(t, m), 0)
			c.Close()
		}
	}
	for name, found := range bySample {
		if server, mailfs := found[false], found[true]; server.text != mailfs.text {
			t.Errorf("%s: the text is %q over IMAP, %q over POP3", name, server.text, mailfs.text)
		} else if server.parts != mailfs.parts {
			t.Errorf("%s: the parts are\n%sover IMAP and\n%sover POP3", name, server.parts, mailfs.parts)
		}
	}
	for name, want := range map[string]string{
		"a message in base64": "inner text", "a message in BASE64": "inner text", "a message in quoted": "inner text", "a message, not so": "inner text",
		"another boundary": "text", "boundary of RFC 2231": "\n\ntext\n", "boundary in pieces": "\n\ntext\n", "no semicolon": "text",
		"name of words": "ü.pdf", "name cut in a letter": "ü.pdf", "koi8-r": "Привет",
	} {
		if text := bySample[name][true].text; !strings.Contains(text, want) {
			t.Errorf("%s: the text is %q", name, text)
		}
	}
}

// liar is a server whose structures are not those of its messages.
type liar struct {
	*remotetest.Account
	structure func() *remote.Part
	section   string // content of each part; "" for that of the message
}

func (l *liar) Structures(ctx context.Context, at remote.Place, uids []remote.UID, got func(remote.UID, *remote.Part, []byte)) error {
	return l.Account.Structures(ctx, at, uids, func(uid remote.UID, _ *remote.Part, header []byte) {
		var kept []string
		for line := range strings.Lines(string(header)) {
			if !strings.HasPrefix(line, "Content-") {
				kept = append(kept, line)
			}
		}
		got(uid, l.structure(), []byte(strings.Join(kept, "")))
	})
}

func (l *liar) Sections(ctx context.Context, at remote.Place, uids []remote.UID, sections []remote.Section, got func(remote.UID, [][]byte)) error {
	return l.Account.Sections(ctx, at, uids, sections, func(uid remote.UID, contents [][]byte) {
		for i := range contents {
			contents[i] = []byte(strings.ReplaceAll(l.section, "\n", "\r\n"))
		}
		got(uid, contents)
	})
}

func TestTheMessageIsRightWhereTheServersStructureIsWrong(t *testing.T) {
	body := "--x\n\ntext\n--x\nContent-Type: text/csv\nContent-Disposition: attachment; filename=t.csv\n\na,b\n--x--\n"
	mail := "From: Alice <alice@example.com>\nSubject: a sample\nContent-Type: multipart/mixed; boundary=x\n\n" + body
	plain := func(size int64) *remote.Part {
		return &remote.Part{Type: "text/plain", Encoding: "7bit", Size: size}
	}
	mixed := func(parts ...*remote.Part) *remote.Part {
		return &remote.Part{Type: "multipart/mixed", Params: map[string]string{"boundary": "x"}, Parts: parts}
	}
	for what, l := range map[string]*liar{
		"no parts":              {structure: func() *remote.Part { return mixed() }},
		"an empty part":         {structure: func() *remote.Part { return mixed(plain(0)) }},
		"one part for both":     {structure: func() *remote.Part { return mixed(plain(100)) }, section: body},
		"the second in a third": {structure: func() *remote.Part { return mixed(plain(6), plain(50)) }, section: "text\n--x\nContent-Type: text/csv\n\na,b\n"},
		"no type":               {structure: func() *remote.Part { return mixed(&remote.Part{Type: "/"}) }},
	} {
		l.Account = remotetest.NewAccount()
		l.Put("INBOX", []byte(strings.ReplaceAll(mail, "\n", "\r\n")))
		c := cache.New(cache.Options{Memory: 1 << 20, Refresh: time.Hour, Timeout: time.Minute})
		a, err := c.Account("test", l, cache.AccountOptions{})
		if err != nil {
			t.Fatal(err)
		}
		m := inbox(t, a)
		got := viewsOf(t, m, table(t, m), 0)
		if !strings.HasSuffix(got.text, "\n\ntext\n\n[attachment: t.csv (text/csv, 3 bytes)]\n<nil>") {
			t.Errorf("%s: the text is %q", what, got.text)
		}
		if !strings.HasSuffix(got.parts, "body.txt: \"text\\n\"\nt.csv: \"a,b\"\n") {
			t.Errorf("%s: the parts are %q", what, got.parts)
		}
		c.Close()
	}
}
