package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/secret"
	"github.com/mailfs/mailfs/remote/dial"
	"github.com/mailfs/mailfs/remote/imap"
	"github.com/mailfs/mailfs/remote/pop3"
	"github.com/mailfs/mailfs/remote/smtp"
)

// stepMail is the last step of the check of an SMTP server, after those of package dial.
const stepMail = "mail"

// expiryNotice is how long before a certificate expires check warns.
const expiryNotice = 14 * 24 * time.Hour

func newCheckCommand() *cobra.Command {
	f := config.NewFlags()
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check [flags] [URL|ACCOUNT...]",
		Short: "Test connections step by step (IMAP, POP3, SMTP)",
		Long: `Connects to a server and prints the result of each step: the host's addresses, the connection, TLS and the
certificate, the greeting, what the server can do, the login, the mailboxes. When a step fails, check says what that
means and what to try, and the exit status is 1. It mounts nothing, reads no mail and sends none.

ACCOUNT is an account of the configuration file. Without arguments, check tests all of them. URL is
imaps://, imap://, pop3s://, pop3://, smtps:// or smtp:// with [USER@]HOST[:PORT]; without USER check does not sign in.`,
		Example: "  mailfs check imaps://me%40example.org@mail.example.org\n" +
			"  mailfs check smtp://mail.example.org\n" +
			"  mailfs check --json work",
		RunE: func(cmd *cobra.Command, args []string) error {
			return check(cmd.Context(), cmd.OutOrStdout(), f, args, asJSON)
		},
	}
	f.AddConnection(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	cmd.ValidArgsFunction = completeAccounts(f)
	return cmd
}

// check checks accounts one after the other.
func check(ctx context.Context, out io.Writer, f *config.Flags, args []string, asJSON bool) error {
	accounts, err := f.Accounts(args)
	if err != nil {
		return err
	}
	var signing []config.Account
	for _, a := range accounts {
		if a.User != "" {
			signing = append(signing, a)
		}
	}
	// An account without a password fails at the step of the login. The steps before it are of use all the same.
	if err := secret.FillPasswords(ctx, signing, warn); err != nil && !errors.Is(err, secret.ErrNoPassword) {
		return err
	}
	reports, failed := []*checkReport{}, false
	for _, a := range accounts {
		if a.User != "" {
			a, signing = signing[0], signing[1:]
		}
		c := &checking{account: &a, report: &checkReport{Account: a.Name, URL: a.Label()}}
		if !asJSON {
			c.print = newCheckPrinter(out, &a)
		}
		c.run(ctx)
		if ctx.Err() != nil {
			return context.Canceled
		}
		reports = append(reports, c.report)
		failed = failed || !c.report.OK
	}
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		err = e.Encode(reports)
	}
	if err == nil && failed {
		err = &statusError{status: 1}
	}
	return err
}

// checking is the check of one account.
type checking struct {
	account *config.Account
	print   func(*checkStep) // prints a step that has ended; nil: nothing is printed before the report

	mu     sync.Mutex // guards what follows
	report *checkReport
	over   bool // the check has failed: steps that end later are not noted
}

// run connects as a mount does, and fills in the report.
func (c *checking) run(ctx context.Context) {
	server := secret.Server(c.account)
	server.Trace = c.trace
	if server.User == "" {
		server.Password, server.Token = func(context.Context) (string, error) { return "", errNobody }, nil
	}
	c.account.Connections = 1
	dialer := dial.New(server)
	var err error
	if server.Protocol == "smtp" {
		err = c.trySMTP(ctx, dialer)
	} else {
		err = c.tryMail(ctx, dialer)
	}
	if errors.Is(err, errNobody) {
		c.end(dial.StepLogin, func(s *checkStep) { s.Skipped = "the URL names no user" })
		err = nil
	}
	if err != nil {
		c.fail(err)
	}
	c.report.OK = err == nil
}

// errNobody ends a check before the login, when the URL names no user.
var errNobody = errors.New("nobody signs in")

// counter is an account that tells how many messages a mailbox holds without listing them. Both protocols do.
type counter interface {
	Count(ctx context.Context, mailbox string) (int, error)
}

var _, _ counter = (*imap.Account)(nil), (*pop3.Account)(nil)

// tryMail connects to an IMAP or POP3 server and lists its mailboxes.
func (c *checking) tryMail(ctx context.Context, dialer *dial.Dialer) error {
	r := open(c.account, dialer, slog.New(slog.DiscardHandler))
	defer r.Close()
	if err := r.Connect(ctx); err != nil {
		return err
	}
	c.begin(dial.StepMailboxes)
	boxes, err := r.Mailboxes(ctx)
	if err != nil {
		return err
	}
	var messages *int
	counter, counts := r.(counter)
	for _, b := range boxes {
		if counts && len(b.Path) == 1 && b.Path[0] == "INBOX" && b.Selectable {
			n, err := counter.Count(ctx, b.Name)
			if err != nil {
				return err
			}
			messages = &n
		}
	}
	c.end(dial.StepMailboxes, func(s *checkStep) { s.Mailboxes, s.Messages = len(boxes), messages })
	return nil
}

// trySMTP connects to an SMTP server and asks how large a message may be.
func (c *checking) trySMTP(ctx context.Context, dialer *dial.Dialer) error {
	limit, err := smtp.Try(ctx, dialer)
	if err != nil {
		return err
	}
	if dialer.Server.User == "" {
		c.begin(dial.StepLogin)
		c.end(dial.StepLogin, func(s *checkStep) { s.Skipped = "the URL names no user" })
	}
	c.begin(stepMail)
	c.end(stepMail, func(s *checkStep) { s.SizeLimit = limit })
	return nil
}

// trace notes a step of the connection. Only the first of several steps of a name counts: a server may send its capabilities
// twice, and a second connection has the same steps.
func (c *checking) trace(step dial.Step) {
	if !step.Done {
		c.begin(step.Name)
		return
	}
	c.end(step.Name, func(s *checkStep) {
		s.Addresses, s.Said, s.Capabilities, s.Mechanism = step.Addresses, step.Said, step.Capabilities, step.Mechanism
		for _, r := range step.Refused {
			s.Refused = append(s.Refused, fmt.Sprintf("%s (%q)", r.Mechanism, r.Said))
		}
		switch {
		case step.TLS != nil:
			s.TLS, s.Warning = describeTLS(step.TLS)
		case step.Name == dial.StepConnect && c.account.InTheClear():
			if server := c.account.Server(); !server.Loopback() {
				s.Warning = "without TLS anybody on the network can read mail and password"
			}
		}
	})
}

// step returns the step of a name; nil if that has not begun.
func (c *checking) step(name string) *checkStep {
	for _, s := range c.report.Steps {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// begin notes that a step has begun.
func (c *checking) begin(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over && c.step(name) == nil {
		c.report.Steps = append(c.report.Steps, &checkStep{Name: name, began: time.Now()})
	}
}

// end notes that a step has succeeded. fill adds its results.
func (c *checking) end(name string, fill func(*checkStep)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.step(name)
	if c.over || s == nil || s.took > 0 {
		return
	}
	s.OK = true
	s.stop()
	fill(s)
	if c.print != nil {
		c.print(s)
	}
}

// fail notes that the check has ended with an error. The error belongs to the step that has not ended, or else to the last step.
func (c *checking) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if len(c.report.Steps) == 0 { // the address can't even be tried
		c.report.Steps = append(c.report.Steps, &checkStep{Name: dial.StepConnect, began: time.Now()})
	}
	s := c.report.Steps[len(c.report.Steps)-1]
	if i := slices.IndexFunc(c.report.Steps, func(s *checkStep) bool { return !s.OK }); i >= 0 {
		s = c.report.Steps[i]
	}
	s.OK = false
	s.stop()
	failed := failed(c.account, err)
	failed.step = s.Name
	s.Error = oneLine(failed.explain())
	if c.print != nil {
		c.print(s)
	}
}
