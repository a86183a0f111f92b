package pop3

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	client "github.com/knadh/go-pop3"

	"github.com/mailfs/mailfs/remote"
)

// receiveFrom lets a server say something in pieces of a size and returns what the answer to a RETR is taken for. The
// answer to a NOOP follows it, and is to be found.
func receiveFrom(t *testing.T, said string, size int64, piece int) ([]byte, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		defer theirs.Close()
		buf := make([]byte, 100)
		if _, err := theirs.Read(buf); err != nil { // the commands, in one piece
			return
		}
		said := said + "+OK done\r\n"
		for len(said) > 0 {
			n := min(piece, len(said))
			if _, err := io.WriteString(theirs, said[:n]); err != nil {
				return
			}
			said = said[n:]
		}
	}()
	s := &session{conn: newConn(ours, 5*time.Second), window: window}
	go io.WriteString(theirs, "+OK\r\n")
	s.conn.expect(&exchange{})
	lib, err := client.New(client.Opt{Dialer: s.conn}).NewConn()
	if err != nil {
		t.Fatal(err)
	}
	s.lib = lib
	retr := &exchange{command: "RETR 1", multi: true, size: size}
	noop := &exchange{command: "NOOP"}
	if err := s.ask(retr, noop); err != nil {
		return nil, err
	}
	if noop.said != "done" {
		t.Errorf("answer to NOOP is %q", noop.said)
	}
	if n := s.conn.coming(); n != 0 {
		t.Errorf("%d bytes are still expected when all has come", n)
	}
	return retr.answer, nil
}

func TestMessagesArriveAsTheyAreSent(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	bits := []string{".", "..", "\r", "\n", "\r\n", "\n.\r\n", "\n.\n", "\r\n.\r\n", "a", "\x00", "\xff"}
	for range 3000 {
		var b strings.Builder
		for range rnd.IntN(12) {
			b.WriteString(bits[rnd.IntN(len(bits))])
		}
		b.WriteString("\r\n")
		content := b.String()
		for name, stuff := range map[string]func([]byte) []byte{"CRLF": stuffCRLF, "LF": stuffLF} {
			said := "+OK\r\n" + string(stuff([]byte(content)))
			got, err := receiveFrom(t, said, int64(len(content)), 1+rnd.IntN(6))
			if err != nil || string(got) != content {
				t.Fatalf("stuffed by %s: %q arrives as %q (%v)", name, content, got, err)
			}
		}
	}
}

// The announced size is what room is made for, and nothing that lasts.
func TestRoomIsMadeForTheAnnouncedSizeAndNotKept(t *testing.T) {
	content := strings.Repeat("0123456789\r\n", 1000)
	for _, size := range []int64{0, 1, 11_000, 12_000, 12_002, 20_000, trusted, 1 << 40, math.MaxInt64} {
		got, err := receiveFrom(t, "+OK\r\n"+content+".\r\n", size, 5000)
		if err != nil || string(got) != content {
			t.Errorf("announced with %d bytes: %d bytes, %v", size, len(got), err)
		}
		if most := 4 * len(content) / 3; cap(got) > most {
			t.Errorf("announced with %d bytes: takes %d, more than %d", size, cap(got), most)
		}
	}
	large := strings.Repeat(content, 2*trusted/len(content))
	for _, size := range []int64{1 << 40, int64(len(large))} {
		if got, err := receiveFrom(t, "+OK\r\n"+large+".\r\n", size, 1<<20); err != nil || string(got) != large {
			t.Errorf("large, announced with %d bytes: %d bytes, %v", size, len(got), err)
		}
	}
}

func TestAMessageEndsWhereTheServerEndsItHoweverOddly(t *testing.T) {
	for _, c := range []struct{ name, said, want string }{
		{"empty", "+OK\r\n.\r\n", ""},
		{"in lower case", "+ok\r\na\r\n.\r\n", "a\r\n"},
		{"a server of LF", "+OK\na\n..b\n\n.\n", "a\n.b\n\n"},
		{"terminator after LF", "+OK\r\na\r\nb\n.\r\n", "a\r\nb\n"},
		{"terminator with LF", "+OK\r\na\r\nb\r\n.\n", "a\r\nb\r\n"},
		{"a line that begins with CR", "+OK\r\n\ra\r\n\r\r\n.\r\n", "\ra\r\n\r\r\n"},
		{"dots after LF, one too many for the size", "+OK\r\na\n..b\r\n\n...\r\n.\r\n", "a\n.b\r\n\n..\r\n"},
		{"dots after LF and CRLF", "+OK\r\n\n..\r\n...\n...\r\n..\r\n.\r\n", "\n..\r\n..\n...\r\n.\r\n"},
		{"dot and CR", "+OK\r\n..\ra\r\n.\r\n", ".\ra\r\n"},
		{"long line", "+OK\r\n" + strings.Repeat("x", 1<<20) + "\n" + strings.Repeat("y", 1<<20) + "\r\n.\r\n",
			strings.Repeat("x", 1<<20) + "\n" + strings.Repeat("y", 1<<20) + "\r\n"},
	} {
		got, err := receiveFrom(t, c.said, int64(len(c.want)), max(len(c.said)/100, 1))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %.100q (%v), want %.100q", c.name, got, err, c.want)
		}
	}
	if got, err := receiveFrom(t, "-ERR not this one\r\n", 1000, 5); err != nil || len(got) > 0 {
		t.Errorf("refused: %q (%v)", got, err)
	}
}

func TestAnAnswerThatIsNoneEndsTheConnection(t *testing.T) {
	for _, c := range []struct {
		name, said string
		want       error
	}{
		{"closed amid a message", "+OK\r\nhalf a mess", remote.ErrLost},
		{"no answer", "220 ready\r\n", errConfused},
		{"an empty line", "\r\n", errConfused},
		{"a first line without an end", "+OK " + strings.Repeat("x", bufferSize), remote.ErrServer},
		{"what is left of another message", "+OK\r\na\r\n.\r\nb\r\n.\r\n", errConfused},
	} {
		_, err := receiveFrom(t, c.said, 0, 1000)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}
