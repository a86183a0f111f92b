package message

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"

	"github.com/mailfs/mailfs/remote"
)

// writer writes well-formed headers.
type writer struct{ *rand.Rand }

func (w writer) one(of ...string) string { return of[w.IntN(len(of))] }

// languages are words and a charset that has their letters.
var languages = []struct {
	charset string
	encoding.Encoding
	words []string
}{
	{"utf-8", encoding.Nop, []string{"Grüße", "Привет", "日本語", "안녕", "مرحبا", "naïve", "résumé", "100%", "a_b", "e\u0301te"}},
	{"UTF-8", encoding.Nop, []string{"会議の資料を送付します", "Übersicht", "Ελλάδα", "😀", "ß", "=", "?"}},
	{"iso-8859-1", charmap.ISO8859_1, []string{"Grüße", "déjà", "señor", "¿qué?", "Ærø"}},
	{"ISO-8859-15", charmap.ISO8859_15, []string{"5 €", "œuvre", "Žižek"}},
	{"iso-8859-2", charmap.ISO8859_2, []string{"Łódź", "příliš", "žluťoučký"}},
	{"windows-1252", charmap.Windows1252, []string{"“quoted”", "5 €", "naïve…"}},
	{"windows-1251", charmap.Windows1251, []string{"Привет", "встречу", "Ёжик"}},
	{"koi8-r", charmap.KOI8R, []string{"Приглашение", "на", "встречу"}},
	{"iso-2022-jp", japanese.ISO2022JP, []string{"会議", "資料を", "送付します", "plain"}},
	{"shift_jis", japanese.ShiftJIS, []string{"会議", "資料を", "送付します"}},
	{"euc-jp", japanese.EUCJP, []string{"会議", "資料を", "送付します"}},
	{"gb2312", simplifiedchinese.GBK, []string{"你好", "中国", "会议"}},
	{"gb18030", simplifiedchinese.GB18030, []string{"你好", "中国", "會議"}},
	{"big5", traditionalchinese.Big5, []string{"你好", "中國", "會議"}},
	{"euc-kr", korean.EUCKR, []string{"안녕", "회의", "자료"}},
	{"us-ascii", encoding.Nop, []string{"plain", "words", "only"}},
}

// encoded writes n words, each as an encoded word that stands for itself. phrase limits Q to what a display name allows.
func (w writer) encoded(n int, phrase bool) string {
	var words []string
	for range n {
		l := languages[w.IntN(len(languages))]
		text, err := l.NewEncoder().String(l.words[w.IntN(len(l.words))] + w.one("", " ", " 7"))
		if err != nil {
			panic(err)
		}
		if w.IntN(2) == 0 {
			words = append(words, "=?"+l.charset+"?"+w.one("b", "B")+"?"+base64.StdEncoding.EncodeToString([]byte(text))+"?=")
			continue
		}
		var b strings.Builder
		for _, c := range []byte(text) {
			switch {
			case c == ' ':
				b.WriteByte('_')
			case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || !phrase && c == '-':
				b.WriteByte(c)
			default:
				fmt.Fprintf(&b, "=%02X", c)
			}
		}
		words = append(words, "=?"+l.charset+"?"+w.one("q", "Q")+"?"+b.String()+"?=")
	}
	return strings.Join(words, w.one(" ", "\r\n ", "\r\n\t"))
}

func (w writer) address() string {
	return w.one("alice", "bob.jones", "no-reply", "x+y", "o_n", "first.last=tag") + fmt.Sprint(w.IntN(1000)) + "@" +
		w.one("example.org", "mail.example.com", "a.b", "xn--bcher-kva.example", "localhost")
}

func (w writer) mailbox() string {
	a := w.address()
	switch w.IntN(10) {
	case 0:
		return a
	case 1:
		return "<" + a + ">"
	case 2:
		return a + " (" + w.one("Alice", "a comment, with (a nested one)", "x@y.z") + ")"
	case 3:
		return `"` + w.one("Doe, John", `The \"Boss\"`, "me@home.example", "a <b@c>", "") + `" <` + a + ">"
	case 4, 5:
		return w.encoded(1+w.IntN(3), true) + w.one(" ", "\r\n ") + "<" + a + ">"
	case 6:
		return w.one("Alice", "Bob Jones", "J. R. Tolkien", "Support Team") + " (" + w.one("work", "=?utf-8?q?J=C3=B6rg?=") + ") <" + a + ">"
	case 7:
		return `"john doe"@example.org`
	default:
		return w.one("Alice", "Bob Jones", "O'Brien", "Support Team", "List-Owner") + w.one(" ", "\r\n ", "") + "<" + a + ">"
	}
}

func (w writer) mailboxes() string {
	list := []string{w.mailbox()}
	for range w.IntN(3) {
		list = append(list, w.mailbox())
	}
	s := strings.Join(list, w.one(", ", ",\r\n ", ","))
	if w.IntN(20) == 0 {
		return "A group: " + s + ";"
	}
	return s
}

func (w writer) subject() string {
	switch w.IntN(6) {
	case 0:
		return w.encoded(1+w.IntN(4), false)
	case 1:
		return w.one("Re: ", "[list] ", "Fwd: AW: ") + w.encoded(1+w.IntN(2), false) + " and " + w.encoded(1, false)
	case 2:
		return w.one("Grüße 8-bit", "日本語 as it is", "a=?b", "=?not a word", "what?= ever", "a =? b ?= c")
	case 3:
		return ""
	default:
		return w.one("Quarterly report", "Re: meeting", "x", "50% off; \"now\"", "folded\r\n subject\r\n\tagain") + fmt.Sprint(" ", w.IntN(1e6))
	}
}

func (w writer) date() string {
	t := time.Unix(w.Int64N(2_000_000_000)+10_000_000, 0).In(time.FixedZone("", 15*60*(w.IntN(100)-48)))
	layout := w.one("Mon, 02 Jan 2006 15:04:05", "Mon, 2 Jan 2006 15:04:05", "2 Jan 2006 15:04:05", "02 Jan 2006 15:04", "Mon, 2 Jan 2006 15:04")
	switch w.IntN(6) {
	case 0:
		return t.UTC().Format(layout) + w.one(" GMT", " UT", " +0000", " -0000")
	case 1:
		return t.Format(layout) + t.Format(" -0700") + w.one(" (CEST)", " (a (nested) comment)", " (UTC)")
	case 2:
		if y := t.Year(); 1970 <= y && y < 2049 {
			return t.Format(strings.Replace(layout, "2006", "06", 1) + " -0700")
		}
	}
	return t.Format(layout + " -0700")
}

// namesOfWellFormedMail is the digest of the names and times of 40,000 well-formed headers, as the first version of mailfs
// gave them. It never changes: what was understood rightly keeps its name.
const namesOfWellFormedMail = "cfda887702abf353eb99cf443e6e3cd64206fe835b7b6458e19d2d836e266cf3"

func TestNamesOfWellFormedMailAreThoseOfTheFirstVersion(t *testing.T) {
	w := writer{rand.New(rand.NewPCG(13, 8))}
	digest := sha256.New()
	var out io.Writer = digest
	if path := os.Getenv("MAILFS_NAMES"); path != "" { // to compare two versions
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		out = io.MultiWriter(digest, f)
	}
	for i := range 40_000 {
		raw := "Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\nFrom: " + w.mailboxes() + "\r\nTo: " + w.mailboxes() +
			"\r\nSubject: " + w.subject() + "\r\nDate: " + w.date() + "\r\n\r\n"
		m := &remote.Message{UID: remote.UID(i), Key: fmt.Sprint(i), Header: []byte(raw)}
		if w.IntN(4) == 0 {
			m.Date = time.Unix(w.Int64N(2_000_000_000), 0)
		}
		name, at := Name(m, []remote.Role{remote.RoleNone, remote.RoleSent, remote.RoleDrafts}[w.IntN(3)])
		fmt.Fprintf(out, "%s %d\n", name, at.Unix())
	}
	if got := hex.EncodeToString(digest.Sum(nil)); got != namesOfWellFormedMail {
		t.Errorf("the digest of the names is %s: names have changed", got)
	}
}
