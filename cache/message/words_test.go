package message

import (
	"encoding/base64"
	"strings"
	"testing"
	"unicode/utf8"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestEncodedWordsAreJoinedBeforeTheyAreDecoded(t *testing.T) {
	japanese := "\x1b$B2q5D$N;qNA$rAwIU$7$^$9\x1b(B"
	russian := "Приглашение на встречу"
	koi8 := "\xf0\xd2\xc9\xd7\xc5\xd4"
	for coded, want := range map[string]string{
		"=?ISO-2022-JP?B?" + b64(japanese[:12]) + "?= =?iso-2022-jp?b?" + b64(japanese[12:]) + "?=": "会議の資料を送付します",
		"=?utf-8?B?" + b64(russian)[:30] + "?= =?utf-8?B?" + b64(russian)[30:] + "?=":               russian,
		"=?utf-8?B?" + b64(russian)[:13] + "?=\t=?UTF-8?B?" + b64(russian)[13:] + "?=":              russian,
		"=?utf-8?B?" + b64(russian[:23]) + "?= =?utf-8?B?" + b64(russian[23:]) + "?=":               russian,
		"=?utf-8?B?" + b64(russian[:23]) + "?==?utf-8?B?" + b64(russian[23:]) + "?=":                russian,
		"=?utf-8?Q?=D0=9F=D1?= =?utf-8?Q?=80?=":                                                     "Пр",
		"=?utf-8?Q?=D0=9?= =?utf-8?Q?F=D1=80?=":                                                     "Пр",
		"=?utf-8?Q?=D0?= =?utf-8?B?nw==?=":                                                          "П",
		"=?utf-8*ru?Q?=D0?= =?utf-8?Q?=9f?=":                                                        "П",
		"=?utf-8?B?w7w?= =?utf-8?B?w7w?=":                                                           "üü", // each without its padding
		"=?utf-8?B?w7w=?= =?utf-8?B?w7w=?=":                                                         "üü",
		"=?koi8-r?B?" + b64(koi8[:2]) + "?= =?koi8-r?B?" + b64(koi8[2:]) + "?=":                     "Привет",
		"=?utf-8?Q?a_b?= =?iso-8859-1?Q?=FC?= c =?utf-8?q?d?=":                                      "a bü c d",
		"=?utf-8?Q?with spaces in it?=":                                                             "with spaces in it",
		"=?utf-8?Q?with spaces?= =?utf-8?Q?=C3=BC and?= more":                                       "with spacesü and more",
		"=?UTF-8?q?gr=c3=bc=c3=9fe?=":                                                               "grüße",
		"=?utf-8?b?  w7x4?=":                                                                        "üx",
		"=?utf-8?Q?a=ZZ=?=":                                                                         "a=ZZ=",
		"=?utf-8?Q?why?_because?=":                                                                  "why? because",
		"\"=?utf-8?Q?J=C3=B6rg?=\" <j@x>":                                                           "\"Jörg\" <j@x>",
		"=?utf-8?Q?cut =?utf-8?Q?=C3=BC?=":                                                          "=?utf-8?Q?cut ü",
		"=?utf-8?Q?no end":                                                                          "=?utf-8?Q?no end",
		"=?utf-8?X?abc?= =??=":                                                                      "=?utf-8?X?abc?= =??=",
		"=?utf-8?B?!!!?=":                                                                           "=?utf-8?B?!!!?=",
		"=?utf-8?Q??=":                                                                              "",
		"=?x-none?Q?hello?=":                                                                        "hello",
		"raw \xfc =?utf-8?Q?=C3=BC?=":                                                               "raw ü ü",
		"raw ü =?koi8-r?B?8NLJ18XU?=":                                                               "raw ü Привет",
		"=?iso-2022-kr?B?GyQpQw4wIQ8=?=":                                                            "가",
		"=?unicode-1-1-utf-7?Q?Gr+APwA3w-e?=":                                                       "Grüße",
		"\x1b$B2q5D\x1b(B":                                                                          "会議",
	} {
		if got := decodeText(coded); got != want {
			t.Errorf("%q is %q, want %q", coded, got, want)
		}
	}
	folded := ParseHeader([]byte("Subject: =?utf-8?Q?=D0?=\r\n =?utf-8?Q?=9F=D1?=\r\n\t=?utf-8?Q?=80?=\r\n"))
	if got, _ := folded.Text("Subject"); got != "Пр" {
		t.Errorf("folded: %q", got)
	}
}

func TestAParameterIsReadInPiecesAndInEncodedWords(t *testing.T) {
	for field, want := range map[string]string{
		`filename="a.txt"`: "a.txt",
		`filename*=utf-8''%C3%BC.txt; filename=u.txt`:                    "ü.txt",
		`filename*0*=utf-8''%C3; filename*1*=%BC; filename*2=.txt`:       "ü.txt",
		`filename*2=.txt; filename*1*=%BC; filename*0*=utf-8''%C3`:       "ü.txt",
		`filename*0=one; filename*2=three.txt`:                           "onethree.txt",
		`filename*1=one; filename*2=two.txt`:                             "onetwo.txt",
		`filename*0="=?utf-8?B?w7w=?="; filename*1=" =?utf-8?B?w7w=?="`:  "üü",
		`filename*0="=?utf-8?B?w7"; filename*1="w=?="`:                   "ü",
		`filename*0="=?utf-8?Q?=C3?="; filename*1="=?utf-8?Q?=BC.txt?="`: "ü.txt",
		`filename*0*="=?utf-8?Q?=C3=BC?="; filename*1*=".txt"`:           "ü.txt",
		`filename*0*=utf-8''%3D%3Futf-8%3FQ%3F%C3%BC%3F%3D`:              "ü",
		`filename*="=?utf-8?B?w7w=?="`:                                   "ü",
		`filename="=?utf-8?B?w7w=?="`:                                    "ü",
		`filename="=?utf-8?Q?a?= =?utf-8?Q?b.txt?="`:                     "ab.txt",
		`filename==?utf-8?Q?a_b.txt?=`:                                   "a b.txt",
		`filename*01=b; filename*00=a`:                                   "ab",
		`filename*=; filename=plain.txt`:                                 "plain.txt",
		`filename*0*=windows-1251''%CF%F0; filename*1*=%E8%E2%E5%F2`:     "Привет",
		`filename*x=1; filename=p`:                                       "p",
	} {
		_, params := splitParameters("attachment; " + field)
		if got := decodeParameter(params, "filename"); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
}

// The headers hold 256 KiB of what looks like the beginning of words: a quadratic time would be noticed.
func TestTimeToDecodeIsBounded(t *testing.T) {
	for _, s := range []string{"=?", "=?a?q?", "=?a?q?=?=", "=?utf-8?q?a", "?=", "=?utf-8?b?w7?= ", "=?a?b?=?= x", "(", "\"", "<", "\\", "a@b,", ":;", "[", "=?x?q?a?="} {
		text := strings.Repeat(s, 256<<10/len(s))
		decodeText(text)
		h := ParseHeader([]byte("From: " + text + "\r\nDate: " + text + "\r\nReceived: " + text + "\r\n"))
		h.address("From")
		h.date()
		_, params := splitParameters("x/y; " + text)
		decodeParameter(params, "name")
	}
}

func FuzzEncodedWords(f *testing.F) {
	f.Add("=?utf-8?B?w7w?= =?utf-8*en?Q?=C3?=\t=?x?q?=BC?= \xff")
	f.Add("a =?iso-2022-jp?B?GyRCMnE1RA==?= =?utf-7?Q?+AOk-?=")
	f.Fuzz(func(t *testing.T, text string) {
		if got := decodeText(text); !utf8.ValidString(got) || len(got) > 10*len(text)+10 {
			t.Errorf("%q is %q", text, got)
		}
	})
}

func FuzzParameters(f *testing.F) {
	f.Add("attachment; filename*0*=utf-8''%C3; filename*2=\"x\\\"\"; filename*1*=%BC; name==?utf-8?q?a?=")
	f.Fuzz(func(t *testing.T, field string) {
		_, params := splitParameters(field)
		for name := range params {
			if got := decodeParameter(params, name); !utf8.ValidString(got) {
				t.Errorf("%q: %s is %q", field, name, got)
			}
		}
		if got := decodeParameter(params, "filename"); !utf8.ValidString(got) || len(got) > 10*len(field)+10 {
			t.Errorf("%q is %q", field, got)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("From: =?utf-8?q?a?= <b@c>\r\n\td\r\nDate: x\r\n: \r\n\xff: \xfe\r\n\r\nbody"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h := ParseHeader(raw)
		for _, field := range h.fields {
			if text, ok := h.Text(field.name); !ok || !utf8.ValidString(text) {
				t.Errorf("%q: %s is %q", raw, field.name, text)
			}
		}
		if text := HeaderText(raw); !utf8.Valid(text) {
			t.Errorf("%q is %q", raw, text)
		}
		if len(ListedFields(raw)) > len(raw) || len(RawHeader(raw)) > len(raw) {
			t.Error("a header grew")
		}
	})
}
