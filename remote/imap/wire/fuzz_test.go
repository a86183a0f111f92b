package wire

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// FuzzGoImapReadsWhatComesOut says anything to go-imap through a Conn while commands of every kind that mailfs sends are
// under way. go-imap must never be what ends the connection.
func FuzzGoImapReadsWhatComesOut(f *testing.F) {
	for _, seed := range []string{
		"* 1 FETCH (UID 1 FLAGS (\\Seen) INTERNALDATE \" 1-Jan-2020 00:00:00 +0000\" RFC822.SIZE 5 BODY[] {5}\r\nhello)\r\nT2 OK\r\n",
		"* 1 FETCH (BODY[HEADER.FIELDS (FROM \"TO\")] {2}\r\n\r\n UID 1)\r\n* 1 FETCH (MODSEQ (5) X {3}\r\nabc)\r\n",
		"* 1 FETCH (UID 1 BODYSTRUCTURE ((\"text\" \"plain\" (\"charset\" \"utf-8\") NIL NIL \"7bit\" 5 1 NIL (\"attachment\" (\"a\" \"b\")) NIL)(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 5 (\"d\" \"s\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"a\" \"b\" NIL NIL NIL \"7bit\" 1) 3) \"mixed\" (\"x\" \"y\") NIL NIL))\r\n",
		"* LIST (\\HasNoChildren \\X[) \"/\" \"a&AOk-\"\r\n* LIST () NIL {3}\r\na b\r\n* LIST ( \\Sent ) / &AB- x\r\n",
		"* STATUS \"INBOX\" (MESSAGES 5 UIDNEXT 6 UIDVALIDITY 1713632002544 HIGHESTMODSEQ 9)\r\n",
		"* SEARCH 1 2 3 (MODSEQ 9)\r\n* ESEARCH (TAG \"T3\") UID ALL 1:5 COUNT 5\r\n* 5 EXISTS\r\n* 3 EXPUNGE\r\n",
		"* CAPABILITY IMAP4rev1 ((\"\" \"/\")) NIL\r\n* NAMESPACE ((\"\" \"/\" \"X\" (\"y\"))) NIL NIL\r\n* ENABLED X\r\n",
		"* OK [PERMANENTFLAGS (\\Seen [x] \\*)] y\r\n* OK [UIDNEXT 0] z\r\n* NO [ALERT\r\n* BYE\r\nT2 NO [X] y\r\nT3 DONE\r\n+ x\r\n",
		"* QUOTA \"\" (STORAGE 10 512)\r\n* QUOTAROOT INBOX \"\" a\r\n* FLAGS (\\Seen a(b c)d)\r\n* ID (\"a\" NIL)\r\n* VANISHED 1:3\r\n",
		"* 1 FETCH ((UID 1 FLAGS {2}\r\nab (\"\\\" BODY[1.MIME]<0.5> \"q\\\"\" BINARY.SIZE[1] 5 BINARY[1] ~{1}\r\nx RFC822 NIL\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		ours, theirs := net.Pipe()
		conn := New(ours, Options{Timeout: 20 * time.Second, Names: &Spellings{}})
		client := imapclient.New(conn, nil)
		conn.SetReader(client.Closed())
		go io.Copy(io.Discard, theirs)
		if _, err := io.WriteString(theirs, "* OK [CAPABILITY IMAP4rev1 ESEARCH] hello\r\nT1 OK\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := client.WaitGreeting(); err != nil {
			t.Fatal(err)
		}
		conn.Begin()
		fetch := client.Fetch(imap.UIDSetNum(1, 2, 3), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
		fetched := make(chan struct{})
		go func() {
			defer close(fetched)
			for m := fetch.Next(); m != nil; m = fetch.Next() {
				for i := m.Next(); i != nil; i = m.Next() {
					if b, ok := i.(imapclient.FetchItemDataBodySection); ok && b.Literal != nil {
						io.Copy(io.Discard, b.Literal)
					}
				}
			}
		}()
		client.UIDSearch(&imap.SearchCriteria{}, &imap.SearchOptions{ReturnAll: true})
		list := client.List("", "*", nil)
		listed := make(chan struct{})
		go func() {
			defer close(listed)
			for list.Next() != nil {
			}
		}()
		client.Status("INBOX", &imap.StatusOptions{NumMessages: true})
		client.Select("INBOX", &imap.SelectOptions{ReadOnly: true})
		client.Namespace()
		client.GetQuotaRoot("INBOX")
		theirs.Write(append(said, "\r\n"...))
		theirs.Close()
		<-client.Closed()
		if reason := conn.Ending().Reason; reason == ErrUnparsable {
			t.Fatalf("go-imap ended the connection over %q", said)
		}
		client.Close()
		<-fetched
		<-listed
	})
}
