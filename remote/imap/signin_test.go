package imap

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// reply answers AUTHENTICATE or LOGIN. answer reads one line of the client after what it sends; "" is no line.
type reply func(c *peer, tag string, answer func(send string) string)

// says answers at once.
func says(text string) reply {
	return func(c *peer, tag string, _ func(string) string) { fmt.Fprintf(c.w, "%s %s\r\n", tag, text) }
}

// challenges sends lines, waits for the answer to each that is a challenge, and sends a text in the end; where that is
// empty, it ends the connection.
func challenges(text string, lines ...string) reply {
	return func(c *peer, tag string, answer func(string) string) {
		for _, l := range lines {
			if strings.HasPrefix(l, "+") {
				answer(l)
			} else {
				fmt.Fprintf(c.w, "%s\r\n", l)
			}
		}
		if text == "" {
			c.w.Flush()
			c.Close()
			return
		}
		fmt.Fprintf(c.w, "%s %s\r\n", tag, text)
	}
}

// scramUpTo is SCRAM-SHA-256 with the right password. last answers the proof of the client.
func scramUpTo(last func(c *peer, tag, final string, answer func(string) string)) reply {
	return func(c *peer, tag string, answer func(string) string) {
		client, _ := scram.SHA256.NewClientUnprepped(testUser, testPassword, "")
		server, _ := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) {
			return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
		})
		conversation := server.NewConversation()
		send := ""
		for !conversation.Done() {
			first, _ := base64.StdEncoding.DecodeString(answer("+ " + base64.StdEncoding.EncodeToString([]byte(send))))
			send, _ = conversation.Step(string(first))
		}
		last(c, tag, send, answer)
	}
}

func TestAMechanismThatTheServerCannotCarryOutLeadsToTheNext(t *testing.T) {
	const nonsense = "bm9uc2Vuc2U=" // in base64
	const all = "IMAP4rev1 AUTH=SCRAM-SHA-256 AUTH=CRAM-MD5 AUTH=PLAIN"
	type replies map[string]reply
	hello := challenges("OK in", "+ ") // to PLAIN
	for _, c := range []struct {
		name, caps string
		replies    replies // to LOGIN and to each mechanism; LOGIN works without one
		tried      string
		conns      int64 // before each | and after the last
		err        error
		words      string
	}{
		{"NO that names it", "IMAP4rev1 AUTH=NTLM AUTH=PLAIN SASL-IR", replies{"PLAIN": says("NO AUTHENTICATE PLAIN failed")}, "PLAIN LOGIN", 1, nil, ""},
		{"BAD", "IMAP4rev1 AUTH=PLAIN SASL-IR", replies{"PLAIN": says("BAD unsupported mechanism")}, "PLAIN LOGIN", 1, nil, ""},
		{"BAD without a word", "IMAP4rev1 AUTH=PLAIN", replies{"PLAIN": says("BAD")}, "PLAIN LOGIN", 1, nil, ""},
		{"BAD to the password", "IMAP4rev1 AUTH=PLAIN", replies{"PLAIN": challenges("BAD syntax", "+ ")}, "PLAIN LOGIN", 1, nil, ""},
		{"all of them", all, replies{"SCRAM-SHA-256": says("BAD what"), "CRAM-MD5": says("NO not supported"), "PLAIN": says("NO unknown mechanism")},
			"SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN", 1, nil, ""},
		{"LOGINDISABLED", "IMAP4rev1 LOGINDISABLED AUTH=PLAIN AUTH=CRAM-MD5", replies{"CRAM-MD5": says("BAD what"), "PLAIN": hello},
			"CRAM-MD5 PLAIN", 1, nil, ""},
		{"LOGINDISABLED, nothing left", "IMAP4rev1 LOGINDISABLED AUTH=PLAIN AUTH=CRAM-MD5",
			replies{"CRAM-MD5": says("BAD what"), "PLAIN": says("BAD that?")}, "CRAM-MD5 PLAIN", 1, remote.ErrLogin, `"that?", and before that could not carry out CRAM-MD5 ("what")`},
		{"LOGIN is BAD", "IMAP4rev1 AUTH=LOGIN", replies{"LOGIN": says("BAD Unknown command"), "AUTHENTICATE LOGIN": challenges("OK in", "+ VXNlcg==", "+ UGFzcw==")},
			"LOGIN LOGIN", 1, nil, ""},

		{"SCRAM, BAD in the middle", all, replies{"SCRAM-SHA-256": challenges("BAD what", "+ ", "+ "+nonsense), "CRAM-MD5": says("BAD")},
			"SCRAM-SHA-256 | CRAM-MD5 PLAIN", 2, nil, ""},
		{"SCRAM, BAD to the first message", all, replies{"SCRAM-SHA-256": challenges("BAD what", "+ "), "CRAM-MD5": says("BAD")},
			"SCRAM-SHA-256 CRAM-MD5 PLAIN", 1, nil, ""},
		{"SCRAM, nonsense", "IMAP4rev1 AUTH=SCRAM-SHA-256", replies{"SCRAM-SHA-256": challenges("NO", "+ ", "+ "+nonsense)},
			"SCRAM-SHA-256 | LOGIN", 2, nil, ""},
		{"SCRAM, no base64", "IMAP4rev1 AUTH=SCRAM-SHA-256 SASL-IR", replies{"SCRAM-SHA-256": challenges("NO", "+ !!!")},
			"SCRAM-SHA-256 | LOGIN", 2, nil, ""},
		{"SCRAM, no IMAP", "IMAP4rev1 AUTH=SCRAM-SHA-256 SASL-IR", replies{"SCRAM-SHA-256": challenges("", "(((((")},
			"SCRAM-SHA-256 | LOGIN", 2, nil, ""},
		{"SCRAM, an empty challenge", "IMAP4rev1 AUTH=SCRAM-SHA-256 SASL-IR", replies{"SCRAM-SHA-256": challenges("NO", "+ ")},
			"SCRAM-SHA-256 | LOGIN", 2, nil, ""},
		{"SCRAM, cut at once", "IMAP4rev1 AUTH=SCRAM-SHA-256", replies{"SCRAM-SHA-256": challenges("")}, "SCRAM-SHA-256 | LOGIN", 2, nil, ""},
		{"SCRAM, cut in the middle", "IMAP4rev1 AUTH=SCRAM-SHA-256", replies{"SCRAM-SHA-256": challenges("", "+ ")}, "SCRAM-SHA-256 | LOGIN", 2, nil, ""},
		{"SCRAM, cut after the proof", "IMAP4rev1 AUTH=SCRAM-SHA-256",
			replies{"SCRAM-SHA-256": scramUpTo(func(c *peer, _, _ string, _ func(string) string) { c.Close() })}, "SCRAM-SHA-256 | LOGIN", 2, nil, ""},
		{"SCRAM that works", all, replies{"SCRAM-SHA-256": scramUpTo(func(c *peer, tag, final string, answer func(string) string) {
			answer("+ " + base64.StdEncoding.EncodeToString([]byte(final)))
			fmt.Fprintf(c.w, "%s OK in\r\n", tag)
		})}, "SCRAM-SHA-256", 1, nil, ""},
		{"SCRAM, a server that does not know the password", all, replies{"SCRAM-SHA-256": scramUpTo(func(c *peer, tag, _ string, answer func(string) string) {
			answer("+ " + base64.StdEncoding.EncodeToString([]byte("v=AAAA")))
			fmt.Fprintf(c.w, "%s OK in\r\n", tag)
		})}, "SCRAM-SHA-256", 1, remote.ErrLogin, "has not shown that it knows the password"},
		{"SCRAM, a server that proves nothing", all, replies{"SCRAM-SHA-256": challenges("OK in", "+ ")},
			"SCRAM-SHA-256", 1, remote.ErrLogin, "has not shown that it knows the password"},
		{"SCRAM, a wrong password", all, replies{"SCRAM-SHA-256": scramUpTo(func(c *peer, tag, _ string, answer func(string) string) {
			answer("+ " + base64.StdEncoding.EncodeToString([]byte("e=invalid-proof")))
			fmt.Fprintf(c.w, "%s NO no\r\n", tag)
		})}, "SCRAM-SHA-256", 1, remote.ErrLogin, "invalid-proof"},

		{"a wrong password", "IMAP4rev1 AUTH=PLAIN AUTH=LOGIN", replies{"PLAIN": says("NO [AUTHENTICATIONFAILED] AUTHENTICATE PLAIN failed")},
			"PLAIN", 1, remote.ErrLogin, "PLAIN failed"},
		{"a wrong password, in BAD", "IMAP4rev1 AUTH=PLAIN AUTH=LOGIN", replies{"PLAIN": says("BAD [authorizationfailed] unknown mechanism")},
			"PLAIN", 1, remote.ErrLogin, "unknown"},
		{"an expired password", "IMAP4rev1 AUTH=PLAIN AUTH=LOGIN", replies{"PLAIN": says("NO [EXPIRED] no")}, "PLAIN", 1, remote.ErrLogin, "no"},
		{"a wrong password, no code", all, replies{"SCRAM-SHA-256": says("NO Authentication failed.")}, "SCRAM-SHA-256", 1, remote.ErrLogin, "failed"},
		{"a wrong password of Exchange", "IMAP4rev1 AUTH=PLAIN AUTH=LOGIN SASL-IR",
			replies{"PLAIN": says("NO AUTHENTICATE failed."), "LOGIN": says("NO LOGIN failed.")}, "PLAIN LOGIN", 1, remote.ErrLogin, "LOGIN failed."},
		{"a server that finds everything BAD", all + " AUTH=SCRAM-SHA-1 AUTH=LOGIN SASL-IR",
			replies{"SCRAM-SHA-256": says("BAD"), "SCRAM-SHA-1": says("BAD"), "CRAM-MD5": says("BAD"), "PLAIN": says("BAD"), "LOGIN": says("BAD"),
				"AUTHENTICATE LOGIN": challenges("BAD", "+ VXNlcg==", "+ UGFzcw==")},
			"SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN LOGIN", 1, remote.ErrLogin, ""},
		{"not now", all, replies{"SCRAM-SHA-256": says("NO [UNAVAILABLE] mechanism is not there now")}, "SCRAM-SHA-256", 1, remote.ErrUnreachable, "now"},
		{"too often", all, replies{"SCRAM-SHA-256": says("BAD Request is throttled.")}, "SCRAM-SHA-256", 1, remote.ErrUnreachable, "throttled"},
		{"cut after the password", "IMAP4rev1 AUTH=PLAIN SASL-IR", replies{"PLAIN": challenges("")}, "PLAIN | PLAIN", 2, remote.ErrUnreachable, ""},
		{"BYE", "IMAP4rev1 AUTH=SCRAM-SHA-256", replies{"SCRAM-SHA-256": challenges("", "* BYE Too many connections")},
			"SCRAM-SHA-256 | SCRAM-SHA-256", 2, remote.ErrUnreachable, "Too many"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.replies["PLAIN"] == nil {
				c.replies["PLAIN"] = hello
			}
			s := newServer(t, c.caps, mail(1)...)
			s.hook = func(p *peer, tag, command string) bool {
				verb, rest, _ := strings.Cut(command, " ")
				mechanism, initial, hasInitial := strings.Cut(rest, " ")
				var r reply
				switch verb {
				case "LOGIN":
					r = c.replies["LOGIN"]
				case "AUTHENTICATE":
					if r = c.replies["AUTHENTICATE "+mechanism]; r == nil {
						r = c.replies[mechanism]
					}
				}
				if r == nil {
					return false
				}
				r(p, tag, func(send string) string {
					if hasInitial && send == "+ " && strings.HasPrefix(mechanism, "PLAIN") {
						return initial
					}
					fmt.Fprintf(p.w, "%s\r\n", send)
					p.w.Flush()
					line, _ := p.r.ReadString('\n')
					return strings.TrimSpace(line)
				})
				return true
			}
			var asked atomic.Int32
			a := s.open(func(r *dial.Server, o *Options) {
				o.Connections = 1
				password := r.Password
				r.Password = func(ctx context.Context) (string, error) { asked.Add(1); return password(ctx) }
			})
			err := a.Connect(inTime(t))
			if !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v, want %v with %q", err, c.err, c.words)
			}
			if err != nil && strings.Contains(err.Error(), testPassword) {
				t.Errorf("the password is in the error: %v", err)
			}
			var tried []string
			s.mu.Lock()
			commands := s.commands
			s.mu.Unlock()
			for _, command := range commands {
				switch f := strings.Fields(command); f[0] {
				case "AUTHENTICATE":
					tried = append(tried, f[1])
				case "LOGIN":
					tried = append(tried, f[0])
				}
			}
			if got, want := strings.Join(tried, " "), strings.ReplaceAll(c.tried, " |", ""); got != want {
				t.Errorf("it tried %q, want %q", got, want)
			}
			times := int64(1) // asked for the password
			if errors.Is(c.err, remote.ErrUnreachable) {
				times = c.conns // a lost connection is tried again from the beginning
			}
			if n := a.dialer.Stats().Dials; n != c.conns || int64(asked.Load()) != times {
				t.Errorf("%d connections, want %d; asked for the password %d times", n, c.conns, asked.Load())
			}
		})
	}
}
