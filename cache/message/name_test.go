package message

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/mailfs/mailfs/remote"
)

func testMessage(header string) *remote.Message {
	return &remote.Message{UID: 4711, Key: "4711", Header: []byte(header), Date: time.Date(2026, 11, 22, 23, 30, 0, 0, time.FixedZone("", -3600))}
}

func TestNameIsReadableAndSafeWhateverTheHeaderHolds(t *testing.T) {
	for _, c := range []struct{ what, header, want string }{
		{"plain", "From: Alice <alice@example.com>\r\nSubject: Quarterly report\r\n\r\n", "alice@example.com_Quarterly-report"},
		{"nothing at all", "", "unknown_no-subject"},
		{"empty fields", "From: \r\nSubject:   \r\n", "unknown_no-subject"},
		{"no space after the colon", "From:a@b.c\r\nSubject:x\r\n", "a@b.c_x"},
		{"folded", "From: Alice\r\n <alice@example.com>\r\nSubject: one\r\n\ttwo\r\n", "alice@example.com_one-two"},
		{"encoded words", "From: =?utf-8?q?J=C3=B6rg?= <j@example.org>\r\nSubject: =?iso-8859-1?Q?Gr=FC=DFe?= =?utf-8?B?5L2g5aW9?=\r\n", "j@example.org_Grüße你好"},
		{"raw Latin-1", "From: a@b.c\r\nSubject: Gr\xfc\xdfe\r\n", "a@b.c_Grüße"},
		{"raw UTF-8, decomposed", "From: a@b.c\r\nSubject: u\u0308ber\r\n", "a@b.c_über"},
		{"unknown charset", "From: a@b.c\r\nSubject: =?x-none?Q?hello_there?=\r\n", "a@b.c_hello-there"},
		{"shell and paths", "From: a@b.c\r\nSubject: $(rm -rf /) `x` ../../etc; \"q\" & 'z'\r\n", "a@b.c_-rm--rf-x-..-..-etc-q-z-"},
		{"right-to-left override", "From: a@b.c\r\nSubject: a\u202egpj.exe\r\n", "a@b.c_a-gpj.exe"},
		{"line break in an encoded word", "From: a@b.c\r\nSubject: =?utf-8?Q?a=0D=0Ab=00c?=\r\n", "a@b.c_a-b-c"},
		{"underscore", "From: a_b@c.d\r\nSubject: x_y\r\n", "a-b@c.d_x-y"},
		{"two senders", "From: First <one@x.org>, two@x.org\r\nSubject: s\r\n", "one@x.org_s"},
		{"group", "From: friends: one@x.org, two@x.org;\r\nSubject: s\r\n", "one@x.org_s"},
		{"quoted name with an at", "From: \"me@home\" <me@work.org>\r\nSubject: s\r\n", "me@work.org_s"},
		{"broken address", "From: Alice <alice@example.com\r\nSubject: s\r\n", "alice@example.com_s"},
		{"no address", "From: Alice\r\nSubject: s\r\n", "unknown_s"},
		{"junk lines", "garbage\r\n: nothing\r\nFrom: a@b.c\r\n\x00\xff\r\nSubject: s\r\n", "a@b.c_s"},
		{"bare LF", "From: a@b.c\nSubject: s\n", "a@b.c_s"},
		{"hangul and arabic and devanagari", "From: a@b.c\r\nSubject: 안녕 مرحبا नमस्ते\r\n", "a@b.c_안녕-مرحبا-नमस्ते"},
	} {
		got, _ := Name(testMessage(c.header), remote.RoleNone)
		if want := "2026-11-23_" + c.want + "_4711.eml"; got != want {
			t.Errorf("%s:\n got %s\nwant %s", c.what, got, want)
		}
	}
}

func TestNameOfSentMailHasTheRecipient(t *testing.T) {
	m := testMessage("From: me@x.org\r\nTo: Bob <bob@x.org>, c@x.org\r\nSubject: s\r\n")
	for role, want := range map[remote.Role]string{remote.RoleNone: "me@x.org", remote.RoleSent: "bob@x.org", remote.RoleDrafts: "bob@x.org"} {
		if got, _ := Name(m, role); got != "2026-11-23_"+want+"_s_4711.eml" {
			t.Errorf("role %d: %s", role, got)
		}
	}
}

func TestNameHasTheDateOfTheHeaderWhereTheServerHasNone(t *testing.T) {
	m := testMessage("Date: Mon, 02 Mar 2020 23:59:59 -0800\r\n")
	m.Date = time.Time{}
	got, at := Name(m, remote.RoleNone)
	if want := time.Date(2020, 3, 3, 7, 59, 59, 0, time.UTC); !at.Equal(want) || !strings.HasPrefix(got, "2020-03-03_") {
		t.Errorf("%s, %v", got, at)
	}
	for _, bad := range []string{"", "Date: yesterday\r\n", "Date: Mon, 02 Mar 0001 00:00:00 +0000\r\n", "Date: Mon, 02 Mar 1950 00:00:00 +0000\r\n"} {
		m.Header = []byte(bad)
		if got, at = Name(m, remote.RoleNone); at.Unix() != 0 || !strings.HasPrefix(got, "1970-01-01_") {
			t.Errorf("%q: %s, %v", bad, got, at)
		}
	}
}

func TestNameIsCutBetweenCharacters(t *testing.T) {
	for _, subject := range []string{strings.Repeat("long ", 2000), strings.Repeat("ü", 999), "x" + strings.Repeat("你", 999), strings.Repeat("e\u0323\u0302", 300), strings.Repeat("\u0302", 300)} {
		for _, from := range []string{"a@b.c", strings.Repeat("f", 300) + "@example.org"} {
			got, _ := Name(testMessage("From: "+from+"\r\nSubject: "+subject+"\r\n"), remote.RoleNone)
			if !wellFormed(got) || len(got) < maxName-8 {
				t.Errorf("%d bytes: %q", len(got), got)
			}
		}
	}
}

var form = regexp.MustCompile(`^\d{4}-\d\d-\d\d_[\pL\pM\pN.,+=@~-]+_[\pL\pM\pN.,+=@~-]+_4711\.eml$`)

func wellFormed(name string) bool {
	return len(name) <= maxName && utf8.ValidString(name) && norm.NFC.IsNormalString(name) && form.MatchString(name)
}

func FuzzName(f *testing.F) {
	f.Add([]byte("From: Alice <alice@example.com>\r\nTo: b@c\r\nSubject: =?utf-8?B?5L2g5aW9?=\r\n\r\n"))
	f.Add([]byte("From: =?x?Q?=FF=00?= <@>\r\nSubject: =\u0338 ~\u0338 \u0338\r\n\t\xff\xfe"))
	f.Fuzz(func(t *testing.T, header []byte) {
		m := testMessage("")
		m.Header = header
		for _, role := range []remote.Role{remote.RoleNone, remote.RoleSent} {
			if got, _ := Name(m, role); !wellFormed(got) {
				t.Errorf("%q", got)
			}
		}
	})
}

func BenchmarkName(b *testing.B) {
	m := testMessage("From: Person Number 645 <person645@example.org>\r\nTo: me@example.net\r\n" +
		"Subject: Re: [list] the 12345. thing about =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n" +
		"Date: Thu, 05 Nov 2026 11:22:33 +0100\r\nMessage-ID: <12345.abcdef@mail.example.org>\r\n\r\n")
	for b.Loop() {
		Name(m, remote.RoleNone)
	}
}
