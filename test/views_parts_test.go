package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// extract is a program for Python, whose email package is an independent decoder. It prints for each message the digests
// of its parts, in order, without the texts that .parts calls body. Where a message ends without the last delimiter,
// Python takes the last line end for a piece of that delimiter and Dovecot does not. Either may be right.
const extract = `
import email, hashlib, json, pathlib, sys
def leaves(m):
    if m.get_content_maintype() == 'multipart' and m.is_multipart():
        for p in m.get_payload():
            yield from leaves(p)
    else:
        yield m
out = {}
for path in pathlib.Path(sys.argv[1]).iterdir():
    parts, raw = [], path.read_bytes()
    everything = list(leaves(email.message_from_bytes(raw)))
    for p in everything:
        if p.get_content_type() in ('text/plain', 'text/html') and p.get_content_disposition() is None:
            continue
        if p.get_content_maintype() == 'multipart' or p.get_content_type() == 'message/rfc822':
            continue
        content = p.get_payload(decode=True) or b''
        either = [content]
        if p is everything[-1] and not raw.rstrip().endswith(b'--'):
            either.append(content + b'\r\n')
        parts.append([hashlib.sha256(c).hexdigest() for c in either])
    out[path.name] = parts
json.dump(out, sys.stdout)
`

// mime writes random messages, well-formed ones and malformed ones that programs write.
type mime struct {
	*rand.Rand
	bounds int
}

func (m *mime) random(n int) []byte {
	b := make([]byte, m.IntN(n)+1)
	for i := range b {
		b[i] = byte(m.Uint32())
	}
	return b
}

// attachment writes a part that is attached.
func (m *mime) attachment() string {
	data := m.random(3000)
	names := []string{
		`Content-Disposition: attachment; filename="report.pdf"`,
		`Content-Disposition: attachment; filename=plain.bin`,
		`Content-Disposition: attachment; filename*=utf-8''%C3%9Cbersicht%202026.ods`,
		"Content-Disposition: attachment;\r\n filename*0*=iso-8859-1'de'Gr%FC;\r\n filename*1=\"sse aus Wien\";\r\n filename*2=.txt",
		`Content-Disposition: attachment; filename="=?utf-8?B?5L2g5aW9LmRvY3g=?="`,
		`Content-Disposition: attachment; filename="../../etc/passwd"`,
		`Content-Disposition: attachment; filename="C:\\Users\\me\\a file.doc"`,
		`Content-Disposition: attachment`,
		`Content-Disposition: inline; filename=".bashrc"`,
		`Content-Disposition: attachment; filename="-rf"; size=12`,
	}
	head := "Content-Type: application/octet-stream\r\n" + names[m.IntN(len(names))] + "\r\n"
	code := base64.StdEncoding.EncodeToString(data)
	var body strings.Builder
	lines := func(n int) {
		for rest := code; rest != ""; {
			line := rest[:min(n, len(rest))]
			rest = rest[len(line):]
			body.WriteString(line + "\r\n")
		}
	}
	encoding := "base64"
	switch m.IntN(9) {
	case 0, 1, 2:
		lines(76)
	case 3:
		lines(1 + m.IntN(90)) // of any length
	case 4:
		lines(1 << 20) // one line
	case 5: // no padding, and an empty line within
		code = strings.TrimRight(code, "=")
		lines(60)
		body.WriteString("\r\n")
	case 6: // with text behind the base64
		lines(76)
		body.WriteString("\r\n--\r\nsent with a bad gateway!\r\n")
	case 7:
		encoding = "quoted-printable"
		for i, c := range data {
			switch {
			case i%7 == 0 && c > ' ' && c < 127 && c != '=':
				body.WriteByte(c)
			default:
				fmt.Fprintf(&body, "=%02X", c)
			}
			if i%20 == 19 {
				body.WriteString("=\r\n")
			}
		}
		if m.IntN(2) == 0 {
			body.WriteString("a = b, =ZZ and =3d\r\n")
		}
	default:
		encoding = "7bit"
		for range m.IntN(30) {
			fmt.Fprintf(&body, "line %d of what is attached as it is\r\n", m.IntN(1000))
		}
	}
	return head + "Content-Transfer-Encoding: " + encoding + "\r\n\r\n" + body.String()
}

func (m *mime) text(kind string) string {
	return "Content-Type: text/" + kind + "; charset=utf-8\r\n\r\n<p>some text " + fmt.Sprint(m.IntN(1000)) + "</p>\r\n"
}

// entity writes a part, which may hold others down to depth levels.
func (m *mime) entity(depth int) string {
	if depth == 0 || m.IntN(5) == 0 {
		switch m.IntN(6) {
		case 0:
			return m.text("plain")
		case 1:
			return m.text("html")
		case 2:
			return "\r\nno header at all\r\n"
		default:
			return m.attachment()
		}
	}
	if m.IntN(8) == 0 {
		return "Content-Type: message/rfc822\r\n\r\nSubject: inner " + fmt.Sprint(m.IntN(100)) + "\r\n" + m.entity(depth-1)
	}
	m.bounds++
	boundary := fmt.Sprintf("b%d.%d", m.bounds, m.IntN(1000))
	var b strings.Builder
	quote := `"`
	if m.IntN(3) == 0 {
		quote = ""
	}
	fmt.Fprintf(&b, "Content-Type: multipart/%s;\r\n\tboundary=%s%s%s\r\n\r\n",
		[]string{"mixed", "alternative", "related", "signed"}[m.IntN(4)], quote, boundary, quote)
	if m.IntN(2) == 0 {
		b.WriteString("This is a preamble.\r\n")
	}
	for range 1 + m.IntN(4) {
		fmt.Fprintf(&b, "\r\n--%s%s\r\n%s", boundary, strings.Repeat(" ", m.IntN(2)), m.entity(depth-1))
	}
	switch m.IntN(6) {
	case 0: // the end is missing
		b.WriteString("\r\n")
	case 1:
		fmt.Fprintf(&b, "\r\n--%s--\r\nan epilogue\r\n", boundary)
	default:
		fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	}
	return b.String()
}

// hand holds messages written by hand that decoders read in different ways.
var hand = []string{
	"Content-Type: multipart/mixed\r\n\r\nno boundary\r\n",
	"Content-Type: multipart/mixed; boundary=x\r\n\r\nthe boundary does not come\r\n",
	"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na\r\n--xy\r\n\r\nno delimiter\r\n--x--\r\n",
	"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n--x\r\n\r\ntext\r\n--x--\r\n",
	"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n" +
		"Content-Disposition: attachment\r\n\r\nthe inner one does not end\r\n--x\r\nContent-Disposition: attachment\r\n\r\nouter\r\n--x--\r\n",
	"Content-Type: image/png; name=only.png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n",
	"Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nSubject: in a digest\r\n\r\ntext\r\n--x--\r\n",
	"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: application/x; name=a\r\nContent-Transfer-Encoding: BASE64\r\n\r\nAAAA\r\n--x--",
	"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: application/x; name=u\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\n" +
		"begin 644 u\r\n#0V%T\r\n`\r\nend\r\n--x--\r\n",
}

// Every attachment in .parts has the bytes that Python's decoder finds, and the size announced before: over IMAP from the
// server's BODYSTRUCTURE, over POP3 from the message.
func TestPartsAreWhatPythonDecodes(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatal("this test compares with Python: install python3")
	}
	m := &mime{Rand: rand.New(rand.NewPCG(5, 5))}
	messages := append([]string{}, hand...)
	for len(messages) < 300 {
		messages = append(messages, m.entity(1+m.IntN(4)))
	}
	for i, body := range messages {
		mail := fmt.Sprintf("From: parts@example.com\r\nSubject: parts %d\r\nMIME-Version: 1.0\r\n%s", i, body)
		dovecot.Deliver(t, "parts", i, "S", harness.First.Add(time.Duration(i)*time.Minute), []byte(mail))
	}
	for _, way := range []struct{ name, url string }{
		{"IMAP", imaps("parts")}, {"POP3", fmt.Sprintf("pop3s://parts@localhost:%d", dovecot.POP3S)},
	} {
		t.Run(way.name, func(t *testing.T) {
			mount := run.Mount(t, append(trust(), "--cache-dir", "none", way.url)...)
			box := filepath.Join(mount.Path, "INBOX")
			views := partsOf(t, filepath.Join(box, ".parts")) // before the messages are read
			plain := run.TempDir(t)
			harness.Shell(t, box, `cp *.eml "$1"`, plain)
			var out bytes.Buffer
			python := exec.Command("python3", "-c", extract, plain)
			python.Stdout = &out
			if err := harness.Finish(t, 2*time.Minute, python); err != nil {
				t.Fatal(err)
			}
			var want map[string][][]string // by file and part: the digests of which one must be right
			if err := json.Unmarshal(out.Bytes(), &want); err != nil {
				t.Fatal(err)
			}
			if len(want) != len(messages) || len(views) != len(messages) {
				t.Fatalf("%d messages of %d, %d in .parts", len(want), len(messages), len(views))
			}
			attachments := 0
			for name, digests := range want {
				got := views[strings.TrimSuffix(name, ".eml")]
				attachments += len(digests)
				if !slices.EqualFunc(digests, got.digests, slices.Contains[[]string]) {
					raw, _ := os.ReadFile(filepath.Join(plain, name))
					t.Errorf("%s: %d attachments %v, Python finds %d\n%.1500s", name, len(got.digests), got.names, len(digests), raw)
				}
			}
			if attachments < 300 {
				t.Errorf("only %d attachments were compared", attachments)
			}
		})
	}
}

// seenParts has the attachments of one message, in order.
type seenParts struct{ names, digests []string }

// partsOf reads .parts. A file that is not as long as its attributes said fails the test.
func partsOf(t *testing.T, dir string) map[string]seenParts {
	t.Helper()
	all := map[string]seenParts{}
	messages, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range messages {
		var seen seenParts
		d, err := os.Open(filepath.Join(dir, message.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files, err := d.Readdir(-1) // in the order in which they are in the message
		d.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range files {
			name := info.Name()
			content, err := os.ReadFile(filepath.Join(dir, message.Name(), name))
			if err != nil {
				t.Fatal(err)
			}
			if int64(len(content)) != info.Size() {
				t.Errorf("%s/%s: %d bytes, announced were %d", message.Name(), name, len(content), info.Size())
			}
			if strings.HasPrefix(name, "body") || name == "headers.txt" || strings.HasSuffix(name, ".eml") {
				continue
			}
			seen.names = append(seen.names, name)
			sum := sha256.Sum256(content)
			seen.digests = append(seen.digests, hex.EncodeToString(sum[:]))
		}
		all[message.Name()] = seen
	}
	return all
}

// Files in .parts have the size that was announced and hold what is in the message, even when the server's BODYSTRUCTURE is
// wrong.
func TestPartsHoldWhatIsInTheMessageWhateverTheServerSays(t *testing.T) {
	t.Parallel()
	c := dovecot.Dial(t, "wrongparts")
	head := func(n int) string { return fmt.Sprintf("From: a@example.com\r\nSubject: structure %d\r\n", n) }
	inner := head(99) + "Content-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\ninner text\r\n--y--\r\n"
	table := "a;b\r\n1;2\r\n3;4"
	for n := range 8 {
		c.Put("INBOX", harness.Mail{Body: []byte(head(n) + "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nsome text\r\n" +
			"--x\r\nContent-Type: text/csv\r\nContent-Disposition: attachment; filename=table.csv\r\n\r\n" + table + "\r\n--x--\r\n")})
	}
	c.Put("INBOX", harness.Mail{Body: []byte(head(8) + "Content-Type: message/rfc822\r\n\r\n" + inner)})
	for _, lie := range []struct {
		name string
		lie  func(*harness.Lie, string) string
	}{
		{"as it is", func(_ *harness.Lie, line string) string { return line }},
		{"more bytes", harness.WrongStructure(20)},
		{"fewer bytes", harness.WrongStructure(-4)},
		{"nothing in it", harness.EmptyMultiparts},
	} {
		t.Run(lie.name, func(t *testing.T) {
			t.Parallel()
			proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{Lie: lie.lie})
			m := run.Mount(t, "--tls=off", inTheClear("wrongparts", proxy.Port))
			messages := names(filepath.Join(m.Path, "INBOX", ".parts"))
			if len(messages) != 9 {
				t.Fatalf("%d messages", len(messages))
			}
			for _, message := range messages {
				dir := filepath.Join(m.Path, "INBOX", ".parts", message)
				want := map[string]string{"headers.txt": "", "body.txt": "some text", "table.csv": table}
				if strings.Contains(message, "structure-8") {
					want = map[string]string{"headers.txt": "", "structure-99.eml": inner}
				}
				files := names(dir)
				if len(files) != len(want) {
					t.Errorf("%s holds %q", message, files)
				}
				for _, name := range files {
					info, err := os.Stat(filepath.Join(dir, name))
					if err != nil {
						t.Error(err)
						continue
					}
					content, err := os.ReadFile(filepath.Join(dir, name))
					if err != nil || int64(len(content)) != info.Size() {
						t.Errorf("%s/%s: %d bytes (%v), st_size was %d", message, name, len(content), err, info.Size())
					}
					if text, ok := want[name]; !ok || text != "" && strings.TrimSpace(string(content)) != strings.TrimSpace(text) {
						t.Errorf("%s/%s holds %q", message, name, content)
					}
				}
			}
		})
	}
}

// A part has the name that its header gives, made fit for a file and different from all others.
func TestPartsAreNamedAsTheyNameThemselves(t *testing.T) {
	t.Parallel()
	part := func(head, body string) string { return "--x\r\n" + head + "\r\n\r\n" + body + "\r\n" }
	mail := "From: =?utf-8?Q?J=C3=B6rg?= <j@example.com>\r\nSubject: names\r\n of parts\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" +
		part("Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable", "Gr=FC=DFe") +
		part("Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable", "<b>Gr=FC=DFe</b>") +
		part("Content-Disposition: attachment; filename=a.txt", "1") +
		part("Content-Disposition: attachment; filename=A.TXT", "2") +
		part("Content-Disposition: attachment; filename=\"headers.txt\"", "3") +
		part("Content-Disposition: attachment; filename=\"../../x y/.hidden\"", "4") +
		part("Content-Disposition: attachment; filename*=utf-8''na%C3%AFve%20plan.txt", "5") +
		part("Content-Type: image/jpeg\r\nContent-Transfer-Encoding: base64", "/9j/") +
		part("Content-Type: message/rfc822", "Subject: =?utf-8?Q?An=20inner=20one?=\r\n\r\ninside\r\n") +
		part("Content-Disposition: attachment; filename=\""+strings.Repeat("long ", 60)+".pdf\"", "6") + "--x--\r\n"
	dovecot.Deliver(t, "partnames", 1, "S", harness.First, []byte(mail))
	for _, url := range []string{imaps("partnames"), fmt.Sprintf("pop3s://partnames@localhost:%d", dovecot.POP3S)} {
		m := run.Mount(t, append(trust(), url)...)
		got := map[string]string{}
		err := filepath.WalkDir(filepath.Join(m.Path, "INBOX/.parts"), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(p)
			got[d.Name()] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"body.txt": "Grüße\n", "body.html": "\uFEFF<b>Grüße</b>", "a.txt": "1", "A-2.TXT": "2", "headers-2.txt": "3",
			"file.hidden": "4", "naïve-plan.txt": "5", "part-8.jpg": "\xff\xd8\xff",
			"An-inner-one.eml": "Subject: =?utf-8?Q?An=20inner=20one?=\r\n\r\ninside\r\n",
		}
		for name, content := range want {
			if got[name] != content {
				t.Errorf("%s holds %q, want %q", name, got[name], content)
			}
			delete(got, name)
		}
		if !strings.HasPrefix(got["headers.txt"], "From: Jörg <j@example.com>\nSubject: names of parts\n") {
			t.Errorf("headers.txt: %q", got["headers.txt"])
		}
		delete(got, "headers.txt")
		for name, content := range got { // the long one
			if content != "6" || !strings.HasPrefix(name, "long-long-") || !strings.HasSuffix(name, ".pdf") || len(name) > 140 {
				t.Errorf("a file %q that holds %q", name, content)
			}
		}
		if len(got) != 1 {
			t.Errorf("%d more files, want one: %v", len(got), got)
		}
		m.Unmount(t)
	}
}

// Listing the parts of a message fetches none of them, and reading one fetches that one.
func TestPartsAreFetchedAlone(t *testing.T) {
	t.Parallel()
	large := func(name string, n int) string {
		data := bytes.Repeat([]byte{1, 2, 3}, n/4)
		return "--x\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=" + name +
			"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(data) + "\r\n"
	}
	mail := "Subject: large\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nsee below\r\n" +
		large("a.pdf", 1<<20) + large("b.pdf", 4<<20) + "--x--\r\n"
	dovecot.Deliver(t, "partsalone", 1, "S", harness.First, []byte(mail))
	proxy := run.Proxy(t, dovecot.IMAP, harness.ProxyOptions{})
	m := run.Mount(t, "--tls=off", "--cache-dir", "none", inTheClear("partsalone", proxy.Port))
	before := proxy.Down()
	if out := harness.Shell(t, m.Path, `ls -l INBOX/.parts/*large*`); !strings.Contains(out, " 786432 ") {
		t.Errorf("ls -l does not tell the size of a.pdf:\n%s", out)
	}
	if n := proxy.Down() - before; n > 8<<10 {
		t.Errorf("listing parts took %d bytes", n)
	}
	before = proxy.Down()
	if out := harness.Shell(t, m.Path, `cat INBOX/.parts/*large*/a.pdf | wc -c`); strings.TrimSpace(out) != "786432" {
		t.Errorf("a.pdf has %s bytes", out)
	}
	if n := proxy.Down() - before; n > 900<<10 { // BINARY: not as base64
		t.Errorf("reading one part of 768 kB took %d bytes", n)
	}
	if said := proxy.Commands(`BODY\.PEEK\[\]`); len(said) > 0 {
		t.Errorf("the whole message was fetched: %v", said)
	}
}
