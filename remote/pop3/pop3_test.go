package pop3

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

func TestListAndRead(t *testing.T) {
	contents := []string{
		"Subject: plain\r\nFrom: a@example.org\r\n\r\nHello\r\n",
		"Subject: dots\r\n\r\n.\r\n..\r\n.hidden\r\n...\r\nend.\r\n",
		"Subject: bare LF\r\n\r\none\ntwo\n.\n..\nthree\r\n",
		"Subject: LF at the end\r\n\r\none\n\r\n",
		"Subject: bytes\r\n\r\n\x00\x01\x10\x10n\xff\xfe\r\n",
		"Subject: long line\r\n\r\n" + strings.Repeat("0123456789", 300_000) + "\r\n",
		"Subject: header only\r\n\r\n",
		"Subject: CRLF missing\r\n\r\nno end",
	}
	for name, stuff := range map[string]func([]byte) []byte{"CRLF": stuffCRLF, "LF": stuffLF} {
		t.Run(name, func(t *testing.T) {
			r := startServer(t, contents, func(r *responder) { r.stuff = stuff })
			a := r.account(10 * time.Second)
			boxes, err := a.Mailboxes(t.Context())
			if err != nil || len(boxes) != 1 || boxes[0].Name != "INBOX" || !boxes[0].Selectable {
				t.Fatalf("mailboxes %v, %v", boxes, err)
			}
			l := list(t, a)
			if l.version != (remote.Version{UIDValidity: 1, Messages: uint32(len(contents))}) {
				t.Errorf("version %+v", l.version)
			}
			for _, c := range contents {
				subject, _, _ := strings.Cut(c, "\r\n")
				uid := l.uids(t, subject)[0]
				if m := l.messages[uid]; m.Size != int64(len(c)) || !slices.Contains(remote.UIDOfKey(m.Key), uid) {
					t.Errorf("%s: listed with %d bytes as %q", subject, m.Size, m.Key)
				}
				got, err := bodies(t, a, remote.Foreground, uid)
				if err != nil {
					t.Fatalf("%s: %v", subject, err)
				}
				if got[uid] != c {
					t.Errorf("got %.200q, want %.200q", got[uid], c)
				}
				h, err := a.Header(t.Context(), remote.Place{Mailbox: "INBOX", UIDValidity: 1}, uid)
				if err != nil || !strings.HasPrefix(string(h), subject+"\r\n") || strings.Contains(string(h), "Hello") {
					t.Errorf("header %.100q, %v", h, err)
				}
			}
			if n := a.Stats().Bodies; n != int64(len(contents)) {
				t.Errorf("%d bodies counted", n)
			}
			for _, changes := range []string{"DELE", "RSET", "RETR"} {
				if len(r.said(changes)) > 0 {
					t.Errorf("%s was sent, which can change something on the server", changes)
				}
			}
		})
	}
}

func TestOneSessionForMuchWork(t *testing.T) {
	r := startServer(t, letters(200), nil)
	a := r.account(10 * time.Second)
	a.idle = time.Minute
	if err := a.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := list(t, a)
	var wg sync.WaitGroup
	for u := range l.messages {
		wg.Go(func() {
			if got, err := bodies(t, a, remote.Foreground, u); err != nil || len(got) != 1 {
				t.Errorf("%d bodies, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if n := len(r.said("AUTH")); n != 1 {
		t.Errorf("signed in %d times", n)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(r.said("QUIT")); n != 1 {
		t.Errorf("%d times QUIT", n)
	}
}

func TestSessionEndsWhenThereIsNoWork(t *testing.T) {
	r := startServer(t, letters(3), nil)
	a := r.account(10 * time.Second)
	list(t, a)
	eventually(t, "session ends", func() bool { return a.Stats().Connections == 0 })
	if n := len(r.said("QUIT")); n != 1 {
		t.Errorf("%d times QUIT", n)
	}
}

func TestSyncTellsWhatChanged(t *testing.T) {
	r := startServer(t, letters(1200), nil)
	a := r.account(10 * time.Second)
	a.idle = time.Minute
	l := list(t, a)
	if len(l.messages) != 1200 {
		t.Fatalf("%d messages", len(l.messages))
	}
	gone := l.uids(t, "letter 3")[0]
	tops := len(r.said("TOP"))
	r.mu.Lock()
	r.messages = slices.Delete(r.messages, 2, 3)
	r.mu.Unlock()
	r.add("Subject: new\r\n\r\nNew\r\n")
	l.sync(t, a) // at once: the session that is still there can't show it
	if _, still := l.messages[gone]; still || len(l.messages) != 1200 || l.emitted != 1 {
		t.Errorf("%d messages, %d emitted, the deleted one there: %v", len(l.messages), l.emitted, still)
	}
	l.uids(t, "new")
	if n := len(r.said("TOP")) - tops; n != 1 {
		t.Errorf("%d headers fetched for one new message", n)
	}
	l.sync(t, a)
	if l.emitted != 0 || l.present != 0 {
		t.Errorf("%d messages and %d sets emitted when nothing changed", l.emitted, l.present)
	}
	if got, err := bodies(t, a, remote.Foreground, gone); err != nil || len(got) != 0 {
		t.Errorf("a deleted message: %v, %v", got, err)
	}
	if _, err := a.Header(t.Context(), remote.Place{Mailbox: "INBOX", UIDValidity: 1}, gone); !errors.Is(err, remote.ErrNoMessage) {
		t.Errorf("header of a deleted message: %v", err)
	}
}

func TestKeysAreTheUIDL(t *testing.T) {
	r := startServer(t, append(letters(3), letters(3)[2]), nil)
	r.messages[0].uidl = "short.and-plain"
	r.messages[1].uidl = "has/slash_and more"
	r.messages[2].uidl = "twin"
	r.messages[3].uidl = "twin"
	l := list(t, r.account(10*time.Second))
	twin, twinKey := remote.KeyOfUIDL("twin\x002")
	_, slash := remote.KeyOfUIDL("has/slash_and more")
	for text, want := range map[string]string{
		"letter 1": "short.and-plain", "letter 2": slash,
	} {
		if m := l.messages[l.uids(t, text)[0]]; m.Key != want {
			t.Errorf("%s: key %q, want %q", text, m.Key, want)
		}
	}
	first, _ := remote.KeyOfUIDL("twin")
	if len(l.messages) != 4 || l.messages[first].Key != "twin" || l.messages[twin].Key != twinKey {
		t.Errorf("two copies with the same UIDL: %+v", l.messages)
	}
	bodyOf, err := bodies(t, r.account(10*time.Second), remote.Foreground, first, twin)
	if err != nil || !strings.Contains(bodyOf[first], "Dear 3") || bodyOf[first] != bodyOf[twin] {
		t.Errorf("two copies: %v, %v", bodyOf, err)
	}
}

// Messages that share a unique-id keep what they are called, and go on being themselves, when one of them goes.
func TestSharedUIDL(t *testing.T) {
	contents := append(letters(6), letters(1)...)
	r := startServer(t, contents, func(r *responder) {
		for _, n := range []int{1, 2, 4} {
			r.messages[n].uidl = "shared"
		}
		r.messages[0].uidl, r.messages[6].uidl = "copy", "copy"
	})
	a := r.account(10 * time.Second)
	read := func() map[remote.UID]string {
		t.Helper()
		var all []remote.UID
		for uid := range list(t, a).messages {
			all = append(all, uid)
		}
		got, err := bodies(t, a, remote.Foreground, all...)
		if err != nil || len(got) != len(r.messages) {
			t.Fatalf("%d bodies of %d, %v", len(got), len(r.messages), err)
		}
		return got
	}
	before := read()
	for len(r.messages) > 4 {
		r.mu.Lock()
		r.messages = slices.Delete(slices.Clone(r.messages), 1, 2)
		r.mu.Unlock()
		for uid, content := range read() {
			if before[uid] != content {
				t.Errorf("what was %q is %q now", before[uid], content)
			}
		}
	}
}

func TestBrokenLists(t *testing.T) {
	for name, lists := range map[string]map[string]string{
		"short LIST line":      {"LIST": "+OK\r\n1 52\r\n2\r\n3 52\r\n.\r\n"},
		"malformed UIDL lines": {"UIDL": "+OK\r\n1 a\r\n\r\nx y\r\n2\r\n3 c\r\n.\r\n"},
		"LIST ends early":      {"LIST": "+OK\r\n1 52\r\n.\r\n"},
		"both end early":       {"LIST": "+OK\r\n1 52\r\n.\r\n", "UIDL": "+OK\r\n1 a\r\n.\r\n"},
		"no sizes at all":      {"LIST": "+OK\r\n.\r\n", "LIST 1": "-ERR\r\n", "LIST 2": "+OK\r\n", "LIST 3": "+OK 1 52\r\n"},
		"STAT says more":       {"STAT": "+OK 5 500\r\n"},
		"STAT says less":       {"STAT": "+OK 1 52\r\n"},
		"one without UIDL":     {"UIDL": "+OK\r\n1 a\r\n3 c\r\n.\r\n", "UIDL 2": "-ERR\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := startServer(t, letters(3), func(r *responder) {
				r.misbehave = func(_ int, line string) *misdeed {
					if answer, ok := lists[line]; ok {
						return &misdeed{raw: answer}
					}
					return nil
				}
			})
			a := r.account(10 * time.Second)
			l := list(t, a)
			if len(l.messages) != 3 {
				t.Fatalf("%d messages", len(l.messages))
			}
			uids := l.uids(t, "letter 1", "letter 2", "letter 3")
			got, err := bodies(t, a, remote.Readahead, uids...)
			if err != nil {
				t.Fatal(err)
			}
			for i, u := range uids {
				if got[u] != string(r.messages[i].content) || l.messages[u].Size != int64(len(got[u])) {
					t.Errorf("message %d: %q, listed with %d bytes", i+1, got[u], l.messages[u].Size)
				}
			}
			again := list(t, r.account(10*time.Second))
			if again.known.Minus(l.known).Len() != 0 {
				t.Error("UIDs differ in the next session")
			}
		})
	}
}

func TestServersThatCanDoLittle(t *testing.T) {
	refuse := func(verbs ...string) func(*responder) {
		return func(r *responder) {
			r.capabilities = nil
			r.misbehave = func(_ int, line string) *misdeed {
				verb, _, _ := strings.Cut(line, " ")
				if slices.Contains(verbs, verb) {
					return &misdeed{raw: "-ERR what?\r\n"}
				}
				return nil
			}
		}
	}
	for name, change := range map[string]func(*responder){
		"no CAPA":       refuse(),
		"no UIDL":       refuse("UIDL"),
		"no TOP":        refuse("TOP"),
		"only RFC 1225": refuse("UIDL", "TOP", "CAPA"),
	} {
		t.Run(name, func(t *testing.T) {
			r := startServer(t, letters(40), change)
			a := r.account(10 * time.Second)
			l := list(t, a)
			if len(l.messages) != 40 {
				t.Fatalf("%d messages", len(l.messages))
			}
			for _, m := range l.messages {
				if strings.Contains(string(m.Header), "Dear") {
					t.Fatalf("header goes on into the body: %q", m.Header)
				}
			}
			if tops := len(r.said("TOP")); name == "no TOP" && tops > 1 {
				t.Errorf("TOP was tried %d times", tops)
			}
			r.mu.Lock()
			r.messages = slices.Delete(r.messages, 0, 1) // other numbers
			r.mu.Unlock()
			l.sync(t, a)
			if l.emitted != 0 || len(l.messages) != 39 {
				t.Errorf("%d messages, %d of them taken for new", len(l.messages), l.emitted)
			}
			uid := l.uids(t, "letter 17")[0]
			got, err := bodies(t, a, remote.Foreground, uid)
			if err != nil || !strings.HasSuffix(got[uid], "Dear 17\r\n") {
				t.Errorf("got %q, %v", got[uid], err)
			}
		})
	}
}

func TestUIDLRefusedAfterwardsIsNoOtherIdentity(t *testing.T) {
	r := startServer(t, letters(2), func(r *responder) {
		r.capabilities = nil
		r.misbehave = func(session int, line string) *misdeed {
			if session == 2 && line == "UIDL" {
				return &misdeed{raw: "-ERR not now\r\n"}
			}
			return nil
		}
	})
	a := r.account(10 * time.Second)
	l := list(t, a)
	if err := l.try(t.Context(), a); !errors.Is(err, remote.ErrServer) {
		t.Fatalf("got %v", err)
	}
	if l.sync(t, a); l.emitted != 0 {
		t.Errorf("%d messages have another UID", l.emitted)
	}
}

func TestRefusedMessage(t *testing.T) {
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

func TestLyingSizes(t *testing.T) {
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
		if n := len(r.said("RETR")); n > enoughShorter {
			t.Errorf("RETR %d times, when it gave what TOP gave", n)
		}
	}
}

func TestTOPThatGivesTooLittle(t *testing.T) {
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

func TestTOPThatAddsALine(t *testing.T) {
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

func TestTOPThatCutsSome(t *testing.T) {
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

func TestMessagesWithoutLastCRLF(t *testing.T) {
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

func TestLostConnection(t *testing.T) {
	for name, capabilities := range map[string][]string{"pipelined": everything, "one at a time": nil} {
		t.Run(name, func(t *testing.T) {
			var cut sync.Once
			r := startServer(t, letters(100), func(r *responder) {
				r.capabilities = capabilities
				r.misbehave = func(_ int, line string) (m *misdeed) {
					if whole(line, 40) {
						cut.Do(func() { m = &misdeed{raw: "+OK\r\nSubject: letter 4", close: true} })
					}
					return m
				}
			})
			a := r.account(10 * time.Second)
			l := list(t, a)
			var all []remote.UID
			for u := range l.messages {
				all = append(all, u)
			}
			got, err := bodies(t, remote.Retry(a), remote.Readahead, all...)
			if err != nil || len(got) != 100 {
				t.Fatalf("%d bodies, %v", len(got), err)
			}
			for u, b := range got {
				if !strings.Contains(b, strings.TrimRight(string(l.messages[u].Header), "\r\n")) {
					t.Errorf("%q is not the message of %q", b, l.messages[u].Header)
				}
			}
			if a.knowledge.serial {
				t.Error("one lost connection is taken for a server that can't pipeline")
			}
		})
	}
}

func TestLostConnectionIsSaid(t *testing.T) {
	r := startServer(t, letters(3), func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if whole(line, 2) {
				return &misdeed{raw: "+OK\r\nhalf", close: true}
			}
			return nil
		}
	})
	a := r.account(10 * time.Second)
	l := list(t, a)
	uids := l.uids(t, "letter 1", "letter 2", "letter 3")
	got, err := bodies(t, a, remote.Foreground, uids...)
	if !errors.Is(err, remote.ErrLost) || len(got) != 2 {
		t.Errorf("%d bodies, %v", len(got), err)
	}
	if got, err = bodies(t, remote.Retry(a), remote.Foreground, uids...); len(got) != 2 || err == nil {
		t.Errorf("a message that ends every connection: %d others, %v", len(got), err)
	}
}

func TestServersThatCannotPipeline(t *testing.T) {
	for name, m := range map[string]misdeed{
		"closes":           {close: true},
		"answers nonsense": {raw: "500 slow down\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := startServer(t, letters(100), func(r *responder) { r.intolerant = m })
			a := remote.Retry(r.account(10 * time.Second))
			l := list(t, a)
			if len(l.messages) != 100 {
				t.Fatalf("%d messages", len(l.messages))
			}
			got, err := bodies(t, a, remote.Readahead, l.uids(t, "letter 1", "letter 50", "letter 100")...)
			if err != nil || len(got) != 3 {
				t.Errorf("%d bodies, %v", len(got), err)
			}
		})
	}
	t.Run("throws away", func(t *testing.T) {
		r := startServer(t, letters(10), func(r *responder) { r.intolerant = misdeed{raw: "+OK 10 1000\r\n", drop: true} })
		a := r.account(2 * time.Second)
		if err := new(listed).try(t.Context(), a); !errors.Is(err, remote.ErrTimeout) {
			t.Fatalf("first: %v", err)
		}
		if l := list(t, a); len(l.messages) != 10 {
			t.Errorf("then: %d messages", len(l.messages))
		}
	})
}

func TestStalledServer(t *testing.T) {
	const timeout = 300 * time.Millisecond
	for name, where := range map[string]string{
		"greeting": "", "sign-in": "AUTH PLAIN", "listing": "UIDL", "message": "TOP 2 99999999",
	} {
		t.Run(name, func(t *testing.T) {
			r := startServer(t, letters(3), func(r *responder) {
				r.misbehave = func(_ int, line string) *misdeed {
					if line == where {
						return &misdeed{raw: "", stall: true}
					}
					return nil
				}
			})
			a := r.account(timeout)
			begin := time.Now()
			l := &listed{}
			err := l.try(t.Context(), a)
			if where == "TOP 2 99999999" {
				if err != nil {
					t.Fatal(err)
				}
				begin = time.Now()
				_, err = bodies(t, a, remote.Foreground, l.uids(t, "letter 2", "letter 3")...)
			}
			if !errors.Is(err, remote.ErrTimeout) {
				t.Errorf("%v", err)
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("after %v", took)
			}
		})
	}
}

func TestCancelledReaderLetsOthersGoOn(t *testing.T) {
	release := make(chan struct{})
	r := startServer(t, letters(3), func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if whole(line, 2) {
				return &misdeed{until: release}
			}
			return nil
		}
	})
	a := r.account(time.Minute)
	l := list(t, a)
	uids := l.uids(t, "letter 2", "letter 3")
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error)
	go func() {
		waiting <- a.Bodies(ctx, remote.Place{Mailbox: "INBOX", UIDValidity: 1}, uids[:1], func(remote.UID, []byte) {
			t.Error("a message came for who has gone")
		})
	}()
	eventually(t, "message 2 is asked for", func() bool { return len(r.asked()) > 0 })
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(release)
	got, err := bodies(t, a, remote.Foreground, uids[1])
	if err != nil || len(got) != 1 {
		t.Errorf("the next reader: %v, %v", got, err)
	}
	if n := len(r.said("AUTH")); n > 2 {
		t.Errorf("signed in %d times", n)
	}
}

func TestRequestsGoOutWhileAnAnswerIsAwaited(t *testing.T) {
	certificate := httptest.NewTLSServer(nil)
	certificate.Close() // only its certificate is wanted
	letter := letters(2)
	for name, change := range map[string]func(*responder){
		"in the clear": func(*responder) {},
		"over TLS":     func(r *responder) { r.certificate = certificate },
	} {
		t.Run(name, func(t *testing.T) {
			r := startServer(t, letter, func(r *responder) {
				change(r)
				r.misbehave = func(_ int, line string) *misdeed {
					switch {
					case whole(line, 1):
						return &misdeed{raw: "+OK\r\n" + letter[0][:10]}
					case whole(line, 2):
						return &misdeed{raw: letter[0][10:] + ".\r\n+OK\r\n" + letter[1] + ".\r\n"}
					}
					return nil
				}
			})
			a := r.account(10 * time.Second)
			l := list(t, a)
			uids := l.uids(t, "letter 1", "letter 2")
			first := make(chan error)
			go func() {
				got, err := bodies(t, a, remote.Readahead, uids[0])
				if err == nil && got[uids[0]] != letter[0] {
					err = fmt.Errorf("got %q", got[uids[0]])
				}
				first <- err
			}()
			eventually(t, "the session waits for message 1", func() bool {
				a.mu.Lock()
				c := a.serving
				a.mu.Unlock()
				if c == nil || len(r.asked()) == 0 {
					return false
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.waiting
			})
			got, err := bodies(t, a, remote.Foreground, uids[1])
			if err != nil || got[uids[1]] != letter[1] {
				t.Errorf("the second: %q, %v", got[uids[1]], err)
			}
			if err := <-first; err != nil {
				t.Errorf("the first: %v", err)
			}
		})
	}
}

func TestTheNextIsAskedForBeforeALargeOneHasCome(t *testing.T) {
	large := "Subject: large\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 4<<20/18)
	small := letters(1)[0]
	half := len(large) - enough/2
	r := startServer(t, []string{large, small}, func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			switch {
			case whole(line, 1):
				return &misdeed{raw: "+OK\r\n" + large[:half]}
			case whole(line, 2):
				return &misdeed{raw: large[half:] + ".\r\n+OK\r\n" + small + ".\r\n"}
			}
			return nil
		}
	})
	a := r.account(10 * time.Second)
	l := list(t, a)
	uids := l.uids(t, "large", "letter 1")
	got, err := bodies(t, a, remote.Readahead, uids...)
	if err != nil || got[uids[0]] != large || got[uids[1]] != small {
		t.Errorf("%d bodies, %v", len(got), err)
	}
}

// Requests that keep coming do not make a dead server live.
func TestStalledServerAmidNewRequests(t *testing.T) {
	const timeout = 300 * time.Millisecond
	r := startServer(t, letters(200), func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if whole(line, 0) {
				return &misdeed{stall: true}
			}
			return nil
		}
	})
	a := r.account(timeout)
	l := list(t, a)
	begin := time.Now()
	ended := make(chan error, len(l.messages))
	var first error
	for u := range l.messages {
		go func() {
			ended <- a.Bodies(t.Context(), remote.Place{Mailbox: "INBOX", UIDValidity: 1, Priority: remote.Readahead}, []remote.UID{u}, func(remote.UID, []byte) {})
		}()
		select {
		case first = <-ended:
		case <-time.After(timeout / 10):
			continue
		}
		break
	}
	if !errors.Is(first, remote.ErrTimeout) {
		t.Errorf("after %v, while requests kept coming: %v", time.Since(begin), first)
	}
}

func TestReadersComeFirst(t *testing.T) {
	release := make(chan struct{})
	r := startServer(t, letters(60), func(r *responder) {
		r.capabilities = []string{"UIDL", "TOP"} // one at a time
		r.misbehave = func(_ int, line string) *misdeed {
			if whole(line, 1) {
				return &misdeed{until: release}
			}
			return nil
		}
	})
	a := r.account(time.Minute)
	l := list(t, a)
	var wg sync.WaitGroup
	ask := func(prio remote.Priority, texts ...string) {
		uids := l.uids(t, texts...)
		wg.Go(func() { _, _ = bodies(t, a, prio, uids...) })
		eventually(t, "requests are queued", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return len(a.queue[prio]) >= len(uids) || len(r.asked()) == 1 && len(uids) == 1
		})
	}
	ask(remote.Background, "letter 1")
	eventually(t, "message 1 is asked for", func() bool { return len(r.asked()) == 1 })
	ask(remote.Background, "letter 10", "letter 11")
	ask(remote.Readahead, "letter 20", "letter 21")
	ask(remote.Foreground, "letter 30", "letter 31")
	close(release)
	wg.Wait()
	var got []string
	for _, line := range r.asked() {
		got = append(got, strings.Fields(line)[1])
	}
	if want := []string{"1", "30", "31", "20", "21", "10", "11"}; !slices.Equal(got, want) {
		t.Errorf("asked in the order %v", got)
	}
}

func TestMaildropInUse(t *testing.T) {
	r := startServer(t, letters(2), func(r *responder) { r.locked = true })
	a := r.account(30 * time.Second)
	done := make(chan error)
	go func() { done <- a.Connect(t.Context()) }()
	eventually(t, "it is tried again", func() bool { return len(r.said("AUTH")) >= 2 })
	r.mu.Lock()
	r.locked = false
	r.mu.Unlock()
	if err := <-done; err != nil {
		t.Errorf("after the lock is gone: %v", err)
	}
	a.Close()

	r.mu.Lock()
	r.locked = true
	r.mu.Unlock()
	err := r.account(300 * time.Millisecond).Connect(t.Context())
	if !errors.Is(err, remote.ErrUnreachable) || errors.Is(err, remote.ErrLogin) {
		t.Errorf("locked for good: %v", err)
	}
}

// A server gives mail with headers in UTF-8 as it is only to who has said before signing in that he wants it (RFC 6856).
func TestUTF8(t *testing.T) {
	for _, answer := range []string{"+OK", "-ERR not now"} {
		r := startServer(t, letters(2), func(r *responder) {
			r.capabilities = append(slices.Clone(everything), "UTF8 USER")
			r.misbehave = func(_ int, line string) *misdeed {
				if line == "UTF8" {
					return &misdeed{raw: answer + "\r\n"}
				}
				return nil
			}
		})
		if l := list(t, r.account(10*time.Second)); len(l.messages) != 2 {
			t.Errorf("%s: %d messages", answer, len(l.messages))
		}
		said := r.saidWhere(func(string) bool { return true })
		if at := slices.Index(said, "UTF8"); at < 0 || slices.IndexFunc(said, func(c string) bool {
			return strings.HasPrefix(c, "AUTH ") || strings.HasPrefix(c, "USER ")
		}) < at {
			t.Errorf("%s: it said %q", answer, said)
		}
	}
	r := startServer(t, letters(1), nil)
	list(t, r.account(10*time.Second))
	if n := len(r.said("UTF8")); n > 0 {
		t.Error("it says UTF8 to a server that does not know it")
	}
}

func TestRefusedSignIn(t *testing.T) {
	for _, c := range []struct {
		at, answer string
		want       error
	}{
		{"PASS secret", "-ERR [AUTH] no", remote.ErrLogin},
		{"PASS secret", "-ERR wrong password secret", remote.ErrLogin},
		{"PASS secret", "-ERR your account is locked, another mailbox may do", remote.ErrLogin},
		{"USER alice", "-ERR who?", remote.ErrLogin},
		{"PASS secret", "-ERR [SYS/TEMP] come back", remote.ErrUnreachable},
		{"PASS secret", "-ERR [LOGIN-DELAY] too soon", remote.ErrUnreachable},
		{"PASS secret", "-ERR maildrop already locked", remote.ErrUnreachable},
		{"", "-ERR too many connections", remote.ErrUnreachable},
		{"", "* OK IMAP4rev1", remote.ErrServer},
	} {
		r := startServer(t, letters(1), func(r *responder) {
			r.capabilities = []string{"USER"}
			r.misbehave = func(_ int, line string) *misdeed {
				if line == c.at {
					return &misdeed{raw: c.answer + "\r\n"}
				}
				return nil
			}
		})
		a := r.account(2 * time.Second)
		err := a.Connect(t.Context())
		if !errors.Is(err, c.want) || c.want != remote.ErrLogin && errors.Is(err, remote.ErrLogin) {
			t.Errorf("%s: %v, want %v", c.answer, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is in the error: %v", err)
		}
		if n := a.Stats().Connections; n != 0 {
			t.Errorf("%s: %d connections are still there", c.answer, n)
		}
	}
}

func TestPasswordsOfAllBytes(t *testing.T) {
	var all []byte
	for b := 1; b < 256; b++ {
		if b != '\r' && b != '\n' {
			all = append(all, byte(b))
		}
	}
	for _, capabilities := range [][]string{{"SASL PLAIN"}, {"USER"}} {
		for _, password := range []string{string(all), " leading and trailing ", "%s", ""} {
			r := startServer(t, nil, func(r *responder) { r.password, r.capabilities = password, capabilities })
			if err := r.account(10 * time.Second).Connect(t.Context()); err != nil {
				t.Errorf("%v: %q: %v", capabilities, password, err)
			}
		}
		for _, password := range []string{"a\rb", "a\nb", "a\x00b"} {
			r := startServer(t, nil, func(r *responder) { r.password, r.capabilities = password, capabilities })
			if err := r.account(10 * time.Second).Connect(t.Context()); !errors.Is(err, remote.ErrLogin) {
				t.Errorf("%v: %q: %v", capabilities, password, err)
			}
			if len(r.said("PASS")) > 0 {
				t.Error("PASS was sent")
			}
		}
	}
}

func TestSignInWithoutPlain(t *testing.T) {
	r := startServer(t, letters(1), func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if strings.HasPrefix(line, "AUTH") {
				return &misdeed{raw: "-ERR mechanism not here\r\n"}
			}
			return nil
		}
	})
	if err := r.account(10 * time.Second).Connect(t.Context()); err != nil || len(r.said("PASS")) != 1 {
		t.Errorf("%v, PASS sent %d times", err, len(r.said("PASS")))
	}
}

func TestEmptyMaildrop(t *testing.T) {
	r := startServer(t, nil, func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if line == "LIST" || line == "UIDL" {
				return &misdeed{raw: "-ERR there is nothing\r\n"}
			}
			return nil
		}
	})
	if l := list(t, r.account(10*time.Second)); len(l.messages) != 0 || l.version.UIDValidity != 1 {
		t.Errorf("%+v", l)
	}
}

func TestServerThatGoesAwayIsLost(t *testing.T) {
	r := startServer(t, letters(2), func(r *responder) {
		r.misbehave = func(session int, line string) *misdeed {
			if session == 1 && whole(line, 1) {
				return &misdeed{raw: "-ERR [SYS/TEMP] Server shutting down.\r\n", close: true}
			}
			return nil
		}
	})
	a := r.account(10 * time.Second)
	a.idle = time.Minute
	l := list(t, a)
	got, err := bodies(t, remote.Retry(a), remote.Foreground, l.uids(t, "letter 1")...)
	if err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWhatComesUnaskedIsNoAnswer(t *testing.T) {
	letter := letters(1)[0]
	r := startServer(t, letters(2), func(r *responder) {
		r.misbehave = func(session int, line string) *misdeed {
			if session == 1 && whole(line, 1) {
				return &misdeed{raw: "+OK\r\n" + letter + ".\r\n-ERR idle for too long\r\n", close: true}
			}
			return nil
		}
	})
	a := r.account(10 * time.Second)
	a.idle = time.Minute
	l := list(t, a)
	uids := l.uids(t, "letter 1", "letter 2")
	if got, err := bodies(t, a, remote.Foreground, uids[0]); err != nil || got[uids[0]] != letter {
		t.Fatalf("%v, %v", got, err)
	}
	_, err := bodies(t, a, remote.Foreground, uids[1])
	if !errors.Is(err, remote.ErrLost) || !strings.Contains(err.Error(), "idle for too long") {
		t.Errorf("%v", err)
	}
	if got, err := bodies(t, a, remote.Foreground, uids[1]); err != nil || len(got) != 1 {
		t.Errorf("in the next session: %v, %v", got, err)
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	r := startServer(t, letters(3), func(r *responder) {
		r.misbehave = func(_ int, line string) *misdeed {
			if whole(line, 2) {
				return &misdeed{stall: true}
			}
			return nil
		}
	})
	a := r.account(time.Minute)
	l := list(t, a)
	waiting := make(chan error)
	uids := l.uids(t, "letter 2")
	go func() {
		waiting <- a.Bodies(context.Background(), remote.Place{Mailbox: "INBOX", UIDValidity: 1}, uids, func(remote.UID, []byte) {})
	}()
	eventually(t, "message 2 is asked for", func() bool { return len(r.asked()) > 0 })
	begin := time.Now()
	a.Close()
	if err := <-waiting; !errors.Is(err, remote.ErrClosed) {
		t.Errorf("%v", err)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("Close took %v", took)
	}
	if err := a.Connect(t.Context()); !errors.Is(err, remote.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestOtherMailboxes(t *testing.T) {
	a := startServer(t, nil, nil).account(time.Second)
	nothing := func(remote.UID, []byte) {}
	if err := a.Bodies(t.Context(), remote.Place{Mailbox: "Sent", UIDValidity: 1}, nil, nothing); !errors.Is(err, remote.ErrNoMailbox) {
		t.Errorf("bodies of Sent: %v", err)
	}
	if err := a.Bodies(t.Context(), remote.Place{Mailbox: "INBOX", UIDValidity: 2}, nil, nothing); !errors.Is(err, remote.ErrStale) {
		t.Errorf("bodies of another UIDVALIDITY: %v", err)
	}
	if _, err := a.Sync(t.Context(), "Sent", remote.Version{}, remote.Version{}, nil, nil); !errors.Is(err, remote.ErrNoMailbox) {
		t.Errorf("listing of Sent: %v", err)
	}
	if _, _, err := a.Quota(t.Context()); !errors.Is(err, remote.ErrUnsupported) {
		t.Errorf("quota: %v", err)
	}
}

func TestErrorOfEmitEndsSync(t *testing.T) {
	a := startServer(t, letters(5), nil).account(10 * time.Second)
	full := fmt.Errorf("disk is full")
	_, err := a.Sync(t.Context(), "INBOX", remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}
