package smtp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

func TestAMechanismThatTheServerCannotCarryOutLeadsToTheNext(t *testing.T) {
	const nonsense = "334 bm9uc2Vuc2U=" // in base64
	// replies are what the server answers to AUTH and a mechanism, and then to each line of the exchange; "" ends the
	// connection. A * is answered with 501.
	type replies map[string][]string
	for _, c := range []struct {
		name, mechanisms string
		replies          replies
		tried            string
		conns            int64
		err              error
		words            string
	}{
		{"it works", "PLAIN LOGIN", replies{"PLAIN": {"235 in"}}, "PLAIN", 1, nil, ""},
		{"504", "PLAIN LOGIN", replies{"PLAIN": {"504 5.5.4 Unrecognized authentication type"}, "LOGIN": {"334 VXNlcg==", "334 UGFzcw==", "235 in"}},
			"PLAIN LOGIN", 1, nil, ""},
		{"535 that speaks of the mechanism", "SCRAM-SHA-256 PLAIN", replies{"SCRAM-SHA-256": {"535 5.7.8 no mechanism available"}, "PLAIN": {"235 in"}},
			"SCRAM-SHA-256 PLAIN", 1, nil, ""},
		{"SCRAM, nonsense", "SCRAM-SHA-256 PLAIN", replies{"SCRAM-SHA-256": {nonsense}, "PLAIN": {"235 in"}}, "SCRAM-SHA-256 PLAIN", 1, nil, ""},
		{"SCRAM, no base64", "SCRAM-SHA-256 PLAIN", replies{"SCRAM-SHA-256": {"334 !!!"}, "PLAIN": {"235 in"}}, "SCRAM-SHA-256 PLAIN", 1, nil, ""},
		{"SCRAM, cut", "SCRAM-SHA-256 PLAIN", replies{"SCRAM-SHA-256": {""}, "PLAIN": {"235 in"}}, "SCRAM-SHA-256 PLAIN", 2, nil, ""},
		{"SCRAM, a server that proves nothing", "SCRAM-SHA-256 PLAIN", replies{"SCRAM-SHA-256": {"235 in"}}, "SCRAM-SHA-256", 1, remote.ErrLogin,
			"has not shown that it knows the password"},
		{"nothing left", "CRAM-MD5 PLAIN", replies{"CRAM-MD5": {"500 what"}, "PLAIN": {"502 what"}}, "CRAM-MD5 PLAIN", 1, remote.ErrLogin,
			`the server can't carry out CRAM-MD5 ("500 what"), PLAIN ("502 what")`},
		{"a wrong password", "PLAIN LOGIN", replies{"PLAIN": {"535 5.7.8 authentication failed"}}, "PLAIN", 1, remote.ErrLogin, "535 authentication failed"},
		{"not now", "PLAIN LOGIN", replies{"PLAIN": {"454 4.7.0 mechanism unavailable"}}, "PLAIN", 1, remote.ErrUnreachable, "454"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			var tried []string
			var all sync.WaitGroup
			all.Go(func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					all.Go(func() {
						defer conn.Close()
						io.WriteString(conn, "220 hi\r\n")
						var left []string
						for lines := bufio.NewScanner(conn); lines.Scan(); {
							f := strings.Fields(lines.Text() + " ?")
							answer := "250 yes"
							switch {
							case f[0] == "EHLO":
								answer = "250-mail\r\n250 AUTH " + c.mechanisms
							case f[0] == "*":
								answer, left = "501 cancelled", nil
							case f[0] == "AUTH":
								left = slices.Clone(c.replies[f[1]])
								mu.Lock()
								tried = append(tried, f[1])
								mu.Unlock()
							}
							if len(left) > 0 {
								answer, left = left[0], left[1:]
							}
							if answer == "" {
								return
							}
							io.WriteString(conn, answer+"\r\n")
						}
					})
				}
			})
			asked := 0
			d := dial.New(dial.Server{Protocol: "smtp", Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, User: "me", InTheClear: true,
				Timeout: 10 * time.Second, Password: func(context.Context) (string, error) { asked++; return "secret", nil }})
			_, err = Try(t.Context(), d)
			l.Close()
			all.Wait()
			if !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v, want %v with %q", err, c.err, c.words)
			}
			if got := strings.Join(tried, " "); got != c.tried {
				t.Errorf("it tried %q, want %q", got, c.tried)
			}
			if n := d.Stats().Dials; n != c.conns || asked != 1 {
				t.Errorf("%d connections, want %d; asked for the password %d times", n, c.conns, asked)
			}
		})
	}
}
