package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/secret"
	"github.com/mailfs/mailfs/remote/dial"
)

// setupFlags are the flags of mailfs setup.
type setupFlags struct {
	config.Flags
	name, user  string
	dryRun, yes bool
}

func newSetupCommand() *cobra.Command {
	f := setupFlags{Flags: *config.NewFlags()}
	f.Timeout = config.Duration(10 * time.Second)
	cmd := &cobra.Command{
		Use:   "setup [flags] EMAIL",
		Short: "Find the servers of an address and write them into the configuration",
		Long: `Looks for the mail servers of an address: those that its domain announces (SRV records of RFC 6186), then those at
the usual names (imap.DOMAIN, mail.DOMAIN, ...). setup connects to them without signing in, prints what it found, and
adds the best server to the configuration file as an account. The rest of the file stays as it is.`,
		Example: "  mailfs setup me@example.org\n" +
			"  mailfs setup --name work --user me me@example.org",
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return setup(cmd.Context(), cmd.OutOrStdout(), net.DefaultResolver, &f, args[0])
		},
	}
	flags := cmd.Flags()
	f.Add(flags, "config")
	f.Add(flags, "ca-file")
	flags.StringVar(&f.name, "name", "", "`NAME` of the account (default: the domain's first word)")
	flags.StringVar(&f.user, "user", "", "`USER` name on the server (default: the address)")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "print what was found, write nothing")
	flags.BoolVarP(&f.yes, "yes", "y", false, "accept servers of another domain without asking")
	f.Add(flags, "timeout")
	flags.Lookup("timeout").Usage = "longest wait for each server"
	return cmd
}

// candidate is a server that may serve the mail of an address.
type candidate struct {
	server    dial.Server
	announced bool // the domain has an SRV record for it
	report    *checkReport
}

// setup finds the servers of an address and adds the best one to the configuration.
func setup(ctx context.Context, out io.Writer, resolver *net.Resolver, f *setupFlags, address string) error {
	at := strings.LastIndexByte(address, '@')
	if at < 1 || at == len(address)-1 || strings.ContainsAny(address, " \t\r\n\x00/:") {
		return config.WrongUsage("%q is not an address; write it as me@example.org", address)
	}
	domain, err := dial.ASCIIHost(strings.ToLower(strings.TrimSuffix(address[at+1:], ".")))
	if err != nil {
		return config.WrongUsage("%q has no domain name after its @", address)
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
			"ask your mail provider for its name, and test it with mailfs check imaps://HOST", domain)
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
		// Without DNSSEC an attacker on the network can announce another server (RFC 6186, section 6).
		if err := confirm(ctx, fmt.Sprintf("%s says that %s has its mail. Is that right? [y/N] ", domain, server.Host)); err != nil {
			return err
		}
	}
	table := config.AccountText(name, server, f.CAFile)
	if f.dryRun {
		fmt.Fprintf(out, "\nFor the configuration:\n\n%s", table)
		return nil
	}
	path, err := f.AddAccount(name, table)
	if errors.Is(err, config.ErrAlready) {
		fmt.Fprintf(out, "\n%s is in %s already, as the account %s.\n", address, path, name)
		return nil
	}
	if err != nil {
		return err
	}
	with := ""
	if f.Config != "" {
		with = "--config " + shellWord(path) + " "
	}
	fmt.Fprintf(out, "\n%s is now in %s, as:\n\n%s\nGo on with\n\n    mailfs login %s%s\n    mailfs mount %s~/mail\n", address, path, table,
		with, shellWord(name), with)
	return nil
}

// candidates lists servers that may serve the mail of a domain, the best first: IMAP before POP3, announced before guessed, TLS
// from the first byte before an upgrade (RFC 8314, section 3), then by priority and weight (RFC 2782). A service that the domain
// announces as not offered is not guessed. unanswered is the error of a name server that did not answer.
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
			for _, r := range records { // in the order of priority and weight
				host := strings.TrimSuffix(r.Target, ".")
				if host == "" { // the service is not offered (RFC 6186, section 3.4)
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
	if f.CAFile != "" {
		var err error
		if roots, err = config.ReadCertificates(f.CAFile); err != nil {
			return err
		}
	}
	var all sync.WaitGroup
	for _, c := range found {
		a := &config.Account{URL: c.server.String(), Roots: roots, Connection: config.Connection{Timeout: f.Timeout}}
		c.report = &checkReport{URL: a.Label()}
		all.Go(func() { (&checking{account: a, report: c.report}).run(ctx) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return context.Canceled
	}
	return nil
}

// line describes a candidate after it was tried.
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

// foreign tells whether a host is outside a domain.
func foreign(host, domain string) bool {
	host = strings.ToLower(host)
	return host != domain && !strings.HasSuffix(host, "."+domain)
}

// confirm asks the user a question. Any other answer than yes is an error.
func confirm(ctx context.Context, question string) error {
	answer, err := secret.Ask(ctx, question, false)
	if errors.Is(err, secret.ErrNoTerminal) {
		return errors.New("the server is in another domain than the address, and there is no terminal to ask whether that is right; " +
			"add --yes if it is")
	}
	if err == nil && !slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(answer))) {
		return errors.New("nothing was written")
	}
	return err
}

// shellWord quotes a word for a shell, if that is necessary.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

var plainWord = regexp.MustCompile(`^[\w.,:@%+=/-]+$`)
