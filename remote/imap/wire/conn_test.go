package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// through sends what a server says through a conn, in pieces of random size, and returns what go-imap would see.
func through(t *testing.T, said string, seed uint64) (string, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	writing, reading := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, 1))
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		for rest := said; rest != ""; {
			n := min(len(rest), 1+writing.IntN(40))
			if seed == 0 {
				n = len(rest)
			}
			if _, err := io.WriteString(theirs, rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	c := New(ours, Options{Timeout: 5 * time.Second, Names: &Spellings{}})
	c.greeted = true
	c.tags.sent([]byte("T1 IDLE\r\n"))
	c.Begin()
	var seen bytes.Buffer
	for {
		p := make([]byte, 1+reading.IntN(9000))
		n, err := c.Read(p)
		seen.Write(p[:n])
		if err != nil {
			ours.Close()
			<-done
			if err == io.EOF {
				err = nil
			}
			return seen.String(), err
		}
	}
}

func TestWhatGoImapCannotReadIsMendedOrDropped(t *testing.T) {
	body := "From: x\r\n\r\n* VANISHED 1:5\r\nINTERNALDATE NIL {12}\r\n"
	big := strings.Repeat("0123456789", 20000)
	long := "* SEARCH" + strings.Repeat(" 123456", 30000) + "\r\n"
	literal := func(s string) string { return fmt.Sprintf("{%d}\r\n%s", len(s), s) }
	const noDate = `INTERNALDATE "01-Jan-1970 00:00:00 +0000"`
	for _, c := range []struct{ in, out string }{
		{"* OK hello {5}\r\n", ""},
		{"* 1 FETCH (UID 1 BODY[] " + literal(body) + " FLAGS ())\r\n", ""},
		{"* 1 FETCH (UID 1 BODY[] " + literal(big) + " FLAGS ())\r\n", ""},
		{"* 1 FETCH (UID 1 BODY[]<0> " + literal(strings.Repeat("x", maxString+1)) + ")\r\n", ""},
		{"* 1 FETCH (UID 1 BODY[] {0}\r\n)\r\n", ""},
		{long, ""},
		{"* VANISHED 1:5\r\n", "-"},
		{"* VANISHED (EARLIER) 1:5\r\n", "-"},
		{"* XFOO " + literal(big) + " x " + literal(body) + "\r\n", "-"},
		{"* 5 XFOO\r\n", "-"},
		{"\r\n", "-"},
		{"nonsense\r\n", "-"},
		{"T7 OK an answer to nothing\r\n", "-"},
		{"* 2 FETCH (INTERNALDATE NIL UID 2)\r\n", "* 2 FETCH (UID 2 " + noDate + ")\r\n"},
		{"* 2 FETCH (UID 2 INTERNALDATE \"x y\")\r\n", "* 2 FETCH (UID 2 " + noDate + ")\r\n"},
		{"* 2 FETCH (UID 2 INTERNALDATE \" 1-Jan-2020 00:00:00 +0000\")\r\n", ""},
		{"* 2 FETCH (UID 2 INTERNALDATE 1-Jan-2020 00:00:00 +0000 FLAGS ())\r\n",
			"* 2 FETCH (UID 2 INTERNALDATE \"1-Jan-2020 00:00:00 +0000\" FLAGS ())\r\n"},
		{`* 2 FETCH (BODY[HEADER] "a INTERNALDATE NIL \" INTERNALDATE NIL " UID 2)` + "\r\n",
			"* 2 FETCH (UID 2 BODY[HEADER] " + literal(`a INTERNALDATE NIL " INTERNALDATE NIL `) + ")\r\n"},
		{"* 2 FETCH (BODY[] " + literal("x") + " INTERNALDATE NIL UID 2)\r\n",
			"* 2 FETCH (UID 2 BODY[] " + literal("x") + " " + noDate + ")\r\n"},
		{"* 2 FETCH (BODY[] " + literal(big) + " UID 2)\r\n", "* 2 FETCH (UID 2 BODY[] " + literal(big) + ")\r\n"},
		{"* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n* 2 FETCH (UID 2 BODY[] " + literal(body) + ")\r\n",
			"* 2 FETCH (UID 2 FLAGS (\\Seen) BODY[] " + literal(body) + ")\r\n"},
		{"* 2 FETCH (FLAGS (\\Seen) UID 2)\r\n* 2 FETCH (BODY[] " + literal(body) + ")\r\n",
			"* 2 FETCH (UID 2 FLAGS (\\Seen) BODY[] " + literal(body) + ")\r\n"},
		{"* 2 FETCH (UID 2 FLAGS ())\r\n* 2 FETCH (RFC822.SIZE 7 UID 3)\r\n",
			"* 2 FETCH (UID 2 FLAGS ())\r\n* 2 FETCH (UID 3 RFC822.SIZE 7)\r\n"},
		{"* 2 FETCH (UID 2 FLAGS ())\r\n* 3 FETCH (RFC822.SIZE 7)\r\n", "* 2 FETCH (UID 2 FLAGS ())\r\n"},
		{"*  2  fetch  ( uid  2  FLAGS  ( \\Seen [odd] Label(old) \\Draft )  X-NEW  (a (b \"c)\") {1}\r\nx) rfc822.size 5 )\r\n",
			"* 2 FETCH (UID 2 FLAGS (\\Seen \\Draft) RFC822.SIZE 5)\r\n"},
		{"* 2 FETCH ((UID 2 FLAGS ()))\r\n", "* 2 FETCH (UID 2 FLAGS ())\r\n"},
		{"* 2 FETCH (UID 2 X-FLAG FLAGS ()\r\n", "* 2 FETCH (UID 2 FLAGS ())\r\n"},
		{"* 2 FETCH (UID 2 RFC822.SIZE -5 MODSEQ 12)\r\n", "* 2 FETCH (UID 2 MODSEQ (12))\r\n"},
		{"* 2 FETCH (UID 2 body.peek[header.fields (\"From\"  TO )] " + literal("From: x\r\n\r\n") + ")\r\n",
			"* 2 FETCH (UID 2 BODY[HEADER.FIELDS (\"From\" \"TO\")] " + literal("From: x\r\n\r\n") + ")\r\n"},
		{"* 2 FETCH (UID 2 RFC822 " + literal(body) + ")\r\n", "* 2 FETCH (UID 2 BODY[] " + literal(body) + ")\r\n"},
		{"* 2 FETCH (UID 2 BODY[]<0.5> " + literal("12345") + ")\r\n", "* 2 FETCH (UID 2 BODY[]<0> " + literal("12345") + ")\r\n"},
		{"* 2 FETCH (UID 2 BODY[odd*] " + literal(big) + " FLAGS ())\r\n", "* 2 FETCH (UID 2 FLAGS ())\r\n"},
		{"* 99999999999 FETCH (UID 2 FLAGS ())\r\n", "-"},
		{`* 2 FETCH (UID 2 BODYSTRUCTURE ("text" plain ("charset" NIL) NIL NIL "7bit" 12 NIL NIL NIL NIL))` + "\r\n",
			`* 2 FETCH (UID 2 BODYSTRUCTURE ("text" "plain" ("charset" "") NIL NIL "7bit" 12 0 NIL NIL))` + "\r\n"},
		{`* 2 FETCH (UID 2 BODYSTRUCTURE ("mixed" NIL) FLAGS ())` + "\r\n",
			`* 2 FETCH (UID 2 BODYSTRUCTURE ` + noStructure + ` FLAGS ())` + "\r\n"},
		{"* LIST () \"/\" " + literal("a\"b") + "\r\n", "* LIST () \"/\" \"a\\\"b\"\r\n"},
		{"* LIST () \"/\" R&D\r\n", "* LIST () \"/\" \"R&-D\"\r\n"},
		{"* LIST () NIL \"x&\" (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n", "* LIST () NIL \"x&-\"\r\n"},
		{"* LIST () \"\\\\\" " + literal("a\xff") + "\r\n", "* LIST () \"\\\\\" \"a&AP8-\"\r\n"},
		{"* LIST (\\HasNoChildren) \"/\" Sent Items\r\n", "* LIST (\\HasNoChildren) \"/\" \"Sent Items\"\r\n"},
		{"*  LIST  ( \\A[b] \\Sent )  /  \"a \"quoted\" b\" \r\n", "* LIST (\\Sent) \"/\" \"a \\\"quoted\\\" b\"\r\n"},
		{"* LIST\r\n", "-"},
		{"* STATUS my box (MESSAGES 3 UIDNEXT 99999999999 X (1) UIDVALIDITY 7)\r\n",
			"* STATUS \"my box\" (MESSAGES 3 UIDVALIDITY 7)\r\n"},
		{"* SEARCH 1 2 x 3 (MODSEQ 5)\r\n", "* SEARCH 1 2 3\r\n"},
		{"* ESEARCH (TAG \"T1\") uid all 1:5,7 X-NEW (1 2) COUNT 6\r\n", "* ESEARCH (TAG \"T1\") UID ALL 1:5,7 COUNT 6\r\n"},
		{"* CAPABILITY IMAP4rev2 IMAP4rev1 IDLE\r\n", "* CAPABILITY IMAP4rev1 IDLE\r\n"},
		{"* CAPABILITY  IMAP4rev2 (\"\" \"/\") IDLE \r\n", "* CAPABILITY IMAP4rev2 IDLE\r\n"},
		{"* CAPABILITY ((\"\" \"/\")) NIL NIL\r\n", "-"},
		{"T1 OK [CAPABILITY IMAP4rev1 IMAP4rev2] done {3}\r\n", "T1 OK [CAPABILITY IMAP4rev1] done {3}\r\n"},
		{"T1  ok\r\n", "T1 OK\r\n"},
		{"T1 DONE well\r\n", "T1 BAD DONE well\r\n"},
		{"T1 NO [unavailable (\"a]b\")] later\r\n", "T1 NO [UNAVAILABLE] later\r\n"},
		{"T1 NO [never closed\r\n", "T1 NO never closed\r\n"},
		{"* OK [UIDVALIDITY 1713632002544] fine\r\n", "* OK [UIDVALIDITY 4057528001] fine\r\n"},
		{"* OK [PERMANENTFLAGS (\\Seen [css3-page] \\*)] fine\r\n", "* OK [PERMANENTFLAGS (\\Seen \\*)] fine\r\n"},
		{"* FLAGS (\\Answered Label(old) Later)\r\n", "* FLAGS (\\Answered Later)\r\n"},
		{"*  5  EXISTS \r\n", "* 5 EXISTS\r\n"},
		{"* 99999999999 EXISTS\r\n", "-"},
		{"* NAMESPACE ((\"\" \"/\" \"X\" (\"y\"))) NIL\r\n", "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"},
		{"+ go on {3}\r\n", ""},
		{"+\r\n", "+ \r\n"},
	} {
		want := c.out
		switch want {
		case "":
			want = c.in
		case "-":
			want = ""
		}
		const next = "* 7 EXISTS\r\n" // must not be swallowed
		for seed := range uint64(3) {
			got, err := through(t, c.in+next, seed)
			if err != nil || got != want+next {
				t.Errorf("%.100q came through as %.100q, %v", c.in, got, err)
			}
		}
	}
}

func TestTruncatedAndOversizedAnswersEndTheConnection(t *testing.T) {
	for said, want := range map[string]error{
		"* 1 FETCH (BODY[] {10}\r\nfour":                                            io.ErrUnexpectedEOF,
		"* 1 FETCH (BODY[] {4}\r\nfour":                                             io.ErrUnexpectedEOF,
		"* 1 FETCH (UI":                                                             io.ErrUnexpectedEOF,
		"* LIST () \"/\" {10}\r\nfour":                                              io.ErrUnexpectedEOF,
		fmt.Sprintf("* LIST () {%d}\r\n", maxString+1):                              ErrUnparsable,
		fmt.Sprintf("* 1 FETCH (MODSEQ {%d}\r\n", maxString+1):                      ErrUnparsable,
		fmt.Sprintf("* 1 FETCH (UID 1 BODY[] {%d}\r\n", int64(maxBody)+1):           ErrUnparsable,
		"* ID (" + strings.Repeat("{1000000}\r\n"+strings.Repeat("x", 1000000), 18): ErrUnparsable,
	} {
		if got, err := through(t, said, 0); !errors.Is(err, want) {
			t.Errorf("%.100q came through as %.100q, %v", said, got, err)
		}
	}
}

func TestSilenceAfterALongIdleTimeIsALostConnection(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	c := New(ours, Options{Timeout: 300 * time.Millisecond, Names: &Spellings{}})
	c.heard = time.Now().Add(-2 * quiet)
	c.Begin()
	if _, err := c.Read(make([]byte, 10)); !errors.Is(err, remote.ErrLost) {
		t.Fatalf("error is %v", err)
	}
}

// reads counts the reads of a connection.
type reads struct {
	net.Conn
	n int
}

func (r *reads) Read(p []byte) (int, error) {
	r.n++
	return r.Conn.Read(p)
}

func TestASilentServerIsWaitedForOnce(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	counted := &reads{Conn: ours}
	c := New(counted, Options{Timeout: 200 * time.Millisecond, Names: &Spellings{}})
	defer c.Close()
	c.Begin()
	for range 4 { // as go-imap does
		if _, err := c.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the error is %v", err)
		}
	}
	if counted.n != 1 {
		t.Errorf("the network was read %d times", counted.n)
	}
}
