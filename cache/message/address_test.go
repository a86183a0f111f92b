package message

import (
	"math/rand/v2"
	"net/mail"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTheSenderIsWhatStandsInAngleBrackets(t *testing.T) {
	for field, want := range map[string]string{
		`boss@corp.example <evil@bad.example>`:                      "evil@bad.example",
		`"boss@corp.example" <evil@bad.example>`:                    "evil@bad.example",
		`support@shop.example via List <list@lists.example>`:        "list@lists.example",
		`"Boss <boss@x.example>" <c@d>`:                             "c@d",
		`Boss <boss@x.example> <c@d>`:                               "c@d",
		`'boss@x.example' <c@d>`:                                    "c@d",
		`boss@x.example, <c@d>`:                                     "boss@x.example", // a list of two
		`Doe, John <c@d>`:                                           "c@d",
		`(boss@x.example) <c@d>`:                                    "c@d",
		`(boss@x.example <boss@x.example>) c@d`:                     "c@d",
		`c@d (boss@x.example)`:                                      "c@d",
		`boss@x.example (evil) <c@d>`:                               "c@d",
		`=?utf-8?Q?boss=40x.example?= <c@d>`:                        "c@d",
		`=?utf-8?Q?boss=40x.example_=3Cboss=40x.example=3E?= <c@d>`: "c@d",
		`=?utf-8?Q?boss@x.example,?= <c@d>`:                         "c@d",
		`=?utf-8?Q?<boss@x.example>?= <c@d>`:                        "c@d",
		`=?utf-8?B?Ym9zc0B4LmV4YW1wbGU=?= boss@y.example <c@d>`:     "c@d",
		`"=?utf-8?Q?boss=40x.example?=" <c@d>`:                      "c@d",
		`"boss@x.example <c@d>`:                                     "c@d",
		`boss@x.example" <c@d>`:                                     "c@d",
		`"Boss \" boss@x.example <c@d>`:                             "c@d",
		`"Boss" of "x, boss@x.example" <c@d>`:                       "c@d",
		`boss "of @x, y" <c@d>`:                                     "c@d",
		`:( "boss@x.example, Jr" <c@d>`:                             "c@d",
		`<c@d> boss@x.example`:                                      "c@d",
		`<<c@d>>`:                                                   "c@d",
		`Alice < c@d >`:                                             "c@d",
		`Alice <c@d`:                                                "c@d",
		`Alice <c@d, e@f>`:                                          "c@d",
		`Alice <mailto:c@d>`:                                        "c@d",
		`mailto:c@d`:                                                "c@d",
		`<@a,@b:c@d>`:                                               "c@d",
		`boss@x.example <@a:c@d>`:                                   "c@d",
		`Alice <c@d (at work)>`:                                     "c@d",
		`Alice c@d`:                                                 "c@d",
		`c@d`:                                                       "c@d",
		`c@d; e@f`:                                                  "c@d",
		`c@d, e@f`:                                                  "c@d",
		`"x, y@z" <c@d>, e@f`:                                       "c@d",
		`Friends: c@d, e@f;`:                                        "c@d",
		`boss@x.example: c@d;`:                                      "c@d",
		`Friends: "boss@x.example" <c@d>;`:                          "c@d",
		`undisclosed-recipients:;`:                                  "",
		`boss@x.example <>`:                                         "",
		`boss@x.example <alice>`:                                    "",
		`Alice`:                                                     "",
		`<>`:                                                        "",
		``:                                                          "",
		`"alice@x.example"`:                                         "alice@x.example",
		`=?utf-8?Q?Alice_=3Calice=40x.example=3E?=`:                 "alice@x.example",
		`"john doe"@x.example`:                                      "john doe@x.example",
		`"john doe"@x.example <c@d> , `:                             "c@d",
		"boss@x.example \xfc <c@d>":                                 "c@d",
		`J\xf6rg <c@d>`:                                             "c@d",
		`jörg@bücher.example`:                                       "jörg@bücher.example",
		`boss@x.example <jörg@bücher.example>`:                      "jörg@bücher.example",
		strings.Repeat(`"a, b" `, 1000) + `boss@x.example <c@d>`: "c@d",
		`boss@x.example =?x?Q?\"?= <c@d>`:                        "c@d",
	} {
		if got := firstAddress(field); got != want {
			t.Errorf("%.200s: %q, want %q", field, got, want)
		}
	}
}

func TestALongListHasTheFirstAddressOfTheStandardLibrary(t *testing.T) {
	w := writer{rand.New(rand.NewPCG(3, 4))}
	for range 20_000 {
		field, _ := ParseHeader([]byte("From: " + w.mailboxes())).raw("From")
		list, err := (&mail.AddressParser{WordDecoder: anyCharset}).ParseList(field)
		if err != nil {
			t.Fatal(field, err)
		}
		got, _ := brokenAddress(field)
		if component(got, "", maxFrom) != component(list[0].Address, "", maxFrom) {
			t.Errorf("%s: %q, want %q", field, got, list[0].Address)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add(`"boss@x" (c <d@e>) =?utf-8?q?f=40g?= <@h:i@j>, k: l@m;`)
	f.Add("\"a <b@c>, <\xff@\xfe> ((")
	f.Fuzz(func(t *testing.T, field string) {
		if got := firstAddress(field); !utf8.ValidString(got) || len(got) > 10*len(field)+10 {
			t.Errorf("%q: %q", field, got)
		}
	})
}
