package test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// quoted returns text in quoted-printable, with every byte encoded.
func quoted(text string) string {
	var b strings.Builder
	for i, c := range []byte(text) {
		fmt.Fprintf(&b, "=%02X", c)
		if i%20 == 19 {
			b.WriteString("=\r\n")
		}
	}
	return b.String() + "\r\n"
}

// inBase64 returns data in base64, in lines of 76 characters.
func inBase64(data []byte) string {
	var b strings.Builder
	for code := base64.StdEncoding.EncodeToString(data); code != ""; {
		line := code[:min(76, len(code))]
		code = code[len(line):]
		b.WriteString(line + "\r\n")
	}
	return b.String()
}

// said holds the ways in which a message can hold a text.
var said = []struct {
	what string
	part func(marker string) string
}{
	{"plain", func(m string) string { return "Content-Type: text/plain\r\n\r\nit says " + m + " here\r\n" }},
	{"nothing said of it", func(m string) string { return "\r\nit says " + m + " here\r\n" }},
	{"quoted-printable", func(m string) string {
		return "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + quoted("Größe "+m+" here")
	}},
	{"base64", func(m string) string {
		return "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + inBase64([]byte("你好 "+m+" here\r\n"))
	}},
	{"html", func(m string) string {
		return "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
			quoted("<html><style>p{}</style><p>it <b>says</b>\r\n<i>"+m[:5]+"</i>"+m[5:]+"</p></html>")
	}},
	{"html in base64, in Cyrillic", func(m string) string {
		return "Content-Type: text/html; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
			inBase64([]byte("<div>\xf0\xd2\xc9\xd7\xc5\xd4 "+m+"</div>"))
	}},
	{"alternative", func(m string) string {
		return "Content-Type: multipart/alternative; boundary=alt\r\n\r\n--alt\r\nContent-Type: text/plain\r\n\r\n" + m +
			"\r\n--alt\r\nContent-Type: text/html\r\n\r\n<p>" + m + "</p>\r\n--alt--\r\n"
	}},
	{"forwarded", func(m string) string {
		return "Content-Type: message/rfc822\r\n\r\nFrom: x@example.com\r\nSubject: inside\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
			inBase64([]byte(m+"\r\n"))
	}},
	{"an encoding that is none", func(m string) string {
		return "Content-Type: text/plain; charset=x-martian\r\nContent-Transfer-Encoding: x-unheard-of\r\n\r\n" + m + " \xe4\xf6\r\n"
	}},
	{"broken quoted-printable", func(m string) string {
		return "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=ZZ = " + m + " =F\r\n"
	}},
	{"broken UTF-8", func(m string) string {
		return "Content-Type: text/plain; charset=utf-8\r\n\r\n\xff\xfe" + m + "\x00\x1b\r\n"
	}},
}

// plantTexts delivers n messages whose text holds one marker each. Two of three have an attachment, which takes most of the
// bytes. It returns the markers and the size of all messages.
func plantTexts(t *testing.T, user string, n int) (markers []string, size int64) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(7, 7))
	for i := range n {
		marker := fmt.Sprintf("needle%04dend", i)
		way := said[i%len(said)]
		body := way.part(marker)
		if i%3 > 0 {
			data := make([]byte, 20_000+rnd.IntN(40_000))
			for k := range data {
				data[k] = byte(rnd.Uint32())
			}
			body = "Content-Type: multipart/mixed; boundary=mix\r\n\r\n--mix\r\n" + body + "\r\n--mix\r\n" +
				"Content-Type: application/pdf; name=\"a file.pdf\"\r\nContent-Disposition: attachment\r\n" +
				"Content-Transfer-Encoding: base64\r\n\r\n" + inBase64(data) + "--mix--\r\n"
		}
		mail := fmt.Appendf(nil, "From: =?utf-8?Q?J=C3=B6rg?= <j@example.com>\r\nTo: b@example.com\r\nSubject: =?utf-8?B?%s?=\r\n%s",
			base64.StdEncoding.EncodeToString([]byte(way.what+" — "+marker[:5])), body)
		size += int64(len(mail))
		markers = append(markers, marker)
		dovecot.Deliver(t, user, i, "S", harness.First.Add(time.Duration(i)*time.Minute), mail)
	}
	return markers, size
}

// grep -r in .text finds the marker of every message once. Each file has the size that its attributes say, attachments stay
// on the server, and a second mount makes the same texts.
func TestGrepInTextsFindsWhatMessagesSay(t *testing.T) {
	t.Parallel()
	markers, size := plantTexts(t, "texts", 330)
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{RTT: 20 * time.Millisecond})
	args := []string{"--tls=off", "--cache-dir", "none", inTheClear("texts", proxy.Port)}
	m := run.Mount(t, args...)
	harness.Shell(t, m.Path, `ls INBOX/.text >/dev/null`)
	before := proxy.Down()
	if out := harness.Shell(t, m.Path, `ls INBOX/.text | wc -l`); strings.TrimSpace(out) != fmt.Sprint(len(markers)) {
		t.Errorf(".text has %s files, want %d", out, len(markers))
	}
	if n := proxy.Down() - before; n > 1000 {
		t.Errorf("listing .text took %d bytes", n)
	}
	proxy.Forget()
	before = proxy.Down()
	found := strings.Fields(harness.Shell(t, m.Path, `grep -rhoE 'needle[0-9]+end' INBOX/.text`))
	took := proxy.Down() - before
	slices.Sort(found)
	if !slices.Equal(found, markers) {
		t.Errorf("found %d of %d: %v", len(found), len(markers), found)
	}
	if took > size/4 {
		t.Errorf("grep in .text took %d bytes of %d", took, size)
	}
	// Fetched one after the other, each message would take two commands.
	if n := len(proxy.Commands(`UID FETCH`)); n > len(markers)/4 {
		t.Errorf("%d FETCH commands for %d texts", n, len(markers))
	}
	t.Logf("%d bytes of %d, %d commands", took, size, len(proxy.Commands(`UID FETCH`)))

	sizes := harness.Shell(t, m.Path, `cd INBOX/.text; for f in *; do set -- $(stat -c %s "$f") $(wc -c <"$f"); [ $1 = $2 ] || echo "$f $1 $2"; done`)
	if sizes != "" {
		t.Errorf("sizes that are not those of the files:\n%s", sizes)
	}
	sums := harness.Shell(t, m.Path, `cd INBOX/.text; sha256sum *; stat -c '%i %n' *`)
	m.Unmount(t)
	m = run.Mount(t, args...)
	harness.Shell(t, m.Path, `cat INBOX/*.eml >/dev/null`) // this time the texts are made from whole messages
	if again := harness.Shell(t, m.Path, `cd INBOX/.text; sha256sum *; stat -c '%i %n' *`); again != sums {
		t.Errorf("texts made of whole messages differ from those that are not:\n%s", firstDifference(sums, again))
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range x {
		if i >= len(y) || x[i] != y[i] {
			return fmt.Sprintf("%s\n%s", x[i], y[min(i, len(y)-1)])
		}
	}
	return ""
}

// A text is a short header, the body as plain text, and a line for each attachment.
func TestTextIsHeaderBodyAndListOfAttachments(t *testing.T) {
	t.Parallel()
	mail := "From: =?utf-8?Q?J=C3=B6rg?= <j@example.com>\r\nTo: b@example.com,\r\n c@example.com\r\nX-Other: x\r\n" +
		"Date: Mon, 5 Jan 2026 09:30:00 +0000\r\nSubject: =?iso-8859-1?Q?Gr=FC=DFe?=\r\n" +
		"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n" +
		"Content-Type: text/plain; charset=utf-8; format=flowed\r\n\r\nA line that \r\ngoes on.\r\n> quoted \r\n> too\r\n\r\n-- \r\nJ\r\n--x\r\n" +
		"Content-Type: text/html\r\n\r\n<h1>Title</h1><p>See <a href=\"https://example.com/?a=1&amp;b=2\">this\r\n page</a>.</p><ul><li>one<li>two</ul>\r\n--x\r\n" +
		"Content-Type: message/rfc822\r\n\r\nFrom: in@example.com\r\nSubject: inner\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n" +
		"--y\r\n\r\nfrom within\r\n--y\r\nContent-Type: image/png; name=in.png\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		"iVBORw0KGgo=\r\n--y--\r\n\r\n--x\r\n" +
		"Content-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''%C3%9Cbersicht.pdf\r\n\r\n%PDF-\r\n--x--\r\n"
	want := "From: Jörg <j@example.com>\nTo: b@example.com, c@example.com\nDate: Mon, 5 Jan 2026 09:30:00 +0000\nSubject: Grüße\n\n" +
		"A line that goes on.\n> quoted too\n\n-- \nJ\n\n" +
		"Title\n\nSee this page <https://example.com/?a=1&b=2>.\n\n* one\n* two\n\n" +
		"---------- attached message ----------\nFrom: in@example.com\nSubject: inner\n\nfrom within\n\n" +
		"[attachment: in.png (image/png, 0 bytes)]\n---------- end of attached message ----------\n\n" +
		"[attachment: Übersicht.pdf (application/pdf, 5 bytes)]\n"
	dovecot.Deliver(t, "textform", 1, "S", harness.First, []byte(mail))
	for _, url := range []string{imaps("textform"), fmt.Sprintf("pop3s://textform@localhost:%d", dovecot.POP3S)} {
		m := run.Mount(t, append(trust(), "--cache-dir", "none", url)...)
		if got := harness.Shell(t, m.Path, `cat INBOX/.text/*.txt`); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", url, got, want)
		}
		m.Unmount(t)
	}
}

// A program that walks a mailbox meets no view, and mailboxes that have the name of a view are still there.
func TestNobodyWhoWalksAMailboxMeetsAView(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "hidden")
	c.Make("Box", "Box/.text", "Box/.search", ".parts")
	c.Put("Box", harness.Letters(30, 3)...)
	c.Put("Box/.text", harness.Letters(31, 1)...)
	m := run.Mount(t, append(trust(), imaps("hidden"))...)
	harness.Shell(t, m.Path, `ls Box/.text Box/.parts Box/.search Box/.search/Letter >/dev/null`) // now the kernel has cached them
	to := run.TempDir(t)
	out := harness.Shell(t, m.Path, `find . | sort; cp -r Box "$1"; grep -rc needle Box | wc -l; ls -a Box; tar cf - Box | tar tf -`, to)
	for line := range strings.Lines(out) {
		for _, view := range []string{"/.text", "/.parts", "/.search"} {
			if strings.Contains(line, view) {
				t.Errorf("a view is met: %s", line)
			}
		}
	}
	if copied := harness.Shell(t, to, `find . -type f | wc -l`); strings.TrimSpace(copied) != "4" {
		t.Errorf("cp -r copied %s files, want 4", copied)
	}
	if n := harness.Shell(t, m.Path, `ls Box/%2Etext | wc -l; ls -d %2Eparts Box/%2Esearch`); n != "1\n%2Eparts\nBox/%2Esearch\n" {
		t.Errorf("folders that are called like views: %q", n)
	}
	for _, script := range []string{`touch Box/.text/x`, `mkdir Box/.text/y`, `rm Box/.parts/*/headers.txt`} {
		if err := os.WriteFile(filepath.Join(m.Path, "Box/.text/new"), nil, 0o600); err == nil {
			t.Error("a view can be written to")
		}
		if out := harness.Shell(t, m.Path, "if "+script+" 2>&1; then echo done; fi"); !strings.Contains(out, "Read-only") {
			t.Errorf("%s: %s", script, out)
		}
	}
}

// go-imap ends the connection over a BODYSTRUCTURE that it can't parse. That message is then fetched whole, and no other.
func TestStructureThatCanNotBeParsedCostsOneFetch(t *testing.T) {
	t.Parallel()
	markers, _ := plantTexts(t, "garbled", 33)
	bad := map[string]bool{"* 5 FETCH": true, "* 17 FETCH": true}
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{Lie: func(_ *harness.Lie, line string) string {
		fields := strings.Fields(line)
		if len(fields) > 3 && bad[strings.Join(fields[:3], " ")] {
			return strings.Replace(line, `BODYSTRUCTURE (`, `BODYSTRUCTURE ("no "quotes" escaped" `, 1)
		}
		return line
	}})
	m := run.Mount(t, "--tls=off", "--cache-dir", "none", inTheClear("garbled", proxy.Port))
	found := strings.Fields(harness.Shell(t, m.Path, `grep -rhoE 'needle[0-9]+end' INBOX/.text`))
	slices.Sort(found)
	if !slices.Equal(found, markers) {
		t.Errorf("found %d of %d: %v", len(found), len(markers), found)
	}
	if n := len(strings.Fields(harness.Shell(t, m.Path, `ls -d INBOX/.parts/*/headers.txt`))); n != len(markers) {
		t.Errorf("%d messages with parts, want %d", n, len(markers))
	}
	whole := slices.Sorted(maps.Keys(asked(proxy.Said()))) // perhaps twice, where the connection ended meanwhile
	if !slices.Equal(whole, []int{5, 17}) {
		t.Errorf("messages %v were fetched whole, want 5 and 17", whole)
	}
}

// Messages made to exhaust memory or time are bounded, and harm no other message.
func TestStructuresMadeToHurtAreBounded(t *testing.T) {
	t.Parallel()
	deep := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}
		b.WriteString("\r\nthe bottom\r\n")
		return b.String()
	}
	nested := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 1000) + "\r\nthe bottom\r\n"
	many := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 100_000) + "--b--\r\n"
	header := strings.Repeat("X-Long: "+strings.Repeat("x", 990)+"\r\n", 50_000) + "\r\nthe body\r\n"
	folded := "X-Folded: a\r\n" + strings.Repeat(" b\r\n", 200_000) + "\r\nthe body\r\n"
	bombs := []string{deep(1000), nested, many, header, folded}
	for i, bomb := range bombs {
		dovecot.Deliver(t, "bombs", i, "S", harness.First, fmt.Appendf(nil, "Subject: bomb %d\r\n%s", i, bomb))
	}
	dovecot.Deliver(t, "bombs", len(bombs), "S", harness.First, []byte("Subject: good\r\n\r\nneedle\r\n"))
	for _, url := range []string{imaps("bombs"), fmt.Sprintf("pop3s://bombs@localhost:%d", dovecot.POP3S)} {
		m := run.Mount(t, append(trust(), "--cache-dir", "none", url)...)
		out := harness.Shell(t, m.Path, `grep -l needle INBOX/.text/* 2>/dev/null || true
			for d in INBOX/.parts/*; do echo "$d: $(ls "$d" 2>&1 | wc -l) $(cat "$d/headers.txt" 2>&1 | tail -c 60 | tr -d '\n' | tail -c 40)"; done`)
		if !strings.Contains(out, "good") || strings.Count(out, "INBOX/.parts/") != len(bombs)+1 {
			t.Errorf("%s: %s", url, out)
		}
		t.Log(out)
		for _, pattern := range []string{"bomb-3"} { // 50 MB of header
			name := strings.TrimSpace(harness.Shell(t, m.Path, `ls -d INBOX/.parts/*_`+pattern+`_*`))
			if out := harness.Shell(t, m.Path, `cat "$1/headers.txt" 2>&1 || true`, name); !strings.Contains(out, "File too large") {
				t.Errorf("%s: headers.txt of %s: %.200q", url, name, out)
			}
			text := strings.Replace(name, ".parts", ".text", 1) + ".txt"
			if out := harness.Shell(t, m.Path, `cat "$1"`, text); !strings.Contains(out, "the body") {
				t.Errorf("%s: %s: %.200q", url, text, out)
			}
		}
		m.Unmount(t)
	}
}

// Texts and parts that were read can be read without the server, also after another mount.
func TestViewsStayWithoutServer(t *testing.T) {
	t.Parallel()
	plantTexts(t, "textsstay", 12)
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	store := run.TempDir(t)
	args := []string{"--tls=off", "--cache-dir", store, inTheClear("textsstay", proxy.Port)}
	m := run.Mount(t, args...)
	before := harness.Shell(t, m.Path, `cat INBOX/.text/*`)
	const parts = `ls -l INBOX/.parts/*; cat INBOX/.parts/*_2/a-file.pdf | sha256sum`
	listed := harness.Shell(t, m.Path, parts)
	m.Unmount(t)
	proxy.Close()
	m = run.Mount(t, args...)
	if after := harness.Shell(t, m.Path, `cat INBOX/.text/*`); after != before || !bytes.Contains([]byte(before), []byte("needle0011end")) {
		t.Errorf("texts are not the same without the server: %d bytes, then %d", len(before), len(after))
	}
	if after := harness.Shell(t, m.Path, parts); after != listed {
		t.Errorf("parts are not the same without the server:\n%s", firstDifference(listed, after))
	}
}
