package pop3

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

func TestMessagesAreListedAndReadAsTheyAre(t *testing.T) {
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
func TestMessagesThatShareAUIDLKeepTheirNames(t *testing.T) {
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

func TestServersWithoutUIDLOrTOPAreListedAndRead(t *testing.T) {
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

func TestAUIDLThatIsRefusedOnceChangesNoNames(t *testing.T) {
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
	if err := l.try(t.Context(), a); !errors.Is(err, remote.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if l.sync(t, a); l.emitted != 0 {
		t.Errorf("%d messages have another UID", l.emitted)
	}
}

func TestAnEmptyMaildropMayRefuseItsLists(t *testing.T) {
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

func TestINBOXIsTheOnlyMailbox(t *testing.T) {
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

func TestAnErrorOfEmitEndsSync(t *testing.T) {
	a := startServer(t, letters(5), nil).account(10 * time.Second)
	full := fmt.Errorf("disk is full")
	_, err := a.Sync(t.Context(), "INBOX", remote.Version{}, remote.Version{}, nil, func(remote.Delta) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}
