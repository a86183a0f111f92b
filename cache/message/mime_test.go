package message

import (
	"bytes"
	"errors"
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

// Whatever a message holds: its parts lie within it, its text is clean UTF-8, and the names of its files are safe and unique.
func FuzzParse(f *testing.F) {
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
