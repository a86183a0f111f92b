package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mailfs/mailfs/cmd/mailfs/process"
	"github.com/mailfs/mailfs/remote/dial"
)

// mountFlags are the flags of mount, with their defaults as newMountCommand sets them.
type mountFlags struct {
	config, caFile, passwordCommand, tokenCommand, cacheDir, logFile string

	tls               tlsMode
	memory, cacheSize byteSize
	refresh, timeout  duration
	connections       int
	allowOther        bool
	fileMode, dirMode permissions
	uid               userID
	gid               groupID
	logLevel          logLevel
	foreground        bool
	options           []string
}

// maxConnections is how many connections of one account most servers put up with at the very most.
const maxConnections = 10

// defaults are the values of flags that nobody sets.
func defaults() mountFlags {
	return mountFlags{
		tls: "auto", memory: 64 << 20, cacheSize: 2 << 30, refresh: duration(30 * time.Second), timeout: duration(30 * time.Second),
		connections: 2, fileMode: 0o400, dirMode: 0o500, uid: userID(os.Getuid()), gid: groupID(os.Getgid()), logLevel: logLevel(slog.LevelWarn),
	}
}

// register adds all flags of mount.
func (f *mountFlags) register(flags *pflag.FlagSet) {
	f.registerConnection(flags)
	flags.StringVar(&f.cacheDir, "cache-dir", f.cacheDir,
		"keep mail in `DIR` between mounts (default $XDG_CACHE_HOME/mailfs); none keeps nothing")
	flags.Var(&f.cacheSize, "cache-size", "room for messages in the cache directory")
	flags.Var(&f.memory, "memory", "memory for messages that were read")
	flags.Var(&f.refresh, "refresh", "how old a listing may be before the server is asked again")
	flags.IntVar(&f.connections, "connections", f.connections, "connections per IMAP account, at most `N`")
	flags.BoolVar(&f.allowOther, "allow-other", f.allowOther, "let other users in, as far as the modes below do")
	flags.Var(&f.fileMode, "file-mode", "permissions of messages, octal")
	flags.Var(&f.dirMode, "dir-mode", "permissions of directories, octal")
	flags.Var(&f.uid, "uid", "owner of all that is there (default: who mounts); with --allow-other")
	flags.Var(&f.gid, "gid", "group of all that is there (default: of who mounts)")
	for _, name := range []string{"uid", "gid"} { // not who reads the help or builds the manual
		flags.Lookup(name).DefValue = ""
	}
	flags.Var(&f.logLevel, "log-level", "debug, info, warn or error")
	flags.StringVar(&f.logFile, "log-file", f.logFile, "log to `FILE` instead of the system's log")
	flags.BoolVarP(&f.foreground, "foreground", "f", f.foreground, "stay in the foreground, log to standard error")
	flags.StringArrayVarP(&f.options, "option", "o", f.options,
		"options as in fstab: `LIST` of ro, allow_other, config=FILE, ... any flag above")
	flags.SortFlags = false
}

// registerConnection adds the flags that say how to reach and sign in to an account.
func (f *mountFlags) registerConnection(flags *pflag.FlagSet) {
	flags.StringVar(&f.config, "config", f.config, "configuration `FILE` (default $XDG_CONFIG_HOME/mailfs/config.toml)")
	flags.StringVar(&f.caFile, "ca-file", f.caFile, "trust the certificates in `FILE` (PEM) instead of the system's")
	flags.Var(&f.tls, "tls", "off sends mail and password in the clear")
	flags.StringVar(&f.passwordCommand, "password-command", f.passwordCommand,
		"shell `COMMAND` that prints the password, run at each sign-in")
	flags.StringVar(&f.tokenCommand, "token-command", f.tokenCommand,
		"shell `COMMAND` that prints an OAuth access token, run at each sign-in")
	flags.Var(&f.timeout, "timeout", "longest wait for a server")
	flags.SortFlags = false
}

func newMountCommand() *cobra.Command {
	f := defaults()
	cmd := &cobra.Command{
		Use:   "mount [flags] [URL] MOUNTPOINT",
		Short: "Mount one account by its URL, or every account of the configuration file",
		Long: `Mounts mail at MOUNTPOINT and returns once it is there; a background process serves it until it is unmounted.

URL is imaps://USER@HOST[:PORT] or pop3s://USER@HOST[:PORT]; imap:// and pop3:// upgrade to TLS with STARTTLS or
STLS. Write @ in USER as %40. Without a URL every account of the configuration file is mounted, each as a directory:

    [account.work]
    url = "imaps://me%40example.org@mail.example.org"
    password_command = "pass show mail/work"

The password comes from MAILFS_PASSWORD, from the password command, from the keyring (see mailfs help login), or is
asked for on the terminal. With several accounts MAILFS_PASSWORD is for the one that has no other source.`,
		Example: "  mailfs mount imaps://me%40example.org@mail.example.org ~/mail\n" +
			"  mailfs mount ~/mail\n" +
			"  mailfs umount ~/mail",
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, list := range f.options {
				if err := applyOptions(cmd.Flags(), list); err != nil {
					return err
				}
			}
			url := ""
			if len(args) == 2 {
				if url = args[0]; !isURL(url) && isURL(args[1]) {
					return wrongUsage("the URL comes before MOUNTPOINT; usage: %s", cmd.UseLine())
				}
			} else if isURL(args[0]) {
				return wrongUsage("MOUNTPOINT is missing; usage: %s", cmd.UseLine())
			}
			return mount(cmd.Context(), &f, cmd.Flags(), url, args[len(args)-1])
		},
	}
	f.register(cmd.Flags())
	return cmd
}

// mount checks everything that can be checked without a network, then mounts: here, or in a background process.
func mount(ctx context.Context, f *mountFlags, flags *pflag.FlagSet, url, mountpoint string) error {
	j, err := f.job(flags, url)
	if err != nil {
		return err
	}
	if j.Mountpoint, err = process.Prepare(mountpoint, warn); err != nil {
		return err
	}
	if j.LogFile != "" && process.Within(j.LogFile, j.Mountpoint) {
		return fmt.Errorf("%s: the log file would be hidden by the mount", j.LogFile)
	}
	for _, a := range j.Accounts {
		if a.Store != "" && process.Within(a.Store, j.Mountpoint) {
			return fmt.Errorf("%s: the cache would be hidden by the mount", filepath.Dir(a.Store))
		}
	}
	if err := process.MayMount(j.AllowOther); err != nil {
		return err
	}
	for i := range j.Accounts {
		a := &j.Accounts[i]
		if s := a.server(); a.InTheClear && !s.Loopback() {
			warn(s.Address() + ": without TLS everybody on the way can read mail and password")
		}
		if a.User == "" {
			if a.User, err = askUser(ctx, a.who()); err != nil {
				return err
			}
		}
	}
	if err := fillPasswords(ctx, j.Accounts, warn); err != nil {
		return err
	}
	if f.foreground {
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

// job makes out of flags and configuration what there is to do, without the mountpoint and what has to be asked for.
func (f *mountFlags) job(flags *pflag.FlagSet, url string) (*job, error) {
	var tables []accountTable
	if url != "" {
		if f.config != "" {
			return nil, wrongUsage("either a URL or --config: a URL is mounted without the configuration")
		}
		tables = []accountTable{{URL: url}}
	} else {
		c, err := f.configuration()
		if err != nil {
			return nil, err
		}
		if err := c.apply(flags); err != nil {
			return nil, err
		}
		tables = c.accounts
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	j := &job{
		Single: url != "", FSName: "mailfs",
		Memory: int64(f.memory), CacheSize: int64(f.cacheSize), CacheGiven: f.cacheDir != "", Refresh: time.Duration(f.refresh),
		AllowOther: f.allowOther, FileMode: uint32(f.fileMode), DirMode: uint32(f.dirMode),
		UID: uint32(f.uid), GID: uint32(f.gid),
		LogLevel: slog.Level(f.logLevel),
	}
	if f.logFile != "" {
		path, err := filepath.Abs(f.logFile)
		if err != nil {
			return nil, fmt.Errorf("finding %s: %w", f.logFile, err)
		}
		j.LogFile = path
	}
	if err := f.oneCommand(len(tables)); err != nil {
		return nil, err
	}
	dir, err := cacheDir(f.cacheDir)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		a, err := f.account(flags, t)
		if err != nil && t.Name != "" {
			return nil, fmt.Errorf("account %q: %w", t.Name, err)
		} else if err != nil {
			return nil, err
		}
		if s := a.server(); s.Protocol == "smtp" {
			if url == "" && len(tables) > 1 { // it is there to be checked
				continue
			}
			return nil, errors.New(s.String() + ": SMTP only sends mail, there is nothing to mount; use imaps:// or pop3s://")
		}
		if dir != "" {
			a.Store = filepath.Join(dir, a.storeName())
		}
		j.Accounts = append(j.Accounts, a)
	}
	if len(j.Accounts) == 0 {
		return nil, errors.New("all accounts of the configuration are SMTP, which only sends mail: there is nothing to mount")
	}
	if j.Single {
		s := j.Accounts[0].server()
		j.FSName = s.Protocol + "://" + s.Address() // mount(8) shows it to everybody: no user
	}
	return j, nil
}

// configuration reads the file of --config, or the one at the usual place.
func (f *mountFlags) configuration() (*configuration, error) {
	path, err := f.config, error(nil)
	if path == "" {
		path, err = configPath()
	} else {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, err
	}
	c, err := readConfiguration(path)
	if f.config == "" && errors.Is(err, os.ErrNotExist) {
		return nil, wrongUsage("give a URL, or write %s (mailfs setup EMAIL does; see also mailfs mount --help)", path)
	}
	return c, err
}

// oneCommand refuses a command for the password of several accounts.
func (f *mountFlags) oneCommand(accounts int) error {
	switch {
	case f.passwordCommand != "" && f.tokenCommand != "":
		return wrongUsage("either --password-command or --token-command: there is one way to sign in")
	case f.passwordCommand != "" && accounts > 1:
		return wrongUsage("--password-command is for one account; write password_command in the tables of the configuration")
	case f.tokenCommand != "" && accounts > 1:
		return wrongUsage("--token-command is for one account; write token_command in the tables of the configuration")
	}
	return nil
}

// check refuses numbers that make no sense.
func (f *mountFlags) check() error {
	switch {
	case f.connections < 1 || f.connections > maxConnections:
		return wrongUsage("--connections %d: it is a number from 1 to %d", f.connections, maxConnections)
	case int(f.uid) != os.Getuid() && !f.allowOther:
		return wrongUsage("--uid %d: without --allow-other nobody gets in but who mounts", f.uid)
	case f.timeout == 0:
		return wrongUsage("--timeout 0: nothing can be waited for")
	}
	return nil
}

// account is what flags and a table of the configuration say together: flags first, then the table, then defaults.
func (f *mountFlags) account(flags *pflag.FlagSet, t accountTable) (account, error) {
	server, err := dial.ParseURL(t.URL)
	if err != nil {
		return account{}, err
	}
	a := account{
		Name: t.Name, URL: t.URL, User: server.User,
		PasswordCommand: t.PasswordCommand, TokenCommand: t.TokenCommand, OAuth: t.OAuth, InTheClear: t.TLS == "off",
		Timeout: time.Duration(t.Timeout), Connections: t.Connections,
		Prefetch: t.Prefetch, Keep: t.Keep,
	}
	if t.Keep && server.Protocol != "pop3" {
		return account{}, errors.New("keep is for POP3, whose servers drop mail; IMAP servers hold it")
	}
	// A flag that was given beats the table; one that was not only stands in for what the table leaves out.
	given := flags.Changed("password-command") || flags.Changed("token-command")
	if given || a.PasswordCommand == "" && a.TokenCommand == "" && a.OAuth == nil {
		a.PasswordCommand, a.TokenCommand, a.OAuth = f.passwordCommand, f.tokenCommand, nil
	}
	if flags.Changed("tls") || t.TLS == "" {
		a.InTheClear = f.tls == "off"
	}
	if flags.Changed("timeout") || a.Timeout == 0 {
		a.Timeout = time.Duration(f.timeout)
	}
	if flags.Changed("connections") || a.Connections == 0 {
		a.Connections = f.connections
	}
	caFile := t.CAFile
	if flags.Changed("ca-file") || caFile == "" {
		caFile = f.caFile
	}
	if caFile != "" {
		if a.Roots, err = readCertificates(caFile); err != nil {
			return account{}, err
		}
	}
	return a, nil
}

// readCertificates reads a file of certificates and makes sure that there is one in it.
func readCertificates(path string) ([]byte, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, process.FileError(path, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: there is no certificate in it (PEM, -----BEGIN CERTIFICATE-----)", path)
	}
	return pem, nil
}

func askUser(ctx context.Context, where string) (string, error) {
	user, err := ask(ctx, "User at "+where+": ", false)
	switch {
	case errors.Is(err, errNoTerminal), err == nil && user == "":
		return "", fmt.Errorf("%s: the URL names no user; write SCHEME://USER@HOST, with @ in USER as %%40", where)
	case err == nil && strings.ContainsAny(user, "\r\x00"):
		return "", errors.New("the user name contains a line break or a NUL byte")
	}
	return user, err
}
