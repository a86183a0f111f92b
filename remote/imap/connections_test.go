package imap

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

func TestEveryWaitForASilentServerEnds(t *testing.T) {
	const timeout = time.Second // much longer than a busy machine pauses between two bytes
	short := func(r *dial.Server, _ *Options) { r.Timeout = timeout }
	within := func(t *testing.T, do func() error) {
		t.Helper()
		begun := time.Now()
		wantError(t, do(), remote.ErrTimeout)
		if d := time.Since(begun); d > time.Minute { // far below the default of the tests
			t.Fatalf("it took %v", d)
		}
	}
	t.Run("greeting", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		where := address(t, l)
		where.Timeout = timeout
		a := New(dial.New(where), Options{})
		defer a.Close()
		within(t, func() error { return a.Connect(inTime(t)) })
	})
	t.Run("command", func(t *testing.T) {
		s := newServer(t, plainCaps, mail(1)...)
		s.hook = func(c *peer, tag, command string) bool { return strings.HasPrefix(command, "EXAMINE") }
		a := s.open(short)
		within(t, func() error {
			_, err := a.Sync(inTime(t), "INBOX", remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return nil })
			return err
		})
	})
	t.Run("body", func(t *testing.T) {
		s := newServer(t, plainCaps, mail(1)...)
		s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
			return "* 1 FETCH (UID 1 BODY[] {1000}\r\nhalf of it", true
		}
		a := s.open(short)
		within(t, func() error { _, err := read(t, a, 7, 1); return err })
	})
	t.Run("slow but going on", func(t *testing.T) {
		s := newServer(t, plainCaps, mail(1)...)
		s.letters[0].body = strings.Repeat("x", 20)
		s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
			fmt.Fprintf(c.w, "* 1 FETCH (UID 1 BODY[] {%d}\r\n", len(l.body))
			tick := time.NewTicker(timeout / 10)
			defer tick.Stop()
			for _, b := range []byte(l.body) {
				<-tick.C
				c.w.WriteByte(b)
				c.w.Flush()
			}
			return ")\r\n", true
		}
		got, err := read(t, s.open(short), 7, 1)
		if err != nil || got[1] != s.letters[0].body {
			t.Fatalf("%v, %v", got, err)
		}
	})
}

func TestAnEndlessLineEndsTheConnection(t *testing.T) {
	s := newServer(t, plainCaps, mail(1)...)
	s.hook = func(c *peer, tag, command string) bool {
		if !strings.HasPrefix(command, "EXAMINE") {
			return false
		}
		c.w.WriteString("* FLAGS (")
		for range 2 * (16 << 20) / 1024 { // wire reads a line of half of that
			if _, err := c.w.Write(bytes.Repeat([]byte("x"), 1024)); err != nil {
				break
			}
		}
		return true
	}
	_, err := s.open().Sync(inTime(t), "INBOX", remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return nil })
	wantError(t, err, remote.ErrServer, "a line of more than")
}

func TestUnknownResponsesAreDropped(t *testing.T) {
	s := newServer(t, fullCaps, mail(1, 2)...)
	s.hook = func(c *peer, tag, command string) bool {
		c.w.WriteString("* XWARNING something {3}\r\n" + "abc and {4}\r\n* 1 more\r\n* VANISHED (EARLIER) 1:5\r\n" +
			"* 3 XEXPUNGED\r\n\r\n* OK not a literal {12}\r\n")
		return false
	}
	a := s.open()
	var v view
	v.sync(t, a)
	v.sees(t, s)
	if _, err := a.Mailboxes(inTime(t)); err != nil {
		t.Fatal(err)
	}
	if n := a.Stats().Dials; n != 1 {
		t.Fatalf("%d connections were needed", n)
	}
}

func TestAServerThatAllowsOneConnectionIsServedOverIt(t *testing.T) {
	s := newServer(t, fullCaps, mail(upTo(50)...)...)
	s.hook = func(c *peer, tag, command string) bool {
		if c.n == 1 || !strings.HasPrefix(command, "AUTH") {
			return false
		}
		fmt.Fprintf(c.w, "%s NO [ALERT] Too many simultaneous connections.\r\n", tag)
		return true
	}
	a := s.open(func(_ *dial.Server, o *Options) { o.Connections = 4 })
	var v view
	v.sync(t, a)
	for range 3 {
		if got, err := read(t, a, 7, 1, 2, 3); err != nil || len(got) != 3 {
			t.Fatalf("%v, %v", got, err)
		}
		v.sync(t, a)
	}
	if n := a.Stats().Dials; n != 2 {
		t.Fatalf("%d connections were tried", n)
	}
}

func TestIdleConnectionsEndAndAreReplaced(t *testing.T) {
	t.Run("are closed with LOGOUT", func(t *testing.T) {
		s := newServer(t, fullCaps, mail(1)...)
		a := s.open(func(_ *dial.Server, o *Options) { o.Idle, o.Connections = 50*time.Millisecond, 1 })
		if err := a.Connect(inTime(t)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the connection ends", func() bool { return a.Stats().Connections == 0 })
		if got := s.said("LOGOUT"); len(got) != 1 {
			t.Errorf("%d LOGOUT", len(got))
		}
		if got, err := read(t, a, 7, 1); err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
	})
	t.Run("that the server closed are replaced", func(t *testing.T) {
		s := newServer(t, fullCaps, mail(1)...)
		a := s.open()
		if _, err := read(t, a, 7, 1); err != nil {
			t.Fatal(err)
		}
		s.change(func() {
			for c := range s.conns {
				c.Write([]byte("* BYE autologout\r\n"))
				c.Close()
			}
		})
		eventually(t, "the end is noticed", func() bool { return a.Stats().Connections == 0 })
		if got, err := read(t, a, 7, 1); err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
	})
}

func TestAConnectionThatIsLostTwiceIsUnreachable(t *testing.T) {
	s := newServer(t, fullCaps, mail(1)...)
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
		c.Close()
		return "", true
	}
	a := s.open()
	_, err := read(t, remote.Retry(a), 7, 1)
	wantError(t, err, remote.ErrUnreachable)
	if n := a.Stats().Dials; n != 2 {
		t.Errorf("%d connections were tried", n)
	}
}

// A server that ends the connection over some messages doesn't keep the others from being listed; one that ends it over all
// is out of order.
func TestMessagesThatEndTheConnectionHideNoOthers(t *testing.T) {
	for _, fatal := range []uint32{1, 2, 40} {
		s := newServer(t, fullCaps, mail(upTo(40)...)...)
		s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
			if l.uid > 40-fatal && strings.Contains(items, "HEADER") {
				c.w.Flush()
				c.Close()
				return "", true
			}
			return "", false
		}
		a := remote.Retry(s.open())
		var v view
		_, err := a.Sync(inTime(t), "INBOX", remote.Version{}, remote.Version{}, nil, v.take)
		if fatal == 40 {
			wantError(t, err, remote.ErrUnreachable)
			if len(v.messages) > 0 {
				t.Errorf("%d messages are listed by a server that ends over each", len(v.messages))
			}
			continue
		}
		if err != nil || len(v.messages) != 40 {
			t.Fatalf("%d messages, %v", len(v.messages), err)
		}
		for uid, m := range v.messages {
			if header := m.Header != nil; header != (uint32(uid) <= 40-fatal) || m.Size == 0 || m.Date.IsZero() {
				t.Errorf("%d: %+v", uid, m)
			}
		}
	}
}

// TestReadersGetWholeBodiesWhileConnectionsBreak ends connections in the middle of answers while commands are being sent on them.
func TestReadersGetWholeBodiesWhileConnectionsBreak(t *testing.T) {
	s := newServer(t, fullCaps, mail(upTo(200)...)...)
	rows := 0
	s.row = func(c *peer, n int, l *letter, items string) (string, bool) {
		if rows++; rows%97 == 0 {
			fmt.Fprintf(c.w, "* %d FETCH (UID %d BODY[] {%d}\r\nhalf", n, l.uid, len(l.body))
			c.w.Flush()
			c.Close()
		}
		return "", false
	}
	a := remote.Retry(s.open())
	var all sync.WaitGroup
	for reader := range 20 {
		all.Go(func() {
			for n := range 20 {
				uid := remote.UID(reader*10 + n%10 + 1)
				got, err := read(t, a, 7, uid)
				if err != nil && !errors.Is(err, remote.ErrUnreachable) {
					t.Errorf("UID %d: %v", uid, err)
				}
				if err == nil && !strings.Contains(got[uid], fmt.Sprintf("body of %d\r\n", uid)) {
					t.Errorf("UID %d is %q", uid, got[uid])
				}
			}
		})
	}
	all.Wait()
}
