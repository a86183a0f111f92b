package pop3

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

func TestARefusedMessageIsListedAllTheSame(t *testing.T) {
	r := startServer(t, letters(50), func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if whole(line, 7) || line == "TOP 7 0" {
				return &misdeed{raw: "-ERR can't open it\r\n"}
			}
			return nil
		}
	})
	a := r.account(10 * time.Second)
	l := list(t, a)
	if len(l.messages) != 50 {
		t.Fatalf("%d messages: the one that is refused must be listed", len(l.messages))
	}
	var all []remote.UID
	for u := range l.messages {
		all = append(all, u)
	}
	got, err := bodies(t, a, remote.Background, all...)
	if !errors.Is(err, remote.ErrServer) || !strings.Contains(err.Error(), "can't open it") || len(got) != 49 {
		t.Errorf("%d bodies, %v", len(got), err)
	}
}

func TestSizesThatLieSpoilNoMessage(t *testing.T) {
	contents := []string{
		"Subject: one\r\n\r\na\n.\r\nb\n..\nc\r\n.d\r\n",
		"Subject: two\r\n\r\n" + strings.Repeat("line\r\n", 5000),
	}
	for _, lie := range []int{1, 20, 10_000_000} {
		r := startServer(t, contents, func(r *responder) {
			r.stuff = stuffLF
			for i := range r.messages {
				r.messages[i].size = lie
			}
		})
		a := r.account(10 * time.Second)
		l := list(t, a)
		uids := l.uids(t, "one", "two")
		for range 3 {
			got, err := bodies(t, a, remote.Foreground, uids...)
			if err != nil || got[uids[0]] != contents[0] || got[uids[1]] != contents[1] {
				t.Errorf("LIST says %d: %.100q, %v", lie, got[uids[0]], err)
			}
		}
		if n := len(r.asked()); n > 6+enoughUnlike+mostAskedFor {
			t.Errorf("%d commands for 6 times a message, when RETR alone tells how long they are", n)
		}
		if n := len(r.said("AUTH")); n > 2 {
			t.Errorf("signed in %d times", n)
		}
	}
}

func TestATOPThatGivesTooLittleIsReplacedByRETR(t *testing.T) {
	r := startServer(t, letters(40), func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if strings.HasPrefix(line, "TOP") {
				return &misdeed{raw: "+OK\r\nSubject: letter " + strings.Fields(line)[1] + "\r\n\r\n.\r\n"}
			}
			return nil
		}
	})
	a := r.account(10 * time.Second)
	l := list(t, a)
	var all []remote.UID
	for u := range l.messages {
		all = append(all, u)
	}
	got, err := bodies(t, a, remote.Readahead, all...)
	if err != nil || len(got) != 40 {
		t.Fatalf("%d bodies, %v", len(got), err)
	}
	for u, b := range got {
		if int64(len(b)) != l.messages[u].Size {
			t.Errorf("%q instead of %d bytes", b, l.messages[u].Size)
		}
	}
	asked := len(r.asked())
	if _, err := bodies(t, a, remote.Readahead, all...); err != nil || len(r.asked()) != asked+40 {
		t.Errorf("%d commands for 40 messages when TOP is known to give too little, %v", len(r.asked())-asked, err)
	}
}

// otherTOP is a server whose TOP of all lines gives what give makes of a message.
func otherTOP(r *responder, give func(content string) string) {
	r.misbehave = func(_ int, line string) *misdeed {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != "TOP" || f[2] == "0" {
			return nil
		}
		n, _ := strconv.Atoi(f[1])
		return &misdeed{raw: "+OK\r\n" + string(stuffCRLF([]byte(give(string(r.messages[n-1].content)))))}
	}
}

func TestTheLineThatTOPAddsIsTakenOut(t *testing.T) {
	contents := letters(40)
	contents[7] = "Subject: no end\r\n\r\nabc"
	r := startServer(t, contents, func(r *responder) {
		otherTOP(r, func(content string) string {
			if !strings.HasSuffix(content, "\r\n") {
				content += "\r\n"
			}
			return strings.Replace(content, "\r\n\r\n", "\r\n\r\n\r\n", 1)
		})
	})
	a := r.account(10 * time.Second)
	list(t, a)
	for n, m := range r.messages {
		uid, _ := remote.KeyOfUIDL(m.uidl)
		if got, err := bodies(t, a, remote.Foreground, uid); err != nil || got[uid] != contents[n] {
			t.Errorf("message %d is %q (%v), want %q", n, got[uid], err, contents[n])
		}
	}
	if n := len(r.said("RETR")); n > 3 {
		t.Errorf("RETR %d times, when TOP gives all and a line too much", n)
	}
}

func TestAMessageThatTOPCutsIsReadByRETR(t *testing.T) {
	contents := letters(60)
	r := startServer(t, contents, func(r *responder) {
		r.messages[0].size, r.messages[1].size = len(contents[0])-7, len(contents[1])+7
		otherTOP(r, func(content string) string {
			if strings.HasPrefix(content, "Subject: letter 3") {
				return content[:len(content)-5]
			}
			return content
		})
	})
	a := r.account(10 * time.Second)
	list(t, a)
	for n, m := range r.messages {
		uid, _ := remote.KeyOfUIDL(m.uidl)
		if got, err := bodies(t, a, remote.Foreground, uid); err != nil || got[uid] != contents[n] {
			t.Errorf("message %d is %d bytes (%v), want %d", n, len(got[uid]), err, len(contents[n]))
		}
	}
}

func TestAMessageWithoutALastCRLFIsReadWithoutOne(t *testing.T) {
	contents := []string{
		"Subject: no end\r\n\r\nabc",
		"Subject: bare LF\r\n\r\n" + strings.Repeat("abc\n", 3),
		"",
		"Subject: an end\r\n\r\n" + strings.Repeat("0123456789\r\n", 60),
		"Subject: another\r\n\r\n" + strings.Repeat("0123456789\r\n", 70),
	}
	for lie := range 4 { // bytes that LIST is short of
		r := startServer(t, contents, func(r *responder) {
			for i, c := range contents {
				r.messages[i].size = len(c) - lie
			}
			r.messages[2].size = 0
		})
		a := r.account(10 * time.Second)
		l := list(t, a)
		for _, m := range []int{0, 1, 2, 0, 3, 4} {
			uid, _ := remote.KeyOfUIDL(r.messages[m].uidl)
			want := contents[m]
			if lie > 0 && !strings.HasSuffix(want, "\r\n") {
				want += "\r\n" // nothing tells that it is not the message's
			}
			got, err := bodies(t, a, remote.Foreground, uid)
			if err != nil || got[uid] != want {
				t.Errorf("LIST %d short, message %d: %q (%v), want %q", lie, m, got[uid], err, want)
			}
			if size := l.messages[uid].Size; lie == 0 && size != int64(len(want)) {
				t.Errorf("message %d is listed with %d bytes", m, size)
			}
		}
	}
}
