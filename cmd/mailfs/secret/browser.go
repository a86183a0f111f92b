package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/oauth2"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
)

// loginWithin bounds the wait for somebody at a browser.
const loginWithin = 10 * time.Minute

// browser has somebody sign in with a browser on this machine, which is sent back to a port of this process with a code
// (RFC 8252, section 7.3), proven to be for this process by RFC 7636.
func browser(ctx context.Context, a *config.Account, out io.Writer, client *oauth2.Config) (*oauth2.Token, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("waiting for the browser: %w", err)
	}
	client.RedirectURL = fmt.Sprintf("http://%s/", l.Addr())
	verifier, state := oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	type answer struct {
		code string
		err  error
	}
	answers := make(chan answer, 1)
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			if r.URL.Path != "/" || q.Get("state") != state { // a browser asks for more than it is sent to
				http.NotFound(w, r)
				return
			}
			got, text := answer{code: q.Get("code")}, "You are signed in; this page can be closed."
			if got.code == "" {
				got.err = fmt.Errorf("%s: the sign-in was declined (%s)", a.Called(), printable(q.Get("error")))
				text = "You are not signed in."
			}
			fmt.Fprintln(w, text)
			select {
			case answers <- got:
			default:
			}
		}),
	}
	served := make(chan struct{})
	go func() {
		server.Serve(l)
		close(served)
	}()
	defer func() {
		limited, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(limited) != nil { // lets the page go out
			server.Close()
		}
		<-served
	}()

	page := client.AuthCodeURL(state, oauth2.AccessTypeOffline, oauth2.ApprovalForce, oauth2.S256ChallengeOption(verifier))
	fmt.Fprintf(out, "To sign in, open this page in a browser on this machine:\n\n%s\n\n", page)
	openBrowser(page)
	select {
	case got := <-answers:
		if got.err != nil {
			return nil, got.err
		}
		token, err := client.Exchange(oauthContext(ctx, a), got.code, oauth2.VerifierOption(verifier))
		if err != nil {
			return nil, errors.New(providerSays(a, err))
		}
		return token, nil
	case <-time.After(loginWithin):
		return nil, fmt.Errorf("%s: nobody signed in within %s; run mailfs login again", a.Called(), loginWithin)
	case <-ctx.Done():
		return nil, context.Canceled
	}
}

// openBrowser shows a page if this session has a browser.
func openBrowser(url string) {
	program := "xdg-open"
	if runtime.GOOS == "darwin" {
		program = "open"
	} else if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return
	}
	cmd := exec.Command(program, url)
	cmd.Env = process.Environment()
	if cmd.Start() == nil {
		go cmd.Wait()
	}
}
