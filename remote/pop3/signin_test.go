package pop3

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

func TestAMechanismThatTheServerCannotCarryOutLeadsToTheNext(t *testing.T) {
	const nonsense = "+ bm9uc2Vuc2U=" // in base64
	const no, yes, empty = "-ERR what?", "+OK", "+ "
	// replies are what the server answers to AUTH and a mechanism, and then to each line of the exchange; "" ends the
	// connection. An answer to USER or PASS stands for every one of them. What has none is answered as it should be.
	type replies map[string][]string
	for _, c := range []struct {
		name         string
		capabilities string // separated by commas
		replies      replies
		tried        string // "*" is a cancelled exchange
		conns        int64
		err          error
		words        string
	}{
		{"PLAIN", "USER,SASL PLAIN", replies{"PLAIN": {no}}, "PLAIN USER PASS", 1, nil, ""},
		{"PLAIN, and USER is not announced", "SASL PLAIN", replies{"PLAIN": {no}}, "PLAIN USER PASS", 1, nil, ""},
		{"PLAIN, when it has the password", "USER,SASL PLAIN", replies{"PLAIN": {empty, "-ERR unsupported mechanism"}}, "PLAIN USER PASS", 1, nil, ""},
		{"SCRAM", "USER,SASL SCRAM-SHA-256 PLAIN", replies{"SCRAM-SHA-256": {no}}, "SCRAM-SHA-256 PLAIN", 1, nil, ""},
		{"SCRAM, in the middle", "USER,SASL SCRAM-SHA-256", replies{"SCRAM-SHA-256": {empty, "-ERR AUTH SCRAM-SHA-256 failed"}},
			"SCRAM-SHA-256 USER PASS", 1, nil, ""},
		{"SCRAM, nonsense", "USER,SASL SCRAM-SHA-256", replies{"SCRAM-SHA-256": {empty, nonsense, "-ERR cancelled"}},
			"SCRAM-SHA-256 * USER PASS", 1, nil, ""},
		{"SCRAM, no base64", "USER,SASL SCRAM-SHA-256", replies{"SCRAM-SHA-256": {empty, "+ !!!", "-ERR cancelled"}},
			"SCRAM-SHA-256 * USER PASS", 1, nil, ""},
		{"SCRAM, nonsense without end", "USER,SASL SCRAM-SHA-256", replies{"SCRAM-SHA-256": {empty, nonsense, nonsense}},
			"SCRAM-SHA-256 * USER PASS", 2, nil, ""},
		{"SCRAM, cut at once", "USER,SASL SCRAM-SHA-256", replies{"SCRAM-SHA-256": {""}}, "SCRAM-SHA-256 USER PASS", 2, nil, ""},
		{"SCRAM, cut in the middle", "USER,SASL SCRAM-SHA-256", replies{"SCRAM-SHA-256": {empty, ""}}, "SCRAM-SHA-256 USER PASS", 2, nil, ""},
		{"SCRAM, a server that proves nothing", "USER,SASL SCRAM-SHA-256", replies{"SCRAM-SHA-256": {empty, yes}},
			"SCRAM-SHA-256", 1, remote.ErrLogin, "has not shown that it knows the password"},
		{"USER", "USER,SASL LOGIN", replies{"USER": {"-ERR unknown command"}, "LOGIN": {"+ VXNlcg==", "+ UGFzcw==", "-ERR wrong"}},
			"USER LOGIN", 1, remote.ErrLogin, "wrong"},
		{"cut after a mechanism", "USER,SASL PLAIN", replies{"PLAIN": {no, ""}}, "PLAIN USER USER PASS", 2, nil, ""},
		{"all of them", "USER,SASL SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN",
			replies{"SCRAM-SHA-256": {no}, "CRAM-MD5": {no}, "PLAIN": {no}, "USER": {"-ERR not supported"}, "LOGIN": {no}},
			"SCRAM-SHA-256 CRAM-MD5 PLAIN USER LOGIN", 1, remote.ErrLogin, `the server can't carry out SCRAM-SHA-256 ("what?"), CRAM-MD5 ("`},

		{"a wrong password", "USER,SASL PLAIN", replies{"PLAIN": {empty, "-ERR [AUTH] mechanism PLAIN failed"}}, "PLAIN", 1, remote.ErrLogin, "PLAIN failed"},
		{"a wrong password, no code", "USER,SASL PLAIN", replies{"PLAIN": {empty, "-ERR authentication failed"}}, "PLAIN", 1, remote.ErrLogin, "failed"},
		{"a wrong user at once", "USER,SASL PLAIN", replies{"PLAIN": {"-ERR [AUTH] no"}}, "PLAIN", 1, remote.ErrLogin, "no"},
		{"a wrong password behind a mechanism", "USER,SASL SCRAM-SHA-256 PLAIN LOGIN",
			replies{"SCRAM-SHA-256": {no}, "PLAIN": {empty, "-ERR wrong"}}, "SCRAM-SHA-256 PLAIN", 1, remote.ErrLogin, "wrong"},
		{"a wrong password with USER", "USER,SASL PLAIN,RESP-CODES", replies{"PLAIN": {no}, "PASS": {"-ERR wrong"}}, "PLAIN USER PASS", 1, remote.ErrLogin, "wrong"},
		{"not now", "USER,SASL PLAIN", replies{"PLAIN": {"-ERR [SYS/TEMP] mechanism unavailable"}}, "PLAIN", 1, remote.ErrUnreachable, "unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			pending := map[int][]string{} // by session
			r := startServer(t, letters(1), func(r *responder) {
				r.capabilities = strings.Split(c.capabilities, ",")
				r.misbehave = func(n int, line string) *misdeed {
					mu.Lock()
					defer mu.Unlock()
					if line == "" && len(pending[n]) == 0 {
						return nil
					}
					verb, rest, _ := strings.Cut(line, " ")
					switch verb {
					case "AUTH":
						pending[n] = slices.Clone(c.replies[rest])
					case "USER", "PASS":
						pending[n] = append(pending[n], c.replies[verb]...)
					}
					if len(pending[n]) == 0 {
						return nil
					}
					answer := pending[n][0]
					pending[n] = pending[n][1:]
					if answer == "" {
						return &misdeed{close: true}
					}
					return &misdeed{raw: answer + "\r\n"}
				}
			})
			asked := 0
			server := r.server(10 * time.Second)
			server.Password = func(context.Context) (string, error) { asked++; return r.password, nil }
			a := New(dial.New(server), Options{Idle: 50 * time.Millisecond})
			t.Cleanup(func() { a.Close() })
			err := a.Connect(t.Context())
			if !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v, want %v with %q", err, c.err, c.words)
			}
			var tried []string
			for _, line := range r.saidWhere(func(string) bool { return true }) {
				switch verb, rest, _ := strings.Cut(line, " "); verb {
				case "AUTH":
					tried = append(tried, rest)
				case "USER", "PASS", "*":
					tried = append(tried, verb)
				}
			}
			if got := strings.Join(tried, " "); got != c.tried {
				t.Errorf("it tried %q, want %q", got, c.tried)
			}
			if n := a.Stats().Dials; n != c.conns || asked != 1 {
				t.Errorf("%d connections, want %d; asked for the password %d times", n, c.conns, asked)
			}
		})
	}
}
