package pop3

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
)

func TestAMaildropInUseIsTriedAgain(t *testing.T) {
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

// A server gives mail with headers in UTF-8 as it is only to a client that has said UTF8 before signing in (RFC 6856).
func TestUTF8IsSaidBeforeSigningInWhereItIsOffered(t *testing.T) {
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

func TestAWrongPasswordIsToldFromAServerThatCannotSignInNow(t *testing.T) {
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

func TestAPasswordOfAnyBytesSignsIn(t *testing.T) {
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

func TestAMechanismThatIsRefusedLeadsToUSER(t *testing.T) {
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
