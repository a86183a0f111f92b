//go:build linux

package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-sasl"
)

// OAuth is a provider of tokens (RFC 6749, RFC 8628) and an IMAP server that takes these tokens. Every refresh token is
// good for one request, whose answer holds the next one.
type OAuth struct {
	URL  string // of the endpoints /device, /authorize and /token
	IMAP int    // port on 127.0.0.1, in the clear

	server  *httptest.Server
	account *imapmemserver.User

	mu        sync.Mutex      // guards what follows
	permitted bool            // the user has entered the code, or followed the page
	refresh   string          // the refresh token that is good now; empty: none
	access    map[string]bool // the access tokens that are good now
	issued    int             // access tokens so far
	challenge string          // code_challenge of RFC 7636
}

// OAuth starts a provider with an account for user, whose INBOX is empty. It ends with the test. The mechanism is
// OAUTHBEARER or XOAUTH2.
func (r *Run) OAuth(t testing.TB, user, mechanism string) *OAuth {
	t.Helper()
	o := &OAuth{access: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /device", o.device)
	mux.HandleFunc("POST /token", o.token)
	mux.HandleFunc("GET /authorize", o.authorize)
	o.server = httptest.NewServer(mux)
	t.Cleanup(o.server.Close)
	o.URL = o.server.URL

	account := imapmemserver.NewUser(user, "no password is right")
	if err := account.Create("INBOX", nil); err != nil {
		t.Fatal(err)
	}
	o.account = account
	memory := imapmemserver.New()
	memory.AddUser(account)
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return &tokenSession{Session: memory.NewSession(), provider: o, mechanism: mechanism, user: user}, nil, nil
		},
		Caps:         imap.CapSet{imap.CapIMAP4rev1: {}},
		InsecureAuth: true,
		Logger:       log.New(io.Discard, "", 0),
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.IMAP = l.Addr().(*net.TCPAddr).Port
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return o
}

// Put puts a message into INBOX.
func (o *OAuth) Put(t testing.TB, message string) {
	t.Helper()
	if _, err := o.account.Append("INBOX", strings.NewReader(message), &imap.AppendOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Permit does what the user does with a device code: enter it at the provider.
func (o *OAuth) Permit() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.permitted = true
}

// Revoke makes all tokens void.
func (o *OAuth) Revoke() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refresh, o.permitted = "", false
	clear(o.access)
}

// Expire makes the access tokens void, before their time.
func (o *OAuth) Expire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.access)
}

// Issued returns how many access tokens were issued.
func (o *OAuth) Issued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.issued
}

func (o *OAuth) valid(token string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.access[token]
}

func (o *OAuth) device(w http.ResponseWriter, r *http.Request) {
	json.NewEncoder(w).Encode(map[string]any{
		"device_code": "a device", "user_code": "WDJB-MJHT", "verification_uri": o.URL + "/enter", "expires_in": 600, "interval": 1,
	})
}

// authorize is the page at which the user of a browser permits access: here at once. It sends the browser back.
func (o *OAuth) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	o.mu.Lock()
	o.permitted, o.challenge = true, q.Get("code_challenge")
	o.mu.Unlock()
	back := url.Values{"code": {"a code"}, "state": {q.Get("state")}}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

func (o *OAuth) token(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	why := ""
	switch r.FormValue("grant_type") {
	case "urn:ietf:params:oauth:grant-type:device_code":
		if !o.permitted {
			why = "authorization_pending"
		}
	case "authorization_code":
		if r.FormValue("code") != "a code" || r.FormValue("code_verifier") == "" || o.challenge == "" {
			why = "invalid_grant"
		}
	case "refresh_token":
		if o.refresh == "" || r.FormValue("refresh_token") != o.refresh {
			why = "invalid_grant"
		}
	default:
		why = "unsupported_grant_type"
	}
	if r.FormValue("client_id") != "mailfs-test" {
		why = "invalid_client"
	}
	if why != "" {
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"error": why})
		return
	}
	o.issued++
	access := fmt.Sprintf("access-%d", o.issued)
	o.refresh = fmt.Sprintf("refresh-%d", o.issued)
	o.access[access] = true
	json.NewEncoder(w).Encode(map[string]any{
		"access_token": access, "refresh_token": o.refresh, "token_type": "Bearer", "expires_in": 3600,
	})
}

// tokenSession is a session that only a token signs in, no password.
type tokenSession struct {
	imapserver.Session
	provider        *OAuth
	mechanism, user string
}

var _ imapserver.SessionSASL = (*tokenSession)(nil)

func (s *tokenSession) AuthenticateMechanisms() []string { return []string{s.mechanism} }

func (s *tokenSession) Authenticate(mechanism string) (sasl.Server, error) {
	if mechanism != s.mechanism {
		return nil, errors.New("another mechanism")
	}
	return &tokenServer{session: s}, nil
}

// tokenServer is the server's side of OAUTHBEARER and XOAUTH2. It sends the reason of a refusal as a challenge first.
type tokenServer struct {
	session *tokenSession
	failed  bool
}

func (t *tokenServer) Next(response []byte) (challenge []byte, done bool, err error) {
	s := t.session
	if response == nil && !t.failed {
		return []byte{}, false, nil
	}
	refused := &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeAuthenticationFailed, Text: "Invalid credentials"}
	if t.failed {
		return nil, true, refused
	}
	fields := strings.Split(string(response), "\x01")
	who, token := "user="+s.user, ""
	if s.mechanism == sasl.OAuthBearer {
		who = "n,a=" + s.user + ","
	}
	for _, f := range fields {
		if rest, ok := strings.CutPrefix(f, "auth=Bearer "); ok {
			token = rest
		}
	}
	if fields[0] != who || !s.provider.valid(token) {
		t.failed = true
		return []byte(`{"status":"invalid_token"}`), false, nil
	}
	return nil, true, s.Session.Login(s.user, "no password is right")
}
