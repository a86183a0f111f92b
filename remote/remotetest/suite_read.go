package remotetest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mailfs/mailfs/remote"
)

// odd are bodies that are easily damaged on the way.
func odd() map[string][]byte {
	all := map[string]string{
		"dots":        ".\r\n..\r\n.dot\r\n\r\n.\r\n",
		"bytes":       "caf\xe9 na\u00efve \x01\x7f\t\r\n",
		"a long line": strings.Repeat("x", 20_000) + "\r\n",
		"nothing":     "",
		"blank lines": "\r\n\r\n\r\n",
		"much":        strings.Repeat("0123456789abcdef\r\n", 40_000),
		"IMAP":        "* 1 FETCH (UID 1 BODY[] {3}\r\n)\r\nA1 OK done\r\n",
	}
	bodies := map[string][]byte{}
	for name, text := range all {
		bodies[name] = fmt.Appendf(nil, "From: a@example.org\r\nSubject: %s\r\n\r\n%s", name, text)
	}
	return bodies
}

func (s *suite) bodies() {
	var all [][]byte
	for _, body := range odd() {
		all = append(all, body)
	}
	a, v := s.filled(all...)
	for _, prio := range []remote.Priority{remote.Foreground, remote.Readahead, remote.Background} {
		at := v.at()
		at.Priority = prio
		got, err := s.read(s.Context(), a, at, v.known().Ranges()[0].First)
		s.must(err)
		if len(got) != 1 {
			s.Errorf("of one message %d came", len(got))
		}
		got, err = s.read(s.Context(), a, at, slices.Collect(maps.Keys(v.messages))...)
		s.must(err)
		if len(got) != len(all) {
			s.Errorf("of %d messages %d came", len(all), len(got))
		}
		for uid, body := range got {
			if !slices.ContainsFunc(all, func(b []byte) bool { return bytes.Equal(b, body) }) {
				s.Errorf("UID %d is no message that was put: %d bytes, %.80q", uid, len(body), body)
			}
		}
	}
}

func (s *suite) bodiesAreOwned() {
	a, v := s.filled(letter(1))
	uid := v.uids(1)[0]
	for range 3 {
		got, err := s.read(s.Context(), a, v.at(), uid)
		s.must(err)
		if !bytes.Equal(got[uid], letter(1)) {
			s.Fatalf("it is %q", got[uid])
		}
		clear(got[uid])
	}
}

func (s *suite) gone() {
	a, v := s.filled(letters(3)...)
	uids := v.uids(1, 2, 3)
	s.server.Remove(inbox, 2)
	v.sync(a, remote.Version{}) // a session of POP3 shows the maildrop as it was
	got, err := s.read(s.Context(), a, v.at(), uids...)
	s.must(err)
	if len(got) != 2 || got[uids[1]] != nil {
		s.Errorf("%d messages came", len(got))
	}
	_, err = a.Header(s.Context(), v.at(), uids[1])
	s.wants("Header", err, remote.ErrNoMessage)
	if _, err = a.Piece(s.Context(), v.at(), uids[1], 0, 10); !errors.Is(err, remote.ErrUnsupported) {
		s.wants("Piece", err, remote.ErrNoMessage)
	}
	var mu sync.Mutex // guards came
	came := map[string][]remote.UID{}
	note := func(what string, uid remote.UID) {
		mu.Lock()
		defer mu.Unlock()
		came[what] = append(came[what], uid)
	}
	err = a.Structures(s.Context(), v.at(), uids, func(uid remote.UID, _ *remote.Part, _ []byte) { note("structures", uid) })
	if !s.unsupported(err) && (len(came["structures"]) != 2 || slices.Contains(came["structures"], uids[1])) {
		s.Errorf("structures of %v", came["structures"])
	}
	err = a.Sections(s.Context(), v.at(), uids, []remote.Section{{Number: "1"}}, func(uid remote.UID, _ [][]byte) { note("sections", uid) })
	if !s.unsupported(err) && (len(came["sections"]) != 2 || slices.Contains(came["sections"], uids[1])) {
		s.Errorf("sections of %v", came["sections"])
	}
}

func (s *suite) pieces() {
	body := fmt.Appendf(nil, "Subject: letter 1\r\n\r\n%s", strings.Repeat("0123456789\r\n", 10_000))
	a, v := s.filled(body)
	uid, size := v.uids(1)[0], int64(len(body))
	for _, c := range []struct{ off, n int64 }{
		{0, 1}, {0, 100}, {7, 50_000}, {size - 10, 10}, {size - 10, 1000}, {0, size}, {0, size + 1}, {size, 10}, {size + 5, 10},
	} {
		piece, err := a.Piece(s.Context(), v.at(), uid, c.off, c.n)
		if s.unsupported(err) {
			return
		}
		if want := body[min(c.off, size):min(c.off+c.n, size)]; !bytes.Equal(piece, want) {
			s.Errorf("%d bytes from %d on are %d bytes, %.40q, want %d", c.n, c.off, len(piece), piece, len(want))
		}
	}
}

func (s *suite) header() {
	a, v := s.filled(letters(2)...)
	header, err := a.Header(s.Context(), v.at(), v.uids(2)[0])
	s.must(err)
	for _, field := range []string{"from: ann <ann@example.org>\r\n", "subject: letter 2\r\n", "message-id: <2@example.org>\r\n"} {
		if !strings.Contains(strings.ToLower(string(header)), field) {
			s.Errorf("%q is not in %q", field, header)
		}
	}
}

// attachment is the content of the second part of withAttachment.
var attachment = bytes.Repeat([]byte("\x00\xffdata"), 50)

// encoded is base64 in lines of 76 characters (RFC 2045, section 6.8).
func encoded(content []byte) string {
	var lines strings.Builder
	for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(content)), 76) {
		lines.Write(line)
		lines.WriteString("\r\n")
	}
	return lines.String()
}

// withAttachment is letter 1 as a message of two parts.
func withAttachment() []byte {
	return []byte("From: Ann <ann@example.org>\r\nSubject: letter 1\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=\"=b=\"\r\n\r\n" +
		"--=b=\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThis is the text.\r\n" +
		"--=b=\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n" +
		"Content-Disposition: attachment; filename=\"data.bin\"\r\n\r\n" + encoded(attachment) + "\r\n" +
		"--=b=--\r\n")
}

func (s *suite) structures() {
	a, v := s.filled(withAttachment(), letter(2))
	uids := v.uids(1, 2)
	var mu sync.Mutex // guards parts
	parts := map[remote.UID]*remote.Part{}
	err := a.Structures(s.Context(), v.at(), uids, func(uid remote.UID, p *remote.Part, header []byte) {
		mu.Lock()
		defer mu.Unlock()
		parts[uid] = p
		if !strings.Contains(string(header), "Subject: letter") {
			s.Errorf("the header is %q", header)
		}
	})
	if s.unsupported(err) {
		return
	}
	mixed, plain := parts[uids[0]], parts[uids[1]]
	if mixed == nil || plain == nil || len(mixed.Parts) != 2 || mixed.Type != "multipart/mixed" || plain.Type != "text/plain" {
		s.Fatalf("the structures are %+v and %+v", mixed, plain)
	}
	text, file := mixed.Parts[0], mixed.Parts[1]
	if text.Type != "text/plain" || text.Params["charset"] != "utf-8" || text.Number != "" {
		s.Errorf("the text is %+v", text)
	}
	if file.Type != "application/octet-stream" || file.Encoding != "base64" || file.Disposition != "attachment" ||
		file.DispositionParams["filename"] != "data.bin" || file.Size != int64(len(encoded(attachment))) {
		s.Errorf("the attachment is %+v", file)
	}
	s.must(mixed.Enumerate())
	s.must(plain.Enumerate())
	if text.Number != "1" || file.Number != "2" || plain.Number != "1" {
		s.Errorf("the parts have the numbers %q, %q and %q", text.Number, file.Number, plain.Number)
	}
}

func (s *suite) sections() {
	a, v := s.filled(withAttachment())
	asked := []remote.Section{
		{Number: "2"}, {Aspect: remote.FullHeader}, {Number: "7"}, {Number: "1"}, {Aspect: remote.Fields},
	}
	var got [][]byte
	err := a.Sections(s.Context(), v.at(), v.uids(1), asked, func(_ remote.UID, sections [][]byte) { got = sections })
	if s.unsupported(err) {
		return
	}
	if len(got) != len(asked) {
		s.Fatalf("%d sections were asked for, %d came", len(asked), len(got))
	}
	// There is no part 7. Some servers can't tell that from an empty part.
	whole, _, _ := bytes.Cut(withAttachment(), []byte("\r\n\r\n"))
	if string(got[0]) != encoded(attachment) || string(got[1]) != string(whole)+"\r\n\r\n" || len(got[2]) > 0 ||
		string(got[3]) != "This is the text." || !strings.Contains(string(got[4]), "Subject: letter 1\r\n") {
		s.Errorf("the sections are %q", got)
	}
}

func (s *suite) decoded() {
	a, v := s.filled(withAttachment())
	uid := v.uids(1)[0]
	sizes, err := a.DecodedSizes(s.Context(), v.at(), uid, []string{"1", "2"})
	if s.unsupported(err) {
		return
	}
	for i, want := range []string{"This is the text.", string(attachment)} {
		content, err := a.Decoded(s.Context(), v.at(), uid, fmt.Sprint(i+1))
		if s.unsupported(err) {
			return
		}
		if string(content) != want || sizes[i] != int64(len(want)) {
			s.Errorf("part %d is %q, and has %d bytes", i+1, content, sizes[i])
		}
	}
}

func (s *suite) search() {
	a, v := s.filled(letters(12)...)
	validity, found, err := a.Search(s.Context(), inbox, remote.Query{Subject: []string{"LETTER 1"}})
	if s.unsupported(err) {
		return
	}
	want := remote.NewUIDSet(v.uids(1, 10, 11, 12)...)
	if validity != v.version.UIDValidity || found.Len() != 4 || found.Minus(want).Len() > 0 {
		s.Errorf("found are %v under UIDVALIDITY %d, want %v", found.Ranges(), validity, want.Ranges())
	}
	_, found, err = a.Search(s.Context(), inbox, remote.Query{Body: []string{"is in no letter"}})
	s.must(err)
	if found.Len() > 0 {
		s.Errorf("found are %v", found.Ranges())
	}
}

func (s *suite) quota() {
	a, _ := s.filled(letter(1))
	used, limit, err := a.Quota(s.Context())
	if !s.unsupported(err) && (limit <= 0 || used < 0 || used > limit) {
		s.Errorf("%d bytes of %d are used", used, limit)
	}
}

func (s *suite) unchanged() {
	if s.server.Flags == nil {
		s.Skip("the server has no flags")
	}
	a, v := s.filled(withAttachment())
	for _, m := range methods {
		if err := m.call(s.Context(), a, v.at(), v.uids(1)[0]); err != nil && !errors.Is(err, remote.ErrUnsupported) {
			s.Errorf("%s: %v", m.name, err)
		}
	}
	s.must(a.Close())
	if flags := s.server.Flags(inbox, 1); slices.Contains(flags, `\Seen`) || len(flags) > 1 {
		s.Errorf("the message has the flags %q", flags)
	}
}

func (s *suite) stats() {
	a, v := s.filled(letters(3)...)
	before := a.Stats()
	_, err := s.read(s.Context(), a, v.at(), v.uids(1, 2, 3)...)
	s.must(err)
	after := a.Stats()
	if after.Bodies-before.Bodies != 3 || after.BytesIn-before.BytesIn < int64(3*len(letter(1))) ||
		after.BytesOut <= before.BytesOut || after.Dials == 0 || after.Connections == 0 {
		s.Errorf("the counters were %+v and are %+v", before, after)
	}
	s.must(a.Close())
	if n := a.Stats().Connections; n != 0 {
		s.Errorf("%d connections are up after Close", n)
	}
}
