package pop3

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	client "github.com/knadh/go-pop3"

	"github.com/mailfs/mailfs/remote"
)

// recording is a connection on which a server says the same whatever it is asked: a greeting, then the rest in pieces.
type recording struct {
	net.Conn
	said  [][]byte
	piece int // the most bytes that come at once
}

func (r *recording) Read(p []byte) (int, error) {
	for len(r.said) > 0 && len(r.said[0]) == 0 {
		r.said = r.said[1:]
	}
	if len(r.said) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.piece)], r.said[0])
	r.said[0] = r.said[0][n:]
	return n, nil
}

func (r *recording) Write(p []byte) (int, error)      { return len(p), nil }
func (r *recording) SetDeadline(time.Time) error      { return nil }
func (r *recording) SetReadDeadline(time.Time) error  { return nil }
func (r *recording) SetWriteDeadline(time.Time) error { return nil }

// play has a session read what a server says, as the answers to a RETR of a message with a size and to a NOOP. Where the end of
// the message is in doubt, the session goes on with the answer to LIST of message 7, of 4242 bytes.
func play(t *testing.T, said []byte, size int64, piece int) (retr, noop *exchange, doubt bool, err error) {
	t.Helper()
	r := &recording{said: [][]byte{[]byte("+OK\r\n"), said}, piece: piece}
	s := &session{conn: newConn(r, time.Second), window: window}
	s.conn.expect(&exchange{})
	if s.lib, err = client.New(client.Opt{Dialer: s.conn}).NewConn(); err != nil {
		t.Fatal(err)
	}
	s.drop = &maildrop{messages: []message{{uid: 1, number: 7, size: 4242}}}
	retr = &exchange{command: "RETR 1", multi: true, whole: true, size: size}
	noop = &exchange{command: "NOOP"}
	for _, x := range []*exchange{retr, noop} {
		if err := s.send(x); err != nil {
			return retr, noop, false, err
		}
	}
	if err := s.receive(retr); err != nil {
		return retr, noop, false, err
	}
	if s.conn.doubt == retr {
		_, err := s.realign(message{uid: 2})
		return retr, noop, true, err
	}
	err = s.receive(noop)
	return retr, noop, false, err
}

func TestWhatFollowsAnEndThatIsNoneIsLeftOut(t *testing.T) {
	for _, rest := range []string{"", "text\r\n.\r\n", "+OK 7 4242\r", "+OK 7 4241\r\n", "x+OK 7 4242\r\n", "-ERR 7 4242\r\n", "+OK\r\n+OK done\r\n.\r\n",
		string(bytes.Repeat([]byte("x"), 2*bufferSize-10)) + "+OK 7 4242\r\n"} {
		for _, piece := range []int{1000, 1 << 20} {
			retr, _, doubt, err := play(t, []byte("+OK\r\na\r\n.\r\n"+rest+"\r\n+ok  7\t4242 octets\r\n"), 100, piece)
			if err != nil || !doubt || string(retr.answer) != "a\r\n" {
				t.Errorf("%.50q: %q, %v, %v", rest, retr.answer, doubt, err)
			}
		}
	}
}

// FuzzFraming reads whatever a server says: every answer ends, and no byte of one is in another.
func FuzzFraming(f *testing.F) {
	for _, content := range []string{"", ".", "..\r\n.", "a\r\n.\r\nb", "\n.\r\n.\n", "a\r\n.\r\n+OK\r\nb\r\n.", "\r\n.\r\n-ERR\r\n.\r\n+OK 7 4241",
		"x\n..\r\n...\n..", "\r\r\n.\r"} {
		f.Add([]byte(content), int64(len(content)), uint16(1), true)
		f.Add([]byte(content), int64(1000), uint16(3), false)
	}
	f.Fuzz(func(t *testing.T, content []byte, size int64, piece uint16, proper bool) {
		pace := int(piece) + 1
		if proper {
			content = append(content, "\r\n"...)
			said := append([]byte("+OK\r\n"), stuffCRLF(bytes.Clone(content))...)
			retr, noop, _, err := play(t, append(said, "+OK done\r\n"...), int64(len(content)), pace)
			if err != nil || !bytes.Equal(retr.answer, content) || noop.said != "done" {
				t.Errorf("%q arrives as %q, then %q (%v)", content, retr.answer, noop.said, err)
			}
			return
		}
		const mark = "+OK 7 4242"
		said := append(append([]byte("+OK\r\n"), content...), "\r\n"+mark+"\r\n"...)
		retr, noop, doubt, err := play(t, said, min(max(size, 0), mostSize), pace)
		if err != nil {
			for _, known := range remote.Errors() {
				if errors.Is(err, known) {
					return
				}
			}
			t.Fatalf("an error of no kind: %v", err)
		}
		if !bytes.Contains(content, []byte(mark)) && bytes.Contains(retr.answer, []byte(mark)) {
			t.Errorf("%q of %d bytes: the next answer is in the message: %q", content, size, retr.answer)
		}
		if doubt != (int64(len(retr.answer)) < min(size, mostSize) && !retr.refused) {
			t.Errorf("%q of %d bytes: %q, in doubt: %v", content, size, retr.answer, doubt)
		}
		if !doubt && !bytes.Contains(said, []byte(noop.said)) {
			t.Errorf("%q: NOOP is answered %q", content, noop.said)
		}
	})
}
