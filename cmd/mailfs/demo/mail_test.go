package demo

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"slices"
	"testing"
)

func TestSampleMailIsWellFormedAndAlwaysTheSame(t *testing.T) {
	messages := imapMail()
	if len(messages) < 200 {
		t.Errorf("only %d messages", len(messages))
	}
	again := imapMail()
	ids := map[string]bool{}
	used := map[string]bool{}
	largest := 0
	for i, m := range messages {
		if !bytes.Equal(m.raw, again[i].raw) {
			t.Fatalf("message %d is another one the second time", i)
		}
		if !slices.Contains(mailboxNames, m.mailbox) {
			t.Errorf("message %d is in no mailbox: %s", i, m.mailbox)
		}
		if m.date.Before(firstDate) || m.date.After(lastDate.AddDate(0, 0, 10)) {
			t.Errorf("message %d is of %v", i, m.date)
		}
		used[m.mailbox] = true
		largest = max(largest, len(m.raw))
		ids[checkMail(t, m.raw)] = true
	}
	if len(ids) != len(messages) {
		t.Errorf("%d Message-IDs in %d messages", len(ids), len(messages))
	}
	if used["Notes"] || !used["Entwürfe"] || !used["日本語"] {
		t.Errorf("mailboxes with mail: %v", used)
	}
	if largest < 2e6 {
		t.Errorf("the largest message has %d bytes", largest)
	}
	for _, raw := range pop3Mail() {
		checkMail(t, raw)
	}
}

// checkMail parses a message with its parts and returns its Message-ID.
func checkMail(t *testing.T, raw []byte) string {
	t.Helper()
	if n := bytes.Count(raw, []byte("\r\n")); n != bytes.Count(raw, []byte("\n")) || n != bytes.Count(raw, []byte("\r")) {
		t.Errorf("a line does not end in CRLF: %.300q", raw)
	}
	for l := range bytes.SplitSeq(raw, []byte("\r\n")) {
		if len(l) > 998 {
			t.Errorf("a line of %d bytes: %.100q", len(l), l)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v: %.300q", err, raw)
	}
	if _, err := m.Header.Date(); err != nil {
		t.Error(err)
	}
	for _, field := range []string{"From", "To"} {
		if _, err := m.Header.AddressList(field); err != nil {
			t.Errorf("%s: %v", m.Header.Get(field), err)
		}
	}
	if _, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		t.Error(err)
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Error(err)
	}
	if parameters["boundary"] == "" {
		return m.Header.Get("Message-ID")
	}
	parts := 0
	for r := multipart.NewReader(m.Body, parameters["boundary"]); ; parts++ {
		p, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if b, err := io.ReadAll(p); err != nil || len(b) == 0 {
			t.Errorf("a part of %s: %d bytes, %v", kind, len(b), err)
		}
	}
	if parts != 2 {
		t.Errorf("%s of %d parts", kind, parts)
	}
	return m.Header.Get("Message-ID")
}
