package wire

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// replay is a connection on which a server has said everything already.
type replay struct {
	net.Conn
	said *bytes.Reader
}

func (r replay) Read(p []byte) (int, error)     { return r.said.Read(p) }
func (replay) SetReadDeadline(time.Time) error  { return nil }
func (replay) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkListing measures what the bytes of a listing cost on their way to go-imap; one operation is one message.
func BenchmarkListing(b *testing.B) {
	fields := "From: Somebody <somebody@example.org>\r\nTo: me@example.org\r\nSubject: what it is about\r\n" +
		"Date: Tue, 01 Mar 2022 10:00:00 +0000\r\nMessage-ID: <1234567890@example.org>\r\n\r\n"
	var said bytes.Buffer
	said.WriteString("* OK hello\r\n")
	for i := range b.N {
		fmt.Fprintf(&said, "* %d FETCH (UID %d FLAGS (\\Seen $Forwarded) INTERNALDATE \"01-Mar-2022 10:00:00 +0000\" RFC822.SIZE %d "+
			"BODY[HEADER.FIELDS (FROM TO CC SUBJECT DATE MESSAGE-ID)] {%d}\r\n%s)\r\n", i+1, i+7, 1000+i, len(fields), fields)
	}
	c := New(replay{said: bytes.NewReader(said.Bytes())}, Options{Timeout: time.Minute, Names: &Spellings{}})
	b.SetBytes(int64(said.Len() / b.N))
	b.ReportAllocs()
	b.ResetTimer()
	p := make([]byte, 4096)
	for {
		if _, err := c.Read(p); err == io.EOF {
			break
		} else if err != nil {
			b.Fatal(err)
		}
	}
}
