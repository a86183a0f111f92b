package message

import (
	"math/rand/v2"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

func TestADateIsReadAsOtherMailProgramsReadIt(t *testing.T) {
	const want = "2022-04-04T08:00:00Z"
	for _, text := range []string{
		"Mon, 04 Apr 2022 08:00:00 +0000", "Mon, 4 Apr 2022 08:00 +0000", "4 Apr 2022 08:00:00 -0000", "Mon, 04 Apr 2022 08:00:00",
		"Monday, 04-Apr-22 08:00:00 GMT", "Monday, 04-Apr-2022 08:00:00 GMT", "04-Apr-22 08:00:00 UTC",
		"Mon Apr  4 08:00:00 2022", "Mon Apr 4 08:00:00 UTC 2022", "Mon Apr 4 08:00:00 XYZ 2022", "Mon Apr  4 10:00:00 CEST 2022", "Mon Apr 04 2022 08:00:00 GMT+0000 (Coordinated Universal Time)",
		"2022-04-04T08:00:00Z", "2022-04-04 08:00:00", "2022-04-04T10:00:00+02:00", "2022-04-04T08:00:00.123Z", "20220404T080000Z",
		"2022-04-04T08:00Z", "2022-04-04t08:00:00z", "2022/04/04 08:00:00", "2022-04-04 01:00:00 PDT", "2022-04-04T08:00:00",
		"Mon, 04 Apr 2022 04:00:00 EDT", "Mon, 04 Apr 2022 03:00:00 EST", "Mon, 04 Apr 2022 03:00:00 CDT", "Mon, 04 Apr 2022 02:00:00 CST",
		"Mon, 04 Apr 2022 02:00:00 MDT", "Mon, 04 Apr 2022 01:00:00 MST", "Mon, 04 Apr 2022 01:00:00 PDT", "Mon, 04 Apr 2022 00:00:00 PST",
		"Mon, 04 Apr 2022 08:00:00 UT", "Mon, 04 Apr 2022 08:00:00 Z", "Mon, 04 Apr 2022 08:00:00 A", "Mon, 04 Apr 2022 08:00:00 XYZ",
		"Mon, 04 Apr 2022 10:00:00 +0200 (CEST)", "Mon, 04 Apr 2022 01:00:00 (PDT)", "Mon, 04 Apr 2022 10:00:00 GMT+0200", "Mon, 04 Apr 2022 10:00:00 UTC+2",
		"Mon, 04 Apr 2022 10:00:00 GMT +02:00", "Mon, 04 Apr 2022 10:00:00 +02:00", "Mon, 04 Apr 2022 10:00:00+0200", "Mon, 04 Apr 2022 01:00:00 -700",
		"Mon, 04 Apr 22 08:00:00 +0000", "Mon, 04 Apr 122 08:00:00 +0000", "Fri, 04 Apr 2022 08:00:00 +0000", "Mo, 04 Apr 2022 08:00:00 +0000",
		"пн, 04 Apr 2022 08:00:00 +0000", "周一, 4 Apr 2022 08:00:00 +0000", "lun. 4 Apr 2022 08:00:00 +0000", "Mar, 04 Apr 2022 08:00:00 +0000", "Mar 4 Apr 2022 08:00:00",
		"Mon, 04 April 2022 08:00:00 +0000", "04 APR 2022 08:00:00 GMT", "Mon,04 Apr 2022 08:00:00 +0000", "Mon, 4 Apr 2022  8:00:00 +0000",
		"Mon (the weekday), 04 (fourth) Apr 2022 (the year) 08:00:00 +0000 (that (is) \\) all)", "Mon, 04 Apr 2022 08.00.00 +0000",
		"Mon, 4th of Apr 2022 08:00:00", "Date: Mon, 04 Apr 2022 08:00:00 +0000", "Monday, April 4, 2022 8:00 AM", "4/4/2022 8:00:00 AM",
		"Mon, 04 Apr 2022 20:00:00 +1200", "Sun, 03 Apr 2022 20:00:00 -1200", "Mon, 04 Apr 2022 08:00:00 \"GMT\"", "\"Mon, 04 Apr 2022 08:00:00 +0000\"",
		"Mon, 04 Apr 2022 07:59:60 +0000", "Mon, 04 Apr 2022, 08:00:00", "2022 Apr 4 08:00:00", "Mon, 04 Apr 2022 08:00:00 0000", "Mon, 04 Apr 2022 08:00:00 (unclosed",
	} {
		if got, ok := parseDate(text); !ok || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q is %v, %v", text, got.UTC(), ok)
		}
	}
	for text, want := range map[string]string{
		"Sun, 06 Nov 94 08:49:37 GMT": "1994-11-06T08:49:37Z", "Sunday, 06-Nov-94 08:49:37 GMT": "1994-11-06T08:49:37Z",
		"Thu, 31 Dec 1998 12:00:00 PM": "1998-12-31T12:00:00Z", "4 Apr 2022": "2022-04-04T00:00:00Z", "25.12.2021 18:00": "2021-12-25T18:00:00Z",
		"12/25/2021 06:00 PM": "2021-12-25T18:00:00Z", "25/12/2021 18:00": "2021-12-25T18:00:00Z", "Tue, 31 Feb 2023 00:00:00 +0000": "2023-03-03T00:00:00Z",
	} {
		if got, ok := parseDate(text); !ok || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q is %v, %v; want %s", text, got.UTC(), ok, want)
		}
	}
	for _, text := range []string{"", "yesterday", "Mon", "08:00:00", "32 Apr 2022", "4 Foo 2022 08:00", "Apr 2022", "2022-13-04", "1 2 3 4 5", "mar. 5 abr. 2022 08:00:00", "(Mon, 04 Apr 2022 08:00:00)"} {
		if got, ok := parseDate(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// A name is the same on every machine, so the zone of the machine must not count.
func TestADateIsTheSameInEveryZoneOfTheMachine(t *testing.T) {
	local := time.Local
	t.Cleanup(func() { time.Local = local })
	for _, zone := range []string{"America/New_York", "Asia/Kolkata", "UTC"} {
		if l, err := time.LoadLocation(zone); err == nil {
			time.Local = l
		}
		if got, ok := parseDate("Mon, 04 Apr 2022 03:00:00 EST"); !ok || got.Unix() != 1649059200 {
			t.Errorf("%s: %v", zone, got)
		}
	}
}

func TestDatesOfRFC5322AreThoseOfTheStandardLibrary(t *testing.T) {
	w := writer{rand.New(rand.NewPCG(1, 2))}
	for range 20_000 {
		text := w.date()
		want, err := mail.ParseDate(text)
		if err != nil {
			t.Fatal(text, err)
		}
		if got, ok := parseDate(text); !ok || !got.Equal(want) {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

func TestWithoutAReadableDateTheNewestReceivedCounts(t *testing.T) {
	received := "Received: from a by b with SMTP (id; x) id 1; Mon, 04 Apr 2022 07:00:00 +0000\r\n" +
		"Received: from c\r\n by d;\r\n Mon, 04 Apr 2022 08:00:00 +0000 (UTC; yes)\r\nReceived: broken; never\r\nReceived: 5 Apr 2022 08:00:00\r\n"
	for _, date := range []string{"", "Date: \r\n", "Date: yesterday\r\n", "Date: Mon, 02 Mar 1950 00:00:00 +0000\r\n"} {
		m := &remote.Message{Key: "1", Header: []byte(received + "From: a@b\r\n" + date + "\r\n")}
		if name, at := Name(m, remote.RoleNone); !strings.HasPrefix(name, "2022-04-04_") || at.Unix() != 1649059200 {
			t.Errorf("%q: %s, %v", date, name, at)
		}
	}
	m := &remote.Message{Key: "1", Header: []byte(received + "Date: 1 Apr 2022 00:00:00\r\n")}
	if name, _ := Name(m, remote.RoleNone); !strings.HasPrefix(name, "2022-04-01_") {
		t.Errorf("the Date field counts for less than Received: %s", name)
	}
}

func FuzzDate(f *testing.F) {
	f.Add("Mon, 04 Apr 2022 08:00:00 +0200 (CEST)")
	f.Add("2022-04-04T08:00:00.5Z")
	f.Add("Monday, 04-Apr-22 08:00:00 GMT+2")
	f.Add("4/4/22 8.00.00 PM ((")
	f.Fuzz(func(t *testing.T, text string) {
		if got, ok := parseDate(text); ok && (got.Year() < 0 || got.Year() > 10_000) {
			t.Errorf("%q is %v", text, got)
		}
		ParseHeader([]byte("Received: x; " + text + "\r\nDate: " + text)).date()
	})
}
