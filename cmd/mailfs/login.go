package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
	"github.com/mailfs/mailfs/cmd/mailfs/secret"
	"github.com/mailfs/mailfs/remote/dial"
	"github.com/mailfs/mailfs/remote/smtp"
)

// signInAgain is the signal that makes a serving process sign in again at once where the server has refused it.
const signInAgain = syscall.SIGUSR1

func newLoginCommand() *cobra.Command {
	f := config.NewFlags()
	var forget, untried bool
	cmd := &cobra.Command{
		Use:   "login [flags] ACCOUNT|URL",
		Short: "Keep a password in the keyring, or sign in with OAuth",
		Long: `Asks for the password of an account, tries it on the server, and keeps it in the system's keyring (Secret Service,
macOS Keychain), where mailfs mount finds it. Mounts of the account use the new password at once.

For an account with a table [account.NAME.oauth] in the configuration, you sign in at the provider in a browser
instead. mailfs keeps the refresh token in the keyring and renews access tokens with it as long as the provider
allows. The table for Microsoft 365:

    [account.work]
    url = "imaps://me%40example.org@outlook.office365.com"
    [account.work.oauth]
    client_id = "..."           # of an application that you or your organisation has registered
    device_url = "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode"
    token_url = "https://login.microsoftonline.com/common/oauth2/v2.0/token"
    scopes = ["https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access"]

Gmail has no device codes for mail, so you need a browser on this machine:

    client_id = "..."
    client_secret = "..."       # comes with a "desktop" client of Google, which does not treat it as secret
    auth_url = "https://accounts.google.com/o/oauth2/v2/auth"
    token_url = "https://oauth2.googleapis.com/token"
    scopes = ["https://mail.google.com/"]`,
		Example: "  mailfs login work\n" +
			"  mailfs login imaps://me%40example.org@mail.example.org\n" +
			"  mailfs login --forget work",
		Args:              arguments(1, 1),
		ValidArgsFunction: completeAccounts(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			accounts, err := f.Accounts(args)
			if err != nil {
				return err
			}
			a := &accounts[0]
			if a.User == "" {
				if a.User, err = askUser(cmd.Context(), a.Label()); err != nil {
					return err
				}
			}
			if forget {
				return logout(cmd.Context(), cmd.OutOrStdout(), a)
			}
			return login(cmd.Context(), cmd.OutOrStdout(), a, untried)
		},
	}
	f.AddConnection(cmd.Flags())
	for _, name := range []string{"password-command", "token-command"} {
		cmd.Flags().Lookup(name).Hidden = true
	}
	cmd.Flags().BoolVar(&forget, "forget", false, "remove what the keyring has for the account")
	cmd.Flags().BoolVar(&untried, "untried", false, "keep the password without trying it on the server")
	return cmd
}

// login obtains a password or a permission for an account, tries it on the server, keeps it in the keyring, and makes mounts of the
// account sign in again. untried skips the try.
func login(ctx context.Context, out io.Writer, a *config.Account, untried bool) error {
	switch {
	case a.PasswordCommand != "":
		return fmt.Errorf("%s: the password comes from password_command; change it there", a.Called())
	case a.TokenCommand != "":
		return fmt.Errorf("%s: the token comes from token_command; sign in there", a.Called())
	}
	if !secret.HasKeyring() { // before the user types anything
		return secret.ErrNoKeyring
	}
	grant, err := secret.Obtain(ctx, out, a)
	if err != nil {
		return err
	}
	if !untried {
		if err := tryLogin(ctx, a, grant.Proof); err != nil {
			return failed(a, err)
		}
	}
	if err := grant.Keep(ctx, a); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: signed in; %s is in the keyring.\n", a.Called(), grant.What)
	return tellMounts(ctx, a)
}

// tryLogin signs in with a password or an access token.
func tryLogin(ctx context.Context, a *config.Account, proof string) error {
	server := a.Server()
	prove := func(context.Context) (string, error) { return proof, nil }
	server.Password = prove
	if a.OAuth != nil {
		server.Token = prove
	}
	if server.Protocol == "smtp" {
		_, err := smtp.Try(ctx, dial.New(server))
		return err
	}
	a.Connections = 1
	r := open(a, dial.New(server), slog.New(slog.DiscardHandler))
	defer r.Close()
	return r.Connect(ctx)
}

// logout removes the entries of an account from the keyring.
func logout(ctx context.Context, out io.Writer, a *config.Account) error {
	removed, err := secret.Forget(ctx, a)
	if err != nil {
		return err
	}
	if !removed {
		return fmt.Errorf("%s: the keyring has nothing for %s", a.Called(), a.Label())
	}
	fmt.Fprintf(out, "%s: removed from the keyring.\n", a.Called())
	return nil
}

// tellMounts makes the mounts of an account that this user has sign in again.
func tellMounts(ctx context.Context, a *config.Account) error {
	at, err := process.MountsOfUser()
	if err != nil {
		return err
	}
	for _, mountpoint := range at {
		s, err := askStatus(ctx, mountpoint)
		if err != nil {
			continue // a process that does not answer can't sign in
		}
		// A process says its own id. That is believed because the mount is this user's own.
		for _, served := range s.Accounts {
			if served.Server == a.Label() && s.Process > 1 {
				if err := syscall.Kill(s.Process, signInAgain); err != nil {
					warn(fmt.Sprintf("%s: the mount can't be notified (%v); it will sign in again within a minute", mountpoint, err))
				}
				break
			}
		}
	}
	return nil
}
