package imap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

func TestEveryWayToSignInThatIsOfferedWorks(t *testing.T) {
	for _, caps := range []string{"IMAP4rev1", "IMAP4rev1 AUTH=PLAIN", plainCaps, "IMAP4rev1 IMAP4rev2",
		"IMAP4rev1 LOGINDISABLED AUTH=PLAIN"} {
		t.Run(caps, func(t *testing.T) {
			s := newServer(t, caps)
			if err := s.open().Connect(inTime(t)); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("PREAUTH", func(t *testing.T) {
		s := newServer(t, plainCaps)
		s.greeting = "* PREAUTH welcome"
		if err := s.open().Connect(inTime(t)); err != nil {
			t.Fatal(err)
		}
		if got := append(s.said("LOGIN"), s.said("AUTHENTICATE")...); len(got) > 0 {
			t.Fatalf("it signed in nevertheless: %q", got)
		}
	})
}

func TestAWrongPasswordIsToldFromAServerThatCannotSignInNow(t *testing.T) {
	answer := func(text string) func(*peer, string, string) bool {
		return func(c *peer, tag, command string) bool {
			if !strings.HasPrefix(command, "AUTH") && !strings.HasPrefix(command, "LOGIN") {
				return false
			}
			fmt.Fprintf(c.w, "%s NO %s\r\n", tag, text)
			return true
		}
	}
	for _, c := range []struct {
		name, caps, greeting string
		hook                 func(*peer, string, string) bool
		want                 error
		words                string
	}{
		{"wrong password", plainCaps, "", answer("[AUTHENTICATIONFAILED] no: " + testPassword), remote.ErrLogin, "no: ***"},
		{"without a code", "IMAP4rev1", "", answer("go away"), remote.ErrLogin, "go away"},
		{"LOGINDISABLED", "IMAP4rev1 LOGINDISABLED", "", nil, remote.ErrLogin, "LOGINDISABLED"},
		{"unavailable", plainCaps, "", answer("[UNAVAILABLE] later"), remote.ErrUnreachable, "later"},
		{"in use", plainCaps, "", answer("[INUSE] later"), remote.ErrUnreachable, "later"},
		{"limit", plainCaps, "", answer("[LIMIT] later"), remote.ErrUnreachable, "later"},
		{"too many", plainCaps, "", answer("[ALERT] Too many simultaneous connections."), remote.ErrUnreachable, "Too many"},
		{"BYE", plainCaps, "* BYE overloaded", nil, remote.ErrUnreachable, "overloaded"},
		{"not IMAP", plainCaps, "HTTP/1.1 400 Bad Request", nil, remote.ErrServer, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, c.caps)
			if c.greeting != "" {
				s.greeting = c.greeting
			}
			s.hook = c.hook
			wantError(t, s.open().Connect(inTime(t)), c.want, c.words)
		})
	}
	t.Run("no password", func(t *testing.T) {
		s := newServer(t, plainCaps)
		a := s.open(func(r *dial.Server, _ *Options) {
			r.Password = func(context.Context) (string, error) { return "", errors.New("the keyring is locked") }
		})
		wantError(t, a.Connect(inTime(t)), remote.ErrLogin, "keyring is locked")
	})
}
