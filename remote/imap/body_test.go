package imap

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/mailfs/mailfs/remote"
)

func TestBodiesComeWholeAndNothingIsMarkedAsRead(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2, 3, 5)...)
	big := make([]byte, 5<<20)
	rand.Read(big)
	s.letters[2].body = string(big)
	s.letters[3].body = ""
	a := s.open()
	got, err := read(t, a, 7, 1, 2, 3, 4, 5)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 {
		t.Fatalf("%d messages", len(got))
	}
	for _, l := range s.letters {
		if b, ok := got[remote.UID(l.uid)]; !ok || b != l.body {
			t.Errorf("UID %d is %d bytes, want %d", l.uid, len(b), len(l.body))
		}
	}
	for _, c := range s.said("") {
		if strings.HasPrefix(c, "SELECT") || strings.Contains(c, "BODY[") {
			t.Errorf("it said %q", c)
		}
	}
}

func TestAHeaderComesOrItIsSaidWhyNot(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2)...)
	a := s.open()
	h, err := a.Header(inTime(t), remote.Place{Mailbox: "INBOX", UIDValidity: 7}, 2)
	if err != nil || string(h) != s.letters[1].header() {
		t.Fatalf("%q, %v", h, err)
	}
	_, err = a.Header(inTime(t), remote.Place{Mailbox: "INBOX", UIDValidity: 7}, 3)
	wantError(t, err, remote.ErrNoMessage)
	_, err = a.Header(inTime(t), remote.Place{Mailbox: "INBOX", UIDValidity: 6}, 2)
	wantError(t, err, remote.ErrStale)
}

func TestABodyThatDoesNotComeIsAskedForAgain(t *testing.T) {
	for name, wrong := range map[string]string{
		"NIL":     "* 2 FETCH (UID 2 BODY[] NIL)\r\n",
		"flags":   "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n",
		"nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, fullCaps, mail(1, 2, 3)...)
			first := true
			s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
				if l.uid == 2 && first {
					first = false
					return wrong, true
				}
				return "", false
			}
			got, err := read(t, s.open(), 7, 1, 2, 3)
			if err != nil || got[2] != s.letters[1].body || len(got) != 3 {
				t.Fatalf("%v, %v", got, err)
			}
		})
	}
}

func TestARefusedBodyIsAnErrorAfterTheOthersHaveCome(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2, 3)...)
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) { return "", l.uid == 2 }
	got, err := read(t, s.open(), 7, 1, 2, 3)
	wantError(t, err, remote.ErrServer, "UID 2")
	if len(got) != 2 {
		t.Fatalf("%d others came", len(got))
	}
}

func TestABodyThatCannotBeParsedCostsNoOther(t *testing.T) {
	s := newServer(t, fullCaps, mail(upTo(30)...)...)
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
		return fmt.Sprintf("* %d FETCH (UID %d X-WHAT)\r\n", n, l.uid), l.uid == 11
	}
	var uids []remote.UID
	for u := range remote.UID(30) {
		uids = append(uids, u+1)
	}
	got, err := read(t, s.open(), 7, uids...)
	wantError(t, err, remote.ErrServer, "UID 11")
	if len(got) != 29 {
		t.Fatalf("%d others came", len(got))
	}
}

func TestAReadGoesOnAfterTheConnectionIsLostInABody(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2, 3)...)
	s.letters[1].body = strings.Repeat("0123456789abcdef\r\n", 1<<16)
	lost := 0
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
		if l.uid != 2 || lost > 0 {
			return "", false
		}
		lost++
		whole := fmt.Sprintf("* 2 FETCH (UID 2 BODY[] {%d}\r\n%s)\r\n", len(l.body), l.body)
		c.w.WriteString(whole[:len(whole)/2])
		c.w.Flush()
		c.Close()
		return "", true
	}
	a := remote.Retry(s.open())
	got, err := read(t, a, 7, 1, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range s.letters {
		if got[remote.UID(l.uid)] != l.body {
			t.Errorf("UID %d differs", l.uid)
		}
	}
	if lost != 1 {
		t.Fatal("no connection was lost")
	}
}

func TestALiteralThatLiesGivesNoBody(t *testing.T) {
	for name, size := range map[string]string{"too long": "4000000000", "beyond the limit": "99999999999",
		"beyond all": "99999999999999999999"} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, fullCaps, mail(1)...)
			s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
				fmt.Fprintf(c.w, "* 1 FETCH (UID 1 BODY[] {%s}\r\n%s)\r\n", size, l.body)
				c.w.Flush()
				if size == "4000000000" {
					c.Close()
				}
				return "", true
			}
			got, err := read(t, s.open(), 7, 1)
			if err == nil || len(got) != 0 {
				t.Fatalf("%v, %v", got, err)
			}
		})
	}
}

// Servers answer a request for a piece of a message in more ways than the grammar has.
func TestAPieceIsWhatWasAskedForOrUnsupported(t *testing.T) {
	body := mail(1)[0].body
	body += strings.Repeat("0123456789\r\n", 1000)
	for _, c := range []struct {
		name   string
		answer func(off, n int) string
		want   error
	}{
		{"as it should", func(off, n int) string { return fmt.Sprintf("<%d> {%d}\r\n%s", off, n, body[off:off+n]) }, nil},
		{"the length repeated", func(off, n int) string { return fmt.Sprintf("<%d.%d> {%d}\r\n%s", off, n, n, body[off:off+n]) }, nil},
		{"the whole body", func(int, int) string { return fmt.Sprintf(" {%d}\r\n%s", len(body), body) }, remote.ErrUnsupported},
		{"more than was asked for", func(off, n int) string {
			return fmt.Sprintf("<%d> {%d}\r\n%s", off, n+10, body[off:off+n+10])
		}, remote.ErrUnsupported},
		{"the beginning", func(_, n int) string { return fmt.Sprintf("<0> {%d}\r\n%s", n, body[:n]) }, remote.ErrUnsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, fullCaps, mail(1)...)
			s.row = func(_ *peer, n int, l *letter, items string) (string, bool) {
				var off, size int
				if i := strings.Index(items, "BODY.PEEK[]<"); i < 0 {
					return "", false
				} else if _, err := fmt.Sscanf(items[i:], "BODY.PEEK[]<%d.%d>", &off, &size); err != nil {
					return "", false
				}
				return fmt.Sprintf("* %d FETCH (UID %d BODY[]%s)\r\n", n, l.uid, c.answer(off, size)), true
			}
			a := s.open()
			for _, off := range []int{1000, 2000} {
				piece, err := a.Piece(inTime(t), remote.Place{Mailbox: "INBOX", UIDValidity: 7}, 1, int64(off), 500)
				if c.want != nil {
					wantError(t, err, c.want)
				} else if err != nil || string(piece) != body[off:off+500] {
					t.Errorf("at %d: %q, %v", off, piece, err)
				}
			}
			if n := len(s.said("UID FETCH")); n != 2 {
				t.Errorf("%d commands for two pieces", n)
			}
		})
	}
}
