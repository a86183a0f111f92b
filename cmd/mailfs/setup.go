package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailfs/mailfs/cmd/mailfs/process"
	"github.com/mailfs/mailfs/remote/dial"
)

// setupFlags are the flags of setup, beside those of a connection.
type setupFlags struct {
	mountFlags
	name, user  string
	dryRun, yes bool
}

func newSetupCommand() *cobra.Command {
	f := setupFlags{mountFlags: defaults()}
	f.timeout = duration(10 * time.Second)
	cmd := &cobra.Command{
		Use:   "setup [flags] EMAIL",
		Short: "Find the servers of an address and write them into the configuration",
		Long: `Looks for the mail servers of an address: those that its domain announces (SRV records of RFC 6186), then those at
the usual names (imap.DOMAIN, mail.DOMAIN, ...). Tries them without signing in, says what it found, and adds the best
one to the configuration file as an account. The rest of the file stays as it is.`,
		Example: "  mailfs setup me@example.org\n" +
			"  mailfs setup --name work --user me me@example.org",
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return setup(cmd.Context(), cmd.OutOrStdout(), net.DefaultResolver, &f, args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", f.config, "configuration `FILE` (default $XDG_CONFIG_HOME/mailfs/config.toml)")
	flags.StringVar(&f.caFile, "ca-file", f.caFile, "trust the certificates in `FILE` (PEM) instead of the system's")
	flags.StringVar(&f.name, "name", "", "`NAME` of the account (default: the domain's first word)")
	flags.StringVar(&f.user, "user", "", "`USER` name on the server (default: the address)")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "only say what was found")
	flags.BoolVarP(&f.yes, "yes", "y", false, "take servers of another domain without asking")
	flags.Var(&f.timeout, "timeout", "longest wait for each server")
	flags.SortFlags = false
	return cmd
}

// candidate is a server that may have the mail of an address.
type candidate struct {
	server    dial.Server
	announced bool // by the domain
	report    *checkReport
}

func setup(ctx context.Context, out io.Writer, resolver *net.Resolver, f *setupFlags, address string) error {
	at := strings.LastIndexByte(address, '@')
	if at < 1 || at == len(address)-1 || strings.ContainsAny(address, " \t\r\n\x00/:") {
		return wrongUsage("%q is not an address; write it as me@example.org", address)
	}
	domain, err := dial.ASCIIHost(strings.ToLower(strings.TrimSuffix(address[at+1:], ".")))
	if err != nil {
		return wrongUsage("%q has no domain name after its @", address)
	}
	found, unanswered := candidates(ctx, resolver, domain)
	if err := f.try(ctx, found); err != nil {
		return err
	}
	best := -1
	for i, c := range found {
		if c.report.OK && best < 0 && c.server.Protocol != "smtp" {
			best = i
		}
		if c.report.OK || c.announced {
			fmt.Fprintln(out, c.line())
		}
	}
	if best < 0 && unanswered != nil {
		return fmt.Errorf("the servers of %s can't be looked up (%s); check the network", domain, unanswered.Err)
	}
	if best < 0 {
		return fmt.Errorf("no IMAP or POP3 server of %s was found, neither announced nor at the usual names; "+
			"ask who runs the mail for its name, and test it with mailfs check imaps://HOST", domain)
	}
	server := found[best].server
	server.User = address
	if f.user != "" {
		server.User = f.user
	}
	name := f.name
	if name == "" {
		name, _, _ = strings.Cut(domain, ".")
	}
	if foreign(server.Host, domain) && !f.yes && !f.dryRun {
		// Without DNSSEC anybody on the way can announce a server of theirs (RFC 6186, section 6).
		if err := confirm(ctx, fmt.Sprintf("%s says that %s has its mail. Is that right? [y/N] ", domain, server.Host)); err != nil {
			return err
		}
	}
	table := accountText(name, server, f.caFile)
	if f.dryRun {
		fmt.Fprintf(out, "\nFor the configuration:\n\n%s", table)
		return nil
	}
	path, err := f.add(name, table)
	if errors.Is(err, errAlready) {
		fmt.Fprintf(out, "\n%s is in %s already, as the account %s.\n", address, path, name)
		return nil
	}
	if err != nil {
		return err
	}
	with := ""
	if f.config != "" {
		with = "--config " + shellWord(path) + " "
	}
	fmt.Fprintf(out, "\n%s is now in %s, as:\n\n%s\nGo on with\n\n    mailfs login %s%s\n    mailfs mount %s~/mail\n", address, path, table,
		with, shellWord(name), with)
	return nil
}

// candidates lists where the mail of a domain may be, the best first: IMAP before POP3, announced before guessed, TLS
// from the first byte before an upgrade (RFC 8314, section 3), then by priority and weight (RFC 2782). What the domain says
// it does not offer is not guessed. unanswered is why it could not be asked.
func candidates(ctx context.Context, resolver *net.Resolver, domain string) (all []*candidate, unanswered *net.DNSError) {
	known := map[string]bool{}
	add := func(announced bool, scheme, host string, port int) {
		s, err := dial.ParseURL(scheme + "://" + host)
		if err != nil {
			return
		}
		if port != 0 {
			s.Port = port
		}
		if !known[s.String()] {
			known[s.String()] = true
			all = append(all, &candidate{server: s, announced: announced})
		}
	}
	for _, protocol := range []struct {
		schemes, services, hosts []string
	}{
		{[]string{"imaps", "imap"}, []string{"imaps", "imap"}, []string{"imap.", "mail.", ""}},
		{[]string{"pop3s", "pop3"}, []string{"pop3s", "pop3"}, []string{"pop.", "pop3.", "mail.", ""}},
		{[]string{"smtps", "smtp"}, []string{"submissions", "submission"}, []string{"smtp.", "mail.", ""}},
	} {
		var guessed []string
		for i, service := range protocol.services {
			_, records, err := resolver.LookupSRV(ctx, service, "tcp", domain)
			if dns, ok := errors.AsType[*net.DNSError](err); ok && !dns.IsNotFound {
				unanswered = dns
			}
			offered := true
			for _, r := range records { // in their order
				host := strings.TrimSuffix(r.Target, ".")
				if host == "" { // RFC 6186, section 3.4
					offered = false
					continue
				}
				add(true, protocol.schemes[i], host, int(r.Port))
			}
			if offered {
				guessed = append(guessed, protocol.schemes[i])
			}
		}
		for _, scheme := range guessed {
			for _, host := range protocol.hosts {
				add(false, scheme, host+domain, 0)
			}
		}
	}
	return all, unanswered
}

// try checks all candidates at once, without signing in.
func (f *setupFlags) try(ctx context.Context, found []*candidate) error {
	var roots []byte
	if f.caFile != "" {
		var err error
		if roots, err = readCertificates(f.caFile); err != nil {
			return err
		}
	}
	var all sync.WaitGroup
	for _, c := range found {
		a := &account{URL: c.server.String(), Roots: roots, Timeout: time.Duration(f.timeout)}
		c.report = &checkReport{URL: a.label()}
		all.Go(func() { (&checking{account: a, report: c.report}).run(ctx) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return context.Canceled
	}
	return nil
}

// line says what a candidate turned out to be.
func (c *candidate) line() string {
	how := "at a usual name"
	if c.announced {
		how = "announced"
	}
	what := "answers"
	for _, s := range c.report.Steps {
		switch {
		case s.Error != "":
			what = s.Error
		case s.Name == dial.StepCapabilities:
			what, _, _ = strings.Cut(signInWays(s.Capabilities), ";")
		}
	}
	return fmt.Sprintf("%-45s  %-15s  %s", c.report.URL, how, what)
}

// foreign tells whether a host lies outside of a domain.
func foreign(host, domain string) bool {
	host = strings.ToLower(host)
	return host != domain && !strings.HasSuffix(host, "."+domain)
}

// confirm asks a question that must be answered with yes.
func confirm(ctx context.Context, question string) error {
	answer, err := ask(ctx, question, false)
	if errors.Is(err, errNoTerminal) {
		return errors.New("the server is in another domain than the address, and there is no terminal to ask whether that is right; " +
			"say --yes if it is")
	}
	if err == nil && !slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(answer))) {
		return errors.New("nothing was written")
	}
	return err
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// accountText is the table of an account for the configuration file.
func accountText(name string, server dial.Server, caFile string) string {
	key := name
	if !bareKey.MatchString(key) {
		key = tomlString(key)
	}
	scheme, host := server.Protocol, server.Host
	if server.ImplicitTLS {
		scheme += "s"
	}
	if usual, err := dial.ParseURL(scheme + "://" + host); err != nil || usual.Port != server.Port {
		host = net.JoinHostPort(host, strconv.Itoa(server.Port))
	}
	user := strings.ReplaceAll(url.PathEscape(server.User), "@", "%40")
	text := fmt.Sprintf("[account.%s]\nurl = %s\n", key, tomlString(scheme+"://"+user+"@"+host))
	if caFile != "" {
		if path, err := filepath.Abs(caFile); err == nil {
			caFile = path
		}
		text += fmt.Sprintf("ca_file = %s\n", tomlString(caFile))
	}
	return text
}

// tomlString is a basic string of TOML.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// shellWord quotes a word for a shell if it needs that.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

var plainWord = regexp.MustCompile(`^[\w.,:@%+=/-]+$`)

// errAlready: the account is there, and with the same server.
var errAlready = errors.New("the account is there already")

// add appends a table to the configuration file, which is replaced as a whole once the new one has proven to be good.
func (f *setupFlags) add(name, table string) (path string, err error) {
	if path = f.config; path == "" {
		path, err = configPath()
	} else {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", err
	}
	if target, err := filepath.EvalSymlinks(path); err == nil { // it stays a link
		path = target
	}
	var info os.FileInfo
	mode := os.FileMode(0o600)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", process.FileError(filepath.Dir(path), err)
		}
	case err != nil:
		return "", process.FileError(path, err)
	default:
		if info, err = os.Stat(path); err != nil {
			return "", process.FileError(path, err)
		}
		mode = info.Mode().Perm()
		if c, err := readConfiguration(path); err == nil {
			if there, err := c.account(name); err == nil {
				if strings.Contains(table, "\nurl = "+tomlString(there.URL)+"\n") {
					return path, errAlready
				}
				return "", fmt.Errorf("%s: there is an account %q already; choose another name with --name", path, name)
			}
		}
	}
	if len(text) > 0 {
		if !bytes.HasSuffix(text, []byte("\n")) {
			text = append(text, '\n')
		}
		text = append(text, '\n')
	}
	text = append(text, table...)
	next, err := os.CreateTemp(filepath.Dir(path), ".config-*.toml")
	if err != nil {
		return "", process.FileError(filepath.Dir(path), err)
	}
	defer os.Remove(next.Name()) // unless it has become the file
	_, err = next.Write(text)
	if old, ok := sysStat(info); ok && (int(old.Uid) != os.Geteuid() || int(old.Gid) != os.Getegid()) {
		err = errors.Join(err, next.Chown(int(old.Uid), int(old.Gid))) // before the mode: it is somebody else's then
	}
	err = errors.Join(err, next.Chmod(mode), next.Sync(), next.Close())
	if err != nil {
		return "", process.FileError(path, err)
	}
	if _, err := readConfiguration(next.Name()); err != nil {
		return "", errors.New("nothing was written: " + strings.ReplaceAll(err.Error(), next.Name(), path))
	}
	if err := os.Rename(next.Name(), path); err != nil {
		return "", process.FileError(path, err)
	}
	return path, nil
}

// sysStat is what the system knows of a file; none of one that was not there.
func sysStat(info os.FileInfo) (*syscall.Stat_t, bool) {
	if info == nil {
		return nil, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return stat, ok
}
