package secret

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
)

func TestAnErrorOfTheOAuthProviderBecomesOneLine(t *testing.T) {
	t.Parallel()
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			io.WriteString(w, "<html>hello</html>")
		case "/client":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"invalid_client","error_description":"no such client\r\nTrace ID: 1"}`)
		case "/silent":
			io.Copy(io.Discard, r.Body) // or nobody notices that the client has gone
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(provider.Close)
	host := strings.TrimPrefix(provider.URL, "http://")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	for url, want := range map[string]string{
		provider.URL + "/page":             host + " (the OAuth provider) gives an answer that can't be understood; check the addresses in the table oauth",
		provider.URL + "/client":           host + ` (the OAuth provider) says "invalid_client: no such client Trace ID: 1"`,
		provider.URL + "/nothing":          host + ` (the OAuth provider) says "404 Not Found"; check the addresses in the table oauth`,
		provider.URL + "/silent":           host + " (the OAuth provider) does not answer within 1s",
		"http://" + nobody:                 nobody + " (the OAuth provider) can't be reached: connect: connection refused",
		"https://no-such-host.invalid/":    "no-such-host.invalid (the OAuth provider) is an unknown host; check the addresses in the table oauth",
		"https://" + host + "/without/tls": host + " (the OAuth provider) can't be reached: http: server gave HTTP response to HTTPS client",
	} {
		a := &config.Account{Name: "w", URL: "imaps://u@h", User: "u", Connection: config.Connection{Timeout: config.Duration(time.Second)},
			OAuth: &config.OAuth{ClientID: "c", DeviceURL: url, TokenURL: provider.URL + "/token"}}
		_, _, err := authorize(t.Context(), a, io.Discard)
		if err == nil || err.Error() != want {
			t.Errorf("%s: it says\n%v\nwant\n%s", url, err, want)
		}
	}
}
