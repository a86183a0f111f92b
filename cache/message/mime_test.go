package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailfs/mailfs/remote"
)

var mimeSeeds = []string{
	"", "\r\n", "Content-Type: text/plain\r\n\r\nhello\r\n",
	"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nb\r\n--x--\r\n",
	"Content-Type: multipart/alternative; boundary=\"a b\"\r\n\r\n--a b\r\nContent-Type: text/html; charset=koi8-r\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\nPGI+eDwvYj4=\r\n--a b--",
	"Content-Disposition: attachment; filename*0*=utf-8''%C3; filename*1*=%BC; filename*2=.x\r\n" +
		"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\n#0V%T\r\nend\r\n",
	"Content-Type: text/plain; format=flowed; delsp=yes\r\n\r\n> a \r\n> b\r\n-- \r\n",
	"Content-Type: multipart/mixed; boundary=x\n\n--x\n--x--\n",
}

// Whatever a message holds: its parts lie within it, texts are clean UTF-8, and names are fit for files and unique.
func FuzzDissect(f *testing.F) {
	for _, s := range mimeSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		found, err := Parse(raw)
		if err != nil {
			if !errors.Is(err, remote.ErrTooComplex) {
				t.Error(err)
			}
			return
		}
		asked, _, err := TextSections(found.Root)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range asked {
			if found.Section(s) == nil {
				t.Errorf("section %+v is not there", s)
			}
		}
		text := Text(found.Header(), found.Root, found.Section)
		if !utf8.Valid(text) || bytes.ContainsAny(text, "\r\x00\x1b") {
			t.Errorf("the text is not clean: %q", text)
		}
		taken := map[string]bool{}
		for _, p := range Files(found.Root) {
			lower := strings.ToLower(p.Name)
			if taken[lower] || !utf8.ValidString(p.Name) || len(p.Name) > maxName+8 || p.Name == "" ||
				strings.ContainsAny(p.Name, "/\x00\n") || p.Name[0] == '.' || p.Name[0] == '-' {
				t.Errorf("a file %q", p.Name)
			}
			taken[lower] = true
			if p.Part == nil {
				continue
			}
			content := found.Section(remote.Section{Number: p.Part.Number})
			if content == nil || int64(len(content)) != p.Part.Size {
				t.Errorf("part %s is of %d bytes, not %d", p.Part.Number, len(content), p.Part.Size)
			}
		}
	})
}

func TestDecodeContent(t *testing.T) {
	data := []byte("any bytes: \x00\xff\xfe and so on, of a length that leaves a rest")
	for n := range data {
		code := base64.StdEncoding.EncodeToString(data[:n])
		for _, c := range []string{code, strings.TrimRight(code, "="), strings.Join(strings.Split(code, ""), "\r\n"), " " + code + "!"} {
			if got := decodeContent("base64", []byte(c)); !bytes.Equal(got, data[:n]) {
				t.Errorf("base64 %q is %q, want %q", c, got, data[:n])
			}
		}
	}
	for coded, want := range map[string]string{
		"a=20b=\r\nc": "a bc", "=3d=3D==": "===", "=ZZ=4": "=ZZ=4", "a=": "a", "line=\nend=0A": "lineend\n",
	} {
		if got := decodeContent("quoted-printable", []byte(coded)); string(got) != want {
			t.Errorf("quoted-printable %q is %q, want %q", coded, got, want)
		}
	}
	if got := decodeContent("unheard-of", data); !bytes.Equal(got, data) {
		t.Errorf("what is in no known encoding became %q", got)
	}
}

func TestDecodeCharset(t *testing.T) {
	for _, c := range []struct{ charset, data, want string }{
		{"utf-8", "Grüße", "Grüße"}, {"UTF-8", "bad \xff", "bad \uFFFD"}, {"iso-8859-1", "Gr\xfc\xdfe \x80", "Grüße €"},
		{"windows-1251", "\xcf\xf0\xe8\xe2\xe5\xf2", "Привет"}, {"koi8-r", "\xf0\xd2\xc9\xd7\xc5\xd4", "Привет"},
		{"gb2312", "\xc4\xe3\xba\xc3", "你好"}, {"gb18030", "\xc4\xe3\xba\xc3", "你好"}, {"big5", "\xa7A\xa6n", "你好"},
		{"shift_jis", "\x93\xfa\x96{", "日本"}, {"euc-jp", "\xc6\xfc\xcb\xdc", "日本"}, {"euc-kr", "\xb0\xa1", "가"},
		{"iso-2022-jp", "\x1b$BF|K\\\x1b(B", "日本"}, {"", "\x1b$BF|K\\\x1b(B", "日本"}, {"iso-8859-15", "\xa4", "€"},
		{"utf-16", "\xfe\xff\x00a\x00b", "ab"}, {"us-ascii", "Gr\xfc\xdfe", "Grüße"}, {"x-martian", "hello", "hello"},
		{"", "\xef\xbb\xbfmark", "mark"}, {"ks_c_5601-1987", "\xb0\xa1", "가"}, {"\"utf-8\"", "ü", "ü"},
	} {
		if got := decodeCharset(c.charset, []byte(c.data)); got != c.want {
			t.Errorf("%s: %q is %q, want %q", c.charset, c.data, got, c.want)
		}
	}
}

func TestHTMLText(t *testing.T) {
	for document, want := range map[string]string{
		"<p>a</p><p>b":                                "a\n\nb\n",
		"one<br>two<br/><br>three":                    "one\ntwo\n\nthree\n",
		"<td>a</td><td>b</td>":                        "a b\n",
		"spa<b>ced</b>   out &amp; &eacute;&nbsp;x":   "spaced out & é x\n",
		"<script>no</script><style>no</style>yes":     "yes\n",
		"<a href='https://x.org/'>https://x.org/</a>": "https://x.org/\n",
		"<a href='javascript:x'>no</a>":               "no\n",
		"<pre> as  it\n is</pre>":                     " as  it\n is\n",
		"a < b <!-- no --> c":                         "a < b c\n",
		"<img alt='a picture'>":                       "a picture\n",
	} {
		if got := htmlText(document); got != want {
			t.Errorf("%s is %q, want %q", document, got, want)
		}
	}
	// That takes longer than a test may if the time for an element depends on how many it lies in.
	if got := htmlText(strings.Repeat("<div><b>", 500_000) + "deep"); got != "deep\n" {
		t.Errorf("in a million elements: %.50q", got)
	}
}

func TestUnflow(t *testing.T) {
	for flowed, want := range map[string]string{
		"a \nb\n":                   "a b\n",
		"> a \n> b\nc\n":            "> a b\nc\n",
		"> a \n>> b\n":              "> a \n>> b\n",
		"text \n-- \nJ\n":           "text \n-- \nJ\n",
		" From stuffed\n >no quote": "From stuffed\n>no quote\n",
	} {
		if got := unflow(flowed, false); got != want {
			t.Errorf("%q is %q, want %q", flowed, got, want)
		}
	}
	if got := unflow("日 \n本\n", true); got != "日本\n" {
		t.Errorf("DelSp: %q", got)
	}
}

// Names that all want to be the same do not take ages to tell apart.
func TestManyEqualNames(t *testing.T) {
	root := &remote.Part{Type: "multipart/mixed"}
	for range remote.MaxParts - 1 {
		root.Parts = append(root.Parts, &remote.Part{Type: "application/pdf", Disposition: "attachment",
			DispositionParams: map[string]string{"filename": "a.pdf"}})
	}
	if err := root.Enumerate(); err != nil {
		t.Fatal(err)
	}
	files := Files(root)
	if len(files) != remote.MaxParts {
		t.Fatalf("%d files, want %d", len(files), remote.MaxParts)
	}
	if last := files[len(files)-1].Name; last != fmt.Sprintf("a-%d.pdf", remote.MaxParts-1) {
		t.Errorf("the last is called %s", last)
	}
}
