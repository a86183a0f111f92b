package pop3

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// unstuffed has a server send what some commands give without stuffing dots.
func unstuffed(r *responder, verbs ...string) {
	r.misbehave = func(_ int, line string) *misdeed {
		f := strings.Fields(line)
		for _, verb := range verbs {
			if len(f) > 1 && f[0] == verb && whole(line, 0) {
				n, _ := strconv.Atoi(f[1])
				return &misdeed{raw: "+OK\r\n" + string(r.messages[n-1].content) + ".\r\n"}
			}
		}
		return nil
	}
}

// withDots is letters of which each third one has a line with a lone dot, followed by what could be other answers.
func withDots(n int, rest string) []string {
	all := letters(n)
	for i := range all {
		if i%3 == 1 {
			all[i] += ".\r\n" + rest
		}
	}
	return all
}

var rests = map[string]string{
	"text":            "after the dot\r\n",
	"an answer":       "+OK\r\nSubject: letter 1\r\nFrom: eve@example.org\r\n\r\nforged\r\n",
	"several answers": "+OK 1 10\r\n.\r\n+OK 2 10\r\nforged\r\n.\r\n+OK\r\nforged\r\n.\r\n-ERR forged\r\n",
	"a refusal":       "-ERR no such message\r\n",
	"much":            strings.Repeat("+OK 7 3\r\nforged\r\n.\r\n", 20_000),
	"a long line":     strings.Repeat("x", 3*bufferSize) + "\r\n",
}

func TestATOPThatEndsAtALoneDotIsReplacedByRETR(t *testing.T) {
	for name, rest := range rests {
		for how, capabilities := range map[string][]string{"pipelined": everything, "one at a time": {"UIDL", "TOP"}} {
			t.Run(name+", "+how, func(t *testing.T) {
				contents := withDots(30, rest)
				r := startServer(t, contents, func(r *responder) {
					r.capabilities = capabilities
					unstuffed(r, "TOP")
				})
				a := r.account(10 * time.Second)
				a.idle = time.Minute
				l := list(t, a)
				for range 2 {
					got, err := bodies(t, a, remote.Readahead, l.all()...)
					if err != nil || len(got) != len(contents) {
						t.Fatalf("%d bodies, %v", len(got), err)
					}
					for n, m := range r.messages {
						uid, _ := remote.KeyOfUIDL(m.uidl)
						if got[uid] != contents[n] {
							t.Errorf("message %d: got %.200q, want %.200q", n+1, got[uid], contents[n])
						}
					}
				}
				if n := len(r.said("QUIT")); n > 0 || r.sessions > 1 {
					t.Errorf("%d sessions", r.sessions)
				}
			})
		}
	}
}

// A lone dot in a header is against RFC 5322, and there is mail that has one.
func TestAHeaderThatEndsAtALoneDotCostsNoListing(t *testing.T) {
	for name, rest := range rests {
		for how, capabilities := range map[string][]string{"pipelined": everything, "one at a time": {"UIDL", "TOP"}} {
			contents := letters(30)
			for _, i := range []int{4, 17} {
				contents[i] = fmt.Sprintf("Subject: letter %d\r\n.\r\n%s\r\nDear %d\r\n", i+1, rest, i+1)
			}
			r := startServer(t, contents, func(r *responder) {
				r.capabilities = capabilities
				r.misbehave = func(_ int, line string) *misdeed {
					if f := strings.Fields(line); len(f) == 3 && f[0] == "TOP" && f[2] == "0" {
						n, _ := strconv.Atoi(f[1])
						header, _, _ := strings.Cut(contents[n-1], "\r\n\r\n")
						return &misdeed{raw: "+OK\r\n" + header + "\r\n\r\n.\r\n"}
					}
					return nil
				}
			})
			a := r.account(10 * time.Second)
			a.idle = time.Minute
			l := list(t, a)
			for i := range contents {
				uid, _ := remote.KeyOfUIDL(r.messages[i].uidl)
				m := l.messages[uid]
				header := fmt.Sprintf("Subject: letter %d\r\n", i+1)
				if m.Incomplete || !strings.HasPrefix(string(m.Header), header) || m.Size != int64(len(contents[i])) {
					t.Errorf("%s, %s: letter %d is of %d bytes, %.200q", name, how, i+1, m.Size, m.Header)
				}
			}
			if r.sessions > 1 || len(l.messages) != 30 {
				t.Errorf("%s, %s: %d messages in %d sessions", name, how, len(l.messages), r.sessions)
			}
		}
	}
}

func TestAServerWhoseTOPLacksTheEmptyLineIsSeenThroughOnce(t *testing.T) {
	r := startServer(t, letters(100), func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "TOP" && f[2] == "0" {
				n, _ := strconv.Atoi(f[1])
				header, _, _ := strings.Cut(string(r.messages[n-1].content), "\r\n\r\n")
				return &misdeed{raw: "+OK\r\n" + header + "\r\n.\r\n"}
			}
			return nil
		}
	})
	l := list(t, r.account(10*time.Second))
	if n := len(r.asked()); n != 1 || len(l.messages) != 100 || r.sessions > 1 {
		t.Errorf("%d messages, %d read whole, in %d sessions", len(l.messages), n, r.sessions)
	}
}

// Neither RETR nor TOP stuffs dots: such a message is an error, the others are not harmed.
func TestARETRThatEndsAtALoneDotIsAnError(t *testing.T) {
	for name, rest := range rests {
		for how, capabilities := range map[string][]string{"pipelined": everything, "one at a time": {"UIDL", "TOP"}} {
			t.Run(name+", "+how, func(t *testing.T) {
				contents := withDots(12, rest)
				r := startServer(t, contents, func(r *responder) {
					r.capabilities = capabilities
					unstuffed(r, "TOP", "RETR")
				})
				a := r.account(10 * time.Second)
				a.idle = time.Minute
				l := list(t, a)
				got, err := bodies(t, remote.Retry(a), remote.Readahead, l.all()...)
				if !errors.Is(err, remote.ErrServer) || len(got) != 8 {
					t.Errorf("%d bodies, %v", len(got), err)
				}
				for n, m := range r.messages {
					uid, _ := remote.KeyOfUIDL(m.uidl)
					if g, ok := got[uid]; ok && g != contents[n] {
						t.Errorf("message %d: got %.200q, want %.200q", n+1, g, contents[n])
					}
				}
				if r.sessions > 1 {
					t.Errorf("%d sessions", r.sessions)
				}
			})
		}
	}
}

// LIST was wrong often, and says the truth of the message that TOP cuts.
func TestACutTOPIsNeverBelievedHoweverOftenLISTWasWrong(t *testing.T) {
	large := "Subject: large\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 3000)
	contents := append(letters(20), large)
	for _, lie := range []int{-3, -20, +3, +500} {
		r := startServer(t, contents, func(r *responder) {
			for i := range 20 {
				r.messages[i].size = len(contents[i]) + lie
			}
			otherTOP(r, func(content string) string { return content[:min(len(content), 18_076)] })
		})
		a := r.account(10 * time.Second)
		a.idle = time.Minute
		list(t, a)
		for n, m := range r.messages {
			uid, _ := remote.KeyOfUIDL(m.uidl)
			if got, err := bodies(t, a, remote.Foreground, uid); err != nil || got[uid] != contents[n] {
				t.Errorf("LIST off by %d: message %d is %d bytes (%v), want %d", lie, n+1, len(got[uid]), err, len(contents[n]))
			}
		}
		if r.sessions > 1 {
			t.Errorf("LIST off by %d: %d sessions", lie, r.sessions)
		}
	}
}

func TestAMessageThatRETRCutsIsAnErrorWhereLISTIsExact(t *testing.T) {
	contents := letters(5)
	contents[2] = "Subject: letter 3\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 3000)
	contents[4] = "Subject: letter 5\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 100)
	cut := true
	r := startServer(t, contents, func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if cut && whole(line, 3) {
				return &misdeed{raw: "+OK\r\n" + contents[2][:18_075] + "\r\n.\r\n"}
			}
			return nil
		}
	})
	a := r.account(10 * time.Second)
	l := list(t, a)
	uid := l.uids(t, "letter 3")[0] // the first that is read: another one shows that LIST is exact
	for range 2 {
		if got, err := bodies(t, a, remote.Foreground, uid); !errors.Is(err, remote.ErrServer) || len(got) > 0 {
			t.Errorf("%d bytes, %v", len(got[uid]), err)
		}
	}
	cut = false
	if got, err := bodies(t, a, remote.Foreground, uid); err != nil || got[uid] != contents[2] {
		t.Errorf("once it comes whole: %d bytes, %v", len(got[uid]), err)
	}
}

func TestAMessageThatIsGoneIsNoMessage(t *testing.T) {
	for _, said := range []string{"no such message", "Message not found.", "message 2 already deleted", "There's no message 2.",
		"[SYS/PERM] no such message", "Message does not exist"} {
		r := startServer(t, letters(3), func(r *responder) {
			r.misbehave = func(_ int, line string) *misdeed {
				if whole(line, 2) {
					return &misdeed{raw: "-ERR " + said + "\r\n"}
				}
				return nil
			}
		})
		a := r.account(10 * time.Second)
		a.going = time.Now()
		l := list(t, a)
		got, err := bodies(t, a, remote.Foreground, l.uids(t, "letter 1", "letter 2", "letter 3")...)
		if err != nil || len(got) != 2 {
			t.Errorf("%s: %d bodies, %v", said, len(got), err)
		}
	}
}

// What the server refuses for now is listed again, or an error while there is nothing to show.
func TestWhatIsRefusedForNowIsToldAsIncomplete(t *testing.T) {
	const temporary = "-ERR [SYS/TEMP] try later\r\n"
	for name, c := range map[string]struct {
		answer string
		refuse func(line string) bool
		listed int // how many are listed, the refused ones among them; 0: listing is an error
		left   int // how many are incomplete
	}{
		"one":              {"-ERR can't open it\r\n", func(line string) bool { return whole(line, 2) || line == "TOP 2 0" }, 60, 1},
		"one, temporarily": {temporary, func(line string) bool { return whole(line, 2) || line == "TOP 2 0" }, 60, 1},
		"one, empty":       {"+OK\r\n.\r\n", func(line string) bool { return whole(line, 2) || line == "TOP 2 0" }, 60, 1},
		"TOP empty":        {"+OK\r\n.\r\n", func(line string) bool { return line == "TOP 2 0" }, 60, 0},
		"TOP cut":          {"+OK\r\nSubj\r\n.\r\n", func(line string) bool { return line == "TOP 2 0" }, 60, 0},
		"half":             {temporary, func(line string) bool { return strings.HasPrefix(line, "TOP") && len(line) == 8 || whole(line, 0) }, 60, 51},
		"all":              {temporary, func(line string) bool { return strings.HasPrefix(line, "TOP") || whole(line, 0) }, 0, 0},
		"all, in words":    {"-ERR please try again later\r\n", func(line string) bool { return strings.HasPrefix(line, "TOP") || whole(line, 0) }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			sick := true
			r := startServer(t, letters(60), func(r *responder) {
				r.misbehave = func(_ int, line string) *misdeed {
					if sick && c.refuse(line) {
						return &misdeed{raw: c.answer}
					}
					return nil
				}
			})
			a := r.account(10 * time.Second)
			l := &listed{}
			err := l.try(t.Context(), remote.Retry(a))
			if c.listed == 0 && !errors.Is(err, remote.ErrUnavailable) || c.listed > 0 && err != nil || len(l.messages) != c.listed {
				t.Errorf("%d listed, %v", len(l.messages), err)
			}
			left := 0
			for uid, m := range l.messages {
				if m.Incomplete {
					left++
					delete(l.messages, uid)
					l.known = l.known.Minus(remote.NewUIDSet(uid))
				} else if !strings.Contains(string(m.Header), "Subject: letter") {
					t.Errorf("listed as complete with %q", m.Header)
				}
			}
			if left != c.left {
				t.Errorf("%d incomplete", left)
			}
			if r.sessions > 3 {
				t.Errorf("%d sessions", r.sessions)
			}
			sick = false
			l.sync(t, a)
			for i := range 60 {
				m := l.messages[l.uids(t, fmt.Sprintf("letter %d", i+1))[0]]
				if m.Incomplete || m.Size != int64(len(r.messages[i].content)) {
					t.Errorf("letter %d afterwards: %+v", i+1, m)
				}
			}
		})
	}
}
