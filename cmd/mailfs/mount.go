package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
	"github.com/mailfs/mailfs/cmd/mailfs/secret"
)

func newMountCommand() *cobra.Command {
	f := config.NewFlags()
	cmd := &cobra.Command{
		Use:   "mount [flags] [URL] MOUNTPOINT",
		Short: "Mount one account by its URL, or every account of the configuration file",
		Long: `Mounts mail at MOUNTPOINT and returns when the mail is there. A background process serves it until you unmount it.

URL is imaps://USER@HOST[:PORT] or pop3s://USER@HOST[:PORT]; imap:// and pop3:// upgrade to TLS with STARTTLS or
STLS. Write @ in USER as %40. Without a URL every account of the configuration file is mounted, each as a directory:

    [account.work]
    url = "imaps://me%40example.org@mail.example.org"
    password_command = "pass show mail/work"

The password comes from MAILFS_PASSWORD, from the password command or from the keyring (see mailfs help login);
otherwise mailfs asks for it on the terminal. With several accounts, MAILFS_PASSWORD is for the one
that has neither a command nor OAuth.`,
		Example: "  mailfs mount imaps://me%40example.org@mail.example.org ~/mail\n" +
			"  mailfs mount ~/mail\n" +
			"  mailfs umount ~/mail",
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.ApplyLists(); err != nil {
				return err
			}
			url := ""
			if len(args) == 2 {
				if url = args[0]; !config.IsURL(url) && config.IsURL(args[1]) {
					return config.WrongUsage("the URL comes before MOUNTPOINT; usage: %s", cmd.UseLine())
				}
			} else if config.IsURL(args[0]) {
				return config.WrongUsage("MOUNTPOINT is missing; usage: %s", cmd.UseLine())
			}
			return mount(cmd.Context(), f, url, args[len(args)-1])
		},
	}
	f.AddAll(cmd.Flags())
	return cmd
}

// mount checks everything that can be checked without a network. Then it mounts, in this process or in a background process.
func mount(ctx context.Context, f *config.Flags, url, mountpoint string) error {
	j, err := f.Job(url)
	if err != nil {
		return err
	}
	if j.Mountpoint, err = process.Prepare(mountpoint, warn); err != nil {
		return err
	}
	if j.LogFile != "" && process.Within(j.LogFile, j.Mountpoint) {
		return fmt.Errorf("%s: the mount would hide the log file", j.LogFile)
	}
	for _, a := range j.Accounts {
		if a.Store != "" && process.Within(a.Store, j.Mountpoint) {
			return fmt.Errorf("%s: the mount would hide the cache", filepath.Dir(a.Store))
		}
	}
	if err := process.MayMount(j.AllowOther); err != nil {
		return err
	}
	for i := range j.Accounts {
		a := &j.Accounts[i]
		if s := a.Server(); a.InTheClear() && !s.Loopback() {
			warn(s.Address() + ": without TLS anybody on the network can read mail and password")
		}
		if a.User == "" {
			if a.User, err = askUser(ctx, a.Label()); err != nil {
				return err
			}
		}
	}
	if err := secret.FillPasswords(ctx, j.Accounts, warn); errors.Is(err, secret.ErrNoPassword) {
		return failed(&j.Accounts[0], err)
	} else if err != nil {
		return err
	}
	if f.Foreground {
		return serveHere(ctx, j)
	}
	p, err := process.Start(ctx, j.Mountpoint, j, warn)
	if err != nil {
		return err
	}
	return p.Release()
}

// warn prints a line on standard error.
func warn(text string) { fmt.Fprintln(os.Stderr, "mailfs: "+text) }

// askUser asks for the user name at a server. where is the label of the account.
func askUser(ctx context.Context, where string) (string, error) {
	user, err := secret.Ask(ctx, "User at "+where+": ", false)
	switch {
	case errors.Is(err, secret.ErrNoTerminal), err == nil && user == "":
		return "", fmt.Errorf("%s: the URL names no user; write SCHEME://USER@HOST, with @ in USER as %%40", where)
	case err == nil && strings.ContainsAny(user, "\r\x00"):
		return "", errors.New("the user name contains a line break or a NUL byte")
	}
	return user, err
}

// completeAccounts lists the accounts of the configuration for the completion of a shell.
func completeAccounts(f *config.Flags) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		accounts, err := f.Tables()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, a := range accounts {
			names = append(names, a.Name+"\t"+a.URL)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
