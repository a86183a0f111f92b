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

// loginWithin is how long mailfs waits for the user to sign in with a browser.
const loginWithin = 10 * time.Minute

// browser has the user sign in with a browser on this machine. The provider sends the browser to a port of this process, with
// a code in the URL (RFC 8252, section 7.3). Only this process can use the code (PKCE, RFC 7636).
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
			if r.URL.Path != "/" || q.Get("state") != state { // a browser asks for other pages as well, as for an icon
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
		if server.Shutdown(limited) != nil { // Shutdown waits until the browser has the page
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
		return nil, fmt.Errorf("%s: there was no sign-in within %s; run mailfs login again", a.Called(), loginWithin)
	case <-ctx.Done():
		return nil, context.Canceled
	}
}

// openBrowser shows a page in the user's browser, if this session has a display.
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
