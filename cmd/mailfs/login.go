package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/mailfs/mailfs/cmd/mailfs/process"
	"github.com/mailfs/mailfs/remote/dial"
	"github.com/mailfs/mailfs/remote/smtp"
)

// signInAgain has a serving process try again at once to sign in where it was refused.
const signInAgain = syscall.SIGUSR1

func newLoginCommand() *cobra.Command {
	f := defaults()
	var forget, untried bool
	cmd := &cobra.Command{
		Use:   "login [flags] ACCOUNT|URL",
		Short: "Keep a password in the keyring, or sign in with OAuth",
		Long: `Asks for the password of an account, tries it on the server, and keeps it in the system's keyring (Secret Service,
macOS Keychain), where mailfs mount finds it. What is mounted already goes on with the new password at once.

For an account with a table [account.NAME.oauth] in the configuration it signs in at the provider in a browser
instead, and keeps the refresh token in the keyring; access tokens are renewed from it as long as the provider
allows. The table, here for Microsoft 365:

    [account.work]
    url = "imaps://me%40example.org@outlook.office365.com"
    [account.work.oauth]
    client_id = "..."           # of an application that you or your organisation have registered
    device_url = "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode"
    token_url = "https://login.microsoftonline.com/common/oauth2/v2.0/token"
    scopes = ["https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access"]

Gmail has no device codes for mail. There a browser on this machine is needed:

    client_id = "..."
    client_secret = "..."       # which Google sends along with a "desktop" client and does not take for a secret
    auth_url = "https://accounts.google.com/o/oauth2/v2/auth"
    token_url = "https://oauth2.googleapis.com/token"
    scopes = ["https://mail.google.com/"]`,
		Example: "  mailfs login work\n" +
			"  mailfs login imaps://me%40example.org@mail.example.org\n" +
			"  mailfs login --forget work",
		Args:              arguments(1, 1),
		ValidArgsFunction: completeAccounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			accounts, err := f.accounts(cmd.Flags(), args)
			if err != nil {
				return err
			}
			a := &accounts[0]
			if a.User == "" {
				if a.User, err = askUser(cmd.Context(), a.who()); err != nil {
					return err
				}
			}
			if forget {
				return logout(cmd.Context(), cmd.OutOrStdout(), a)
			}
			return login(cmd.Context(), cmd.OutOrStdout(), a, untried)
		},
	}
	f.registerConnection(cmd.Flags())
	for _, name := range []string{"password-command", "token-command"} {
		cmd.Flags().Lookup(name).Hidden = true
	}
	cmd.Flags().BoolVar(&forget, "forget", false, "remove what the keyring has for the account")
	cmd.Flags().BoolVar(&untried, "untried", false, "keep the password without trying it on the server")
	return cmd
}

// login finds out how to sign in to an account, tries it, keeps it, and tells running mounts.
func login(ctx context.Context, out io.Writer, a *account, untried bool) error {
	switch {
	case a.PasswordCommand != "":
		return fmt.Errorf("%s: its password comes from password_command; change it there", a.called())
	case a.TokenCommand != "":
		return fmt.Errorf("%s: its token comes from token_command; sign in there", a.called())
	}
	if !hasKeyring() { // before people type
		return errNoKeyring
	}
	kind, what, keep, proof := keyringPassword, "the password", "", ""
	var err error
	if a.OAuth != nil {
		kind, what = keyringRefresh, "the permission"
		keep, proof, err = a.authorize(ctx, out)
	} else {
		keep, err = newPassword(ctx, a)
		proof = keep
	}
	if err != nil {
		return err
	}
	if !untried {
		if err := tryLogin(ctx, a, proof); err != nil {
			return a.failed(err)
		}
	}
	if err := writeKeyring(ctx, kind, a.label(), keep); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: signed in; %s is in the keyring.\n", a.called(), what)
	return tellMounts(ctx, a)
}

// newPassword takes the password from the environment or asks for it.
func newPassword(ctx context.Context, a *account) (string, error) {
	password := os.Getenv(process.PasswordVariable)
	os.Unsetenv(process.PasswordVariable)
	if password != "" {
		return password, nil
	}
	password, err := ask(ctx, "Password for "+a.who()+": ", true)
	switch {
	case errors.Is(err, errNoTerminal):
		return "", fmt.Errorf("there is no terminal to ask for the password; set %s", process.PasswordVariable)
	case err == nil && password == "":
		return "", errors.New("an empty password is none; nothing was changed")
	}
	return password, err
}

// tryLogin signs in with a password, or with an access token.
func tryLogin(ctx context.Context, a *account, proof string) error {
	server := a.server()
	prove := func(context.Context) (string, error) { return proof, nil }
	server.Refused, server.Password, server.Token = nil, prove, nil
	if a.OAuth != nil {
		server.Token = prove
	}
	if server.Protocol == "smtp" {
		_, err := smtp.Try(ctx, dial.New(server))
		return err
	}
	a.Connections = 1
	r := a.open(dial.New(server), slog.New(slog.DiscardHandler))
	defer r.Close()
	return r.Connect(ctx)
}

// logout removes what the keyring has for an account.
func logout(ctx context.Context, out io.Writer, a *account) error {
	removed := false
	for _, kind := range []string{keyringPassword, keyringRefresh} {
		switch err := clearKeyring(ctx, kind, a.label()); {
		case err == nil:
			removed = true
		case !errors.Is(err, errNotKept):
			return err
		}
	}
	if !removed {
		return fmt.Errorf("%s: the keyring has nothing for %s", a.called(), a.label())
	}
	fmt.Fprintf(out, "%s: removed from the keyring.\n", a.called())
	return nil
}

// authorize has somebody permit mailfs to read their mail, in a browser, and returns the refresh token and the first
// access token: with a device code (RFC 8628) where the provider has them.
func (a *account) authorize(ctx context.Context, out io.Writer) (refresh, access string, err error) {
	config := a.OAuth.config()
	var token *oauth2.Token
	if a.OAuth.DeviceURL != "" {
		token, err = a.deviceCode(ctx, out, config)
	} else {
		token, err = a.browser(ctx, out, config)
	}
	if err != nil {
		return "", "", err
	}
	if token.RefreshToken == "" {
		return "", "", fmt.Errorf("%s: the provider gave no refresh token, so nothing could be renewed; "+
			"check scopes in the configuration (Microsoft wants offline_access)", a.called())
	}
	return token.RefreshToken, token.AccessToken, nil
}

func (a *account) deviceCode(ctx context.Context, out io.Writer, config *oauth2.Config) (*oauth2.Token, error) {
	oauth := a.oauthContext(ctx)
	code, err := config.DeviceAuth(oauth)
	if err != nil {
		return nil, errors.New(a.providerSays(err))
	}
	fmt.Fprintf(out, "To sign in, open %s and enter the code %s\n", oneLine(code.VerificationURI), oneLine(code.UserCode))
	token, err := config.DeviceAccessToken(oauth, code)
	refused, isRefusal := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case err == nil:
		return token, nil
	case ctx.Err() != nil:
		return nil, context.Canceled
	case errors.Is(err, context.DeadlineExceeded), isRefusal && refused.ErrorCode == "expired_token":
		return nil, fmt.Errorf("%s: the code has expired; run mailfs login again", a.called())
	case isRefusal && refused.ErrorCode == "access_denied":
		return nil, fmt.Errorf("%s: the sign-in was declined", a.called())
	}
	return nil, errors.New(a.providerSays(err))
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

// tellMounts has the mounts of this user that serve an account sign in again.
func tellMounts(ctx context.Context, a *account) error {
	at, err := process.MountsOfUser()
	if err != nil {
		return err
	}
	for _, mountpoint := range at {
		s, err := askStatus(ctx, mountpoint)
		if err != nil {
			continue // one that does not answer has no use for a password
		}
		// The process that serves a mount says which process it is. It is believed only about mounts of this user.
		for _, served := range s.Accounts {
			if served.Server == a.label() && s.Process > 1 {
				if err := syscall.Kill(s.Process, signInAgain); err != nil {
					warn(fmt.Sprintf("%s: it can't be told, and will sign in again within a minute (%v)", mountpoint, err))
				}
				break
			}
		}
	}
	return nil
}
