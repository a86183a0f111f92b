package dial

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/mailfs/mailfs/remote"
)

// firstWay returns the way to sign in that is tried first. mechanisms are separated by spaces.
func firstWay(t *testing.T, s Server, mechanisms, own string) (*SignIn, error) {
	return New(s).SignIn(t.Context(), Offer{Mechanisms: strings.Fields(mechanisms), Own: own}, func(*SignIn) error { return nil })
}

func TestTheBestMechanismThatIsOfferedSaysWhatItsStandardSays(t *testing.T) {
	password := func(text string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return text, nil }
	}
	for _, c := range []struct {
		name       string
		server     Server
		offered    string
		own        string
		mechanism  string   // "" is refused
		challenges []string // the first is the question that starts it
		answers    []string
	}{
		{"PLAIN", Server{User: "tim", Password: password("pass")}, "CRAM-MD5 LOGIN PLAIN", "", "PLAIN", nil, []string{"\x00tim\x00pass"}},
		{"PLAIN, in any case", Server{User: "tim", Password: password("pass")}, "plain", "", "PLAIN", nil, []string{"\x00tim\x00pass"}},
		{"the protocol's own", Server{User: "tim", Password: password("pass")}, "CRAM-MD5 LOGIN", "USER", "USER", nil, nil},
		{"LOGIN", Server{User: "tim", Password: password("pass")}, "CRAM-MD5 LOGIN", "", "LOGIN",
			[]string{"Username:", "Password:"}, []string{"", "tim", "pass"}},
		{"CRAM-MD5, when it is all there is", Server{User: "tim", Password: password("pass")}, "NTLM CRAM-MD5", "", "CRAM-MD5", nil, []string{""}},
		// RFC 2195, section 2.
		{"CRAM-MD5, in the clear", Server{User: "tim", Password: password("tanstaaftanstaaf"), InTheClear: true}, "PLAIN CRAM-MD5", "LOGIN", "CRAM-MD5",
			[]string{"<1896.697170952@postoffice.reston.mci.net>"}, []string{"", "tim b913a602c7eda7a495b4e6e7334d3890"}},
		// RFC 7628, section 4.1.
		{"OAUTHBEARER", Server{User: "user@example.com", Host: "server.example.com", Port: 143, Token: password("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")},
			"PLAIN XOAUTH2 OAUTHBEARER", "LOGIN", "OAUTHBEARER", []string{`{"status":"invalid_token"}`},
			[]string{"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01", "\x01"}},
		{"OAUTHBEARER of a name with signs", Server{User: "a=b,c", Host: "h", Port: 1, Token: password("x")}, "OAUTHBEARER", "", "OAUTHBEARER",
			nil, []string{"n,a=a=3Db=2Cc,\x01host=h\x01port=1\x01auth=Bearer x\x01\x01"}},
		{"XOAUTH2", Server{User: "tim", Token: password("x")}, "PLAIN XOAUTH2", "LOGIN", "XOAUTH2", nil, []string{"user=tim\x01auth=Bearer x\x01\x01"}},
		{"a token where only passwords are taken", Server{User: "tim", Token: password("x")}, "PLAIN LOGIN", "LOGIN", "", nil, nil},
		{"a password where only tokens are taken", Server{User: "tim", Password: password("x")}, "XOAUTH2", "", "", nil, nil},
		{"a password that PLAIN can't say", Server{User: "tim", Password: password("x\x00y")}, "PLAIN", "", "", nil, nil},
		{"nothing to prove", Server{User: "tim"}, "PLAIN", "", "", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, err := firstWay(t, c.server, c.offered, c.own)
			if c.mechanism == "" {
				if !errors.Is(err, remote.ErrLogin) {
					t.Fatalf("%+v (%v), want remote.ErrLogin", in, err)
				}
				return
			}
			if err != nil || in.Mechanism != c.mechanism {
				t.Fatalf("%+v (%v), want %s", in, err, c.mechanism)
			}
			if c.mechanism == c.own {
				if in.Client != nil || in.User != "tim" || in.Secret != "pass" {
					t.Errorf("%+v", in)
				}
				return
			}
			name, answer, err := in.Client.Start()
			if err != nil || name != c.mechanism || string(answer) != c.answers[0] {
				t.Errorf("it begins with %s %q (%v), want %s %q", name, answer, err, c.mechanism, c.answers[0])
			}
			for i, challenge := range c.challenges {
				if answer, err := in.Client.Next([]byte(challenge)); err != nil || string(answer) != c.answers[i+1] {
					t.Errorf("to %q it says %q (%v), want %q", challenge, answer, err, c.answers[i+1])
				}
			}
		})
	}
}

// The client does not hash the password for a server without end, either.
func TestSCRAMEndsWellOnlyWhereTheServerProvesItself(t *testing.T) {
	stored, err := scram.SHA256.NewClient("tim", "pass", "")
	if err != nil {
		t.Fatal(err)
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) {
		return stored.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		password string
		forge    func(challenge string) string
		refused  bool // by the client
		proven   bool
	}{
		"right":            {password: "pass", proven: true},
		"wrong password":   {password: "other"},
		"too many rounds":  {password: "pass", forge: func(c string) string { return strings.Replace(c, "i=4096", "i=2000000000", 1) }, refused: true},
		"another server":   {password: "pass", forge: func(c string) string { return strings.Replace(c, "v=", "v=AAAA", 1) }, refused: true},
		"another's answer": {password: "pass", forge: func(c string) string { return "r=x" + strings.TrimPrefix(c, "r=") }, refused: true},
		"it ends too soon": {password: "pass", forge: func(c string) string { return strings.TrimPrefix(c, "v=") }, refused: true},
		"odd characters":   {password: "\u0007", proven: false},
	} {
		s := Server{User: "tim", Password: func(context.Context) (string, error) { return c.password, nil }}
		in, err := firstWay(t, s, "CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", "")
		if err != nil || in.Mechanism != "SCRAM-SHA-256" {
			t.Fatalf("%s: %+v (%v)", name, in, err)
		}
		conversation := server.NewConversation()
		_, answer, err := in.Client.Start()
		for err == nil && !conversation.Done() {
			challenge, refused := conversation.Step(string(answer))
			if refused != nil {
				break
			}
			if c.forge != nil {
				challenge = c.forge(challenge)
			}
			answer, err = in.Client.Next([]byte(challenge))
		}
		if (err != nil) != c.refused {
			t.Errorf("%s: it ends with %v", name, err)
		}
		if proven := in.Proven(); (proven == nil) != c.proven || proven != nil && !errors.Is(proven, remote.ErrLogin) {
			t.Errorf("%s: the server is proven: %v", name, proven)
		}
	}
}

func TestAServerThatAsksOnGetsNoFurtherAnswer(t *testing.T) {
	login := &loginClient{answers: []string{"u", "p"}}
	bearer := &bearerClient{mechanism: xoauth2, server: &Server{}}
	for range 2 {
		login.Next(nil)
	}
	bearer.Next(nil)
	for _, next := range []func([]byte) ([]byte, error){login.Next, bearer.Next} {
		if answer, err := next(nil); err == nil {
			t.Errorf("it goes on with %q", answer)
		}
	}
}

func TestSecretsAreTakenOutOfWhatAServerRepeats(t *testing.T) {
	for _, in := range []*SignIn{
		{User: "tim", Secret: "pass"},
		{User: "tim", Secret: "pass", Client: &proofClient{Client: &bearerClient{mechanism: xoauth2, server: &Server{User: "tim"}, token: "pass"}}},
	} {
		said := "no pass, cGFzcw==, AHRpbQBwYXNz for tim"
		if in.Client != nil {
			said += ", dXNlcj10aW0BYXV0aD1CZWFyZXIgcGFzcwEB"
		}
		got := in.Redact(said)
		if want := strings.Count(said, ","); strings.Count(got, "***") != want+1 || !strings.HasSuffix(strings.Split(got, ", ")[2], "for tim") {
			t.Errorf("of %q is left %q", said, got)
		}
	}
}
