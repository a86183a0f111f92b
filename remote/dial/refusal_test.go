package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailfs/mailfs/remote"
)

// called names a way to sign in: COMMAND, or the mechanism of SASL.
func called(in *SignIn) string {
	if in.Client == nil {
		return "COMMAND"
	}
	return in.Mechanism
}

// answering returns what a server says that gives each way the answer that answers has for it, or else the one for "": "ok",
// "cannot" before it has seen a proof of the password, "vague" or "refused" after that, "cut" before, "lost" after a proof.
// The ways are appended to tried, with a ! where the server has seen a proof of the password.
func answering(answers map[string]string, tried *[]string) func(*SignIn) error {
	return func(in *SignIn) error {
		name := called(in)
		answer, ok := answers[name]
		if !ok {
			answer = answers[""]
		}
		proof := answer != "cannot" && answer != "cut"
		if c := in.proof(); c != nil && proof {
			c.answers = c.proof
		}
		if proof {
			name += "!"
		}
		*tried = append(*tried, name)
		switch answer {
		case "ok":
			return nil
		case "cannot":
			return in.Unable("no such mechanism", true)
		case "vague":
			return in.Unable("no", false)
		case "cut", "lost":
			return in.Broken(fmt.Errorf("%w: %w", remote.ErrUnreachable, io.EOF))
		}
		return fmt.Errorf("%w: the server says %q", remote.ErrLogin, answer)
	}
}

func TestTheNextWayToSignInIsTriedOnlyWhereTheMechanismFailed(t *testing.T) {
	const host, all = "mail.example.org", "CRAM-MD5 LOGIN PLAIN SCRAM-SHA-1 SCRAM-SHA-256"
	type answers = map[string]string
	for _, c := range []struct {
		name    string
		server  Server
		offer   Offer
		offered string
		answers answers
		tried   string // with ! where a proof of the password was sent; | is another connection
		err     error
		says    string
	}{
		{"the first one works", Server{Host: host}, Offer{Own: "LOGIN"}, all, answers{"": "ok"}, "PLAIN!", nil, ""},
		{"PLAIN can't be done", Server{Host: host}, Offer{Own: "LOGIN"}, "PLAIN", answers{"PLAIN": "cannot", "": "ok"}, "PLAIN COMMAND!", nil, ""},
		{"none but the command can be done", Server{Host: host}, Offer{Own: "LOGIN"}, all, answers{"COMMAND": "ok", "": "cannot"},
			"PLAIN SCRAM-SHA-256 SCRAM-SHA-1 COMMAND!", nil, ""},
		{"the command can't be done", Server{Host: host}, Offer{Own: "LOGIN"}, all, answers{"LOGIN": "ok", "": "cannot"},
			"PLAIN SCRAM-SHA-256 SCRAM-SHA-1 COMMAND LOGIN!", nil, ""},
		{"nothing can be done", Server{Host: host}, Offer{Own: "LOGIN"}, all, answers{"": "cannot"},
			"PLAIN SCRAM-SHA-256 SCRAM-SHA-1 COMMAND LOGIN CRAM-MD5", remote.ErrLogin, `the server can't carry out PLAIN ("no such mechanism"), SCRAM-SHA-256 ("`},
		{"a wrong password", Server{Host: host}, Offer{Own: "LOGIN"}, all, answers{"": "refused"}, "PLAIN!", remote.ErrLogin, "refused"},
		{"a wrong password behind a mechanism that can't be done", Server{Host: host}, Offer{Own: "LOGIN"}, all,
			answers{"PLAIN": "cannot", "": "refused"}, "PLAIN SCRAM-SHA-256!", remote.ErrLogin, "refused"},
		{"a server that refuses anything in words of doubt", Server{Host: host}, Offer{Own: "LOGIN"}, all, answers{"": "vague"},
			"PLAIN! SCRAM-SHA-256! COMMAND!", remote.ErrLogin, `"no"`},
		{"the same without a command", Server{Host: host}, Offer{}, all, answers{"": "vague"},
			"PLAIN! SCRAM-SHA-256! SCRAM-SHA-1!", remote.ErrLogin, `"no"`},
		{"doubt, in the clear, on this machine", Server{Host: "localhost", InTheClear: true}, Offer{Own: "LOGIN"}, all, answers{"": "vague"},
			"SCRAM-SHA-256! SCRAM-SHA-1! COMMAND!", remote.ErrLogin, `"no"`},
		{"a command that was not announced", Server{Host: host}, Offer{Own: "USER", OwnUnannounced: true}, "LOGIN",
			answers{"LOGIN": "cannot", "": "ok"}, "LOGIN COMMAND!", nil, ""},
		{"a command that was not announced, and nothing else", Server{Host: host}, Offer{Own: "USER", OwnUnannounced: true}, "GSSAPI",
			answers{"": "ok"}, "", remote.ErrLogin, "it offers only GSSAPI"},

		{"the connection is cut before the proof", Server{Host: host}, Offer{Own: "LOGIN"}, "SCRAM-SHA-1 SCRAM-SHA-256",
			answers{"COMMAND": "ok", "": "cut"}, "SCRAM-SHA-256 | SCRAM-SHA-1 | COMMAND!", nil, ""},
		{"the connection is cut after the proof of SCRAM", Server{Host: host}, Offer{Own: "LOGIN"}, "SCRAM-SHA-256",
			answers{"COMMAND": "ok", "": "lost"}, "SCRAM-SHA-256! | COMMAND!", nil, ""},
		{"the connection is cut after the password", Server{Host: host}, Offer{Own: "LOGIN"}, "PLAIN SCRAM-SHA-256",
			answers{"": "lost"}, "PLAIN!", remote.ErrUnreachable, ""},
		{"the connection is cut over every proof", Server{Host: host}, Offer{Own: "LOGIN"}, "SCRAM-SHA-1 SCRAM-SHA-256",
			answers{"": "lost"}, "SCRAM-SHA-256! | SCRAM-SHA-1! | COMMAND!", remote.ErrUnreachable, ""},
		{"the connection is cut after a mechanism that can't be done", Server{Host: host}, Offer{Own: "LOGIN"}, "PLAIN",
			answers{"PLAIN": "cannot", "": "lost"}, "PLAIN COMMAND! | COMMAND!", remote.ErrUnreachable, ""},

		{"in the clear", Server{Host: host, InTheClear: true}, Offer{Own: "LOGIN"}, all, answers{"": "cannot"},
			"SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5", remote.ErrLogin, "without TLS mailfs does not send the password"},
		{"in the clear, the connection is cut", Server{Host: host, InTheClear: true}, Offer{Own: "USER"}, "SCRAM-SHA-256 PLAIN",
			answers{"": "cut"}, "SCRAM-SHA-256", remote.ErrUnreachable, "without TLS mailfs does not send the password"},
		{"in the clear, and the command was not announced", Server{Host: host, InTheClear: true}, Offer{Own: "USER", OwnUnannounced: true},
			"CRAM-MD5", answers{"": "cannot"}, "CRAM-MD5", remote.ErrLogin, "without TLS mailfs does not send the password"},
		{"in the clear, nothing that hides the password", Server{Host: host, InTheClear: true}, Offer{Own: "LOGIN"}, "PLAIN LOGIN",
			answers{"LOGIN": "ok", "": "cannot"}, "PLAIN COMMAND LOGIN!", nil, ""},
		{"in the clear, on this machine", Server{Host: "127.0.0.1", InTheClear: true}, Offer{Own: "LOGIN"}, all,
			answers{"LOGIN": "ok", "": "cannot"}, "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN COMMAND LOGIN!", nil, ""},

		{"a token", Server{Host: host, Token: token}, Offer{Own: "LOGIN"}, "XOAUTH2 OAUTHBEARER PLAIN", answers{"XOAUTH2": "ok", "": "cannot"},
			"OAUTHBEARER XOAUTH2!", nil, ""},
		{"a token that is not taken", Server{Host: host, Token: token}, Offer{Own: "LOGIN"}, "XOAUTH2 OAUTHBEARER PLAIN",
			answers{"": "refused"}, "OAUTHBEARER!", remote.ErrLogin, "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			d := New(c.server)
			if d.Server.Token == nil {
				d.Server.Password = func(context.Context) (string, error) { asked++; return "secret", nil }
			}
			c.offer.Mechanisms = strings.Fields(c.offered)
			ctx := context.WithValue(t.Context(), triesKey{}, &tries{})
			var tried []string
			in, err := d.SignIn(ctx, c.offer, answering(c.answers, &tried))
			for Another(err) {
				tried = append(tried, "|")
				in, err = d.SignIn(ctx, c.offer, answering(c.answers, &tried))
			}
			if got := strings.Join(tried, " "); got != c.tried {
				t.Errorf("it tried %q, want %q", got, c.tried)
			}
			if !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("the error is %v, want %v with %q", err, c.err, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is in the error: %v", err)
			}
			if asked > 1 {
				t.Errorf("the password was asked for %d times", asked)
			}
			if err != nil {
				return
			}
			tried = slices.DeleteFunc(tried, func(name string) bool { return name == "|" })
			if len(in.Refused) != len(tried)-1 {
				t.Errorf("it says that %+v were refused", in.Refused)
			}
			// The next connection of the account.
			if _, err := d.SignIn(t.Context(), c.offer, answering(c.answers, &tried)); err != nil {
				t.Error(err)
			}
			if n := len(tried); tried[n-1] != tried[n-2] {
				t.Errorf("the next connection tries %q", tried)
			}
		})
	}
}

// A mechanism that has failed for the account is the last resort, not gone.
func TestAMechanismThatFailedIsTriedAgainWhereTheOthersFail(t *testing.T) {
	d := New(Server{Host: "mail.example.org", Password: token})
	offer := Offer{Mechanisms: []string{"PLAIN"}, Own: "LOGIN"}
	for _, answers := range []map[string]string{{"PLAIN": "cannot", "COMMAND": "ok"}, {"PLAIN": "ok", "COMMAND": "cannot"}} {
		for range 2 {
			var tried []string
			if _, err := d.SignIn(t.Context(), offer, answering(answers, &tried)); err != nil {
				t.Errorf("%v: %q, %v", answers, tried, err)
			}
		}
	}
}

func TestASecondConnectionIsMadeForTheNextMechanismAndNoThird(t *testing.T) {
	var asked, conns atomic.Int32
	s := listen(t, func(conn net.Conn) { conns.Add(1); io.Copy(io.Discard, conn) })
	s.InTheClear, s.Password = true, func(context.Context) (string, error) { asked.Add(1); return "secret", nil }
	d := New(s)
	var tried []string
	connect := func() error {
		_, err := Connect(t.Context(), d, nil, func(ctx context.Context, conn net.Conn) (*SignIn, error) {
			defer conn.Close()
			return d.SignIn(ctx, Offer{Mechanisms: []string{"SCRAM-SHA-256"}, Own: "LOGIN"},
				answering(map[string]string{"COMMAND": "ok", "": "cut"}, &tried))
		})
		return err
	}
	if err := connect(); err != nil || d.Stats().Dials != 2 || asked.Load() != 1 {
		t.Errorf("%v, %d connections for %q, asked %d times", err, d.Stats().Dials, tried, asked.Load())
	}
	if err := connect(); err != nil || d.Stats().Dials != 3 {
		t.Errorf("%v, %d connections for %q", err, d.Stats().Dials, tried)
	}
}

func TestTheWordsOfARefusalTellWhatIsRefused(t *testing.T) {
	for _, c := range []struct {
		mechanism, said string
		about, certain  bool
	}{
		{"PLAIN", "unsupported mechanism", true, true},
		{"PLAIN", "Unrecognised authentication type", true, true},
		{"PLAIN", "AUTH not implemented", true, true},
		{"PLAIN", "plain is not supported for your account", true, false},
		{"PLAIN", "AUTHENTICATE PLAIN failed", true, false},
		{"PLAIN", "AUTHENTICATE failed.", true, false},
		{"PLAIN", "Unknown AUTHENTICATE argument", true, false},
		{"SCRAM-SHA-256", "SCRAM-SHA-256 failed", true, false},
		{"SCRAM-SHA-256", "SCRAM-SHA-2567 failed", false, false},
		{"PLAIN", "plaintext login failed", false, false},
		{"PLAIN", "unknown user", false, false},
		{"PLAIN", "AUTHENTICATE failed: invalid credentials", false, false},
		{"PLAIN", "Invalid password for PLAIN", false, false},
		{"PLAIN", "account disabled", false, false},
		{"PLAIN", "Authentication failed.", false, false},
		{"PLAIN", "go away", false, false},
		{"PLAIN", "", false, false},
		{"LOGIN", "Login failed", false, false},
		{"LOGIN", "AUTHENTICATE LOGIN failed", true, false},
		{"", "LOGIN failed", false, false},
		{"", "Unknown command LOGIN", true, false},
		{"", "LOGIN is disabled", true, false},
		{"", "LOGIN not supported", true, true},
	} {
		in := &SignIn{Mechanism: c.mechanism}
		if c.mechanism != "" {
			in.Client = &proofClient{Client: &loginClient{}}
		}
		if about, certain := in.AboutMechanism(c.said); about != c.about || certain != c.certain {
			t.Errorf("%q to %q is about the mechanism: %v, certain: %v", c.said, c.mechanism, about, certain)
		}
	}
}

// An attacker in between can cut the connection, and offer something else on the next one.
func TestAPasswordThatWasHiddenOnOneConnectionIsNotShownOnTheNext(t *testing.T) {
	d := New(Server{Host: "mail.example.org", InTheClear: true, Password: token})
	ctx := context.WithValue(t.Context(), triesKey{}, &tries{})
	var tried []string
	_, err := d.SignIn(ctx, Offer{Mechanisms: []string{"SCRAM-SHA-1", "CRAM-MD5"}}, answering(map[string]string{"": "cut"}, &tried))
	if !Another(err) {
		t.Fatalf("it does not want another connection: %v", err)
	}
	_, err = d.SignIn(ctx, Offer{Mechanisms: []string{"PLAIN"}, Own: "LOGIN"}, answering(map[string]string{"": "ok"}, &tried))
	if !errors.Is(err, remote.ErrLogin) || !strings.Contains(err.Error(), "without TLS") || len(tried) != 1 {
		t.Errorf("%v, tried %q", err, tried)
	}
}

// A server says what it finds wrong in a challenge, too (RFC 5802, section 7).
func TestAnErrorInSCRAMIsOneOfTheMechanismOrOfThePassword(t *testing.T) {
	for challenge, mechanism := range map[string]bool{
		"e=invalid-proof": false, "e=unknown-user": false, "e=something-new": false, "v=AAAA": false,
		"e=extensions-not-supported": true, "e=invalid-encoding": true, "nonsense": true, "": true,
	} {
		for _, proof := range []bool{false, true} {
			in, err := firstWay(t, Server{User: "tim", Password: token}, "SCRAM-SHA-256", "")
			if err != nil {
				t.Fatal(err)
			}
			_, first, _ := in.Client.Start()
			if proof {
				_, nonce, _ := strings.Cut(string(first), "r=")
				if _, err := in.Client.Next([]byte("r=" + nonce + "x,s=c2FsdA==,i=4096")); err != nil {
					t.Fatal(err)
				}
			}
			if in.proofGiven() != proof {
				t.Errorf("a proof was given: %v", in.proofGiven())
			}
			_, err = in.Client.Next([]byte(challenge))
			if err == nil || !in.Failed() {
				t.Fatalf("%q: it goes on", challenge)
			}
			_, is := errors.AsType[*MechanismError](in.Nonsense(err, false))
			if is != mechanism || errors.Is(in.Nonsense(err, false), remote.ErrLogin) == mechanism {
				t.Errorf("%q, with a proof: %v: %v", challenge, proof, in.Nonsense(err, false))
			}
		}
	}
}

func TestAnotherPasswordIsTriedWithTheMechanismThatTheFirstFailedWith(t *testing.T) {
	s := listen(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	secret := "old"
	s.InTheClear, s.Token = true, func(context.Context) (string, error) { return secret, nil }
	s.Refused = func() bool { secret = "new"; return true }
	d := New(s)
	var said []string
	_, err := Connect(t.Context(), d, nil, func(ctx context.Context, conn net.Conn) (*SignIn, error) {
		defer conn.Close()
		return d.SignIn(ctx, Offer{Mechanisms: []string{"XOAUTH2"}}, func(in *SignIn) error {
			if said = append(said, in.Secret); in.Secret == "new" {
				return nil
			}
			return in.Unable("AUTHENTICATE failed.", false) // Exchange, when a token has expired
		})
	})
	if err != nil || !slices.Equal(said, []string{"old", "new"}) {
		t.Errorf("%v, %q", err, said)
	}
}

// The error of a server that has refused a token comes in two steps (RFC 7628, section 3.2.3).
func TestARefusedTokenIsNotTheMechanisms(t *testing.T) {
	in, err := firstWay(t, Server{Token: token}, "OAUTHBEARER", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Client.Next([]byte(`{"status":"invalid_token"}`)); err != nil {
		t.Fatal(err)
	}
	if about, _ := in.AboutMechanism("AUTHENTICATE failed."); about {
		t.Error("it is taken for a refusal of the mechanism")
	}
}

func token(context.Context) (string, error) { return "secret", nil }
