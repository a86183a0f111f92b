package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/remote/dial"
)

// usedCapabilities are the capabilities of IMAP and POP3 that mailfs uses after it has signed in.
var usedCapabilities = []string{
	"COMPRESS=DEFLATE", "CONDSTORE", "ESEARCH", "LIST-EXTENDED", "NAMESPACE", "PIPELINING", "QUOTA", "SPECIAL-USE", "TOP", "UIDL",
}

// checkReport is the result of checking one account.
type checkReport struct {
	Account string       `json:"account,omitempty"`
	URL     string       `json:"url"`
	OK      bool         `json:"ok"`
	Steps   []*checkStep `json:"steps"`
}

// checkStep is one step of a check.
type checkStep struct {
	Name         string    `json:"step"`
	OK           bool      `json:"ok"`
	Milliseconds float64   `json:"milliseconds"`
	Addresses    []string  `json:"addresses,omitempty"`
	Said         string    `json:"said,omitempty"` // the greeting
	TLS          *checkTLS `json:"tls,omitempty"`
	Capabilities []string  `json:"capabilities,omitempty"`
	Mechanism    string    `json:"mechanism,omitempty"` // of SASL, or USER of POP3
	Refused      []string  `json:"refused,omitempty"`   // the mechanisms that failed before, each with the server's words
	Skipped      string    `json:"skipped,omitempty"`   // why the step was not tried
	Mailboxes    int       `json:"mailboxes,omitempty"`
	Messages     *int      `json:"messages_in_inbox,omitempty"`
	SizeLimit    int64     `json:"size_limit,omitempty"` // of a message, in bytes; 0 if the server announces none
	Warning      string    `json:"warning,omitempty"`
	Error        string    `json:"error,omitempty"`
	began        time.Time
	took         time.Duration // 0 while the step is under way
}

// checkTLS describes a TLS connection.
type checkTLS struct {
	Version   string    `json:"version"`
	Cipher    string    `json:"cipher"`
	Issuer    string    `json:"issuer"`
	Names     []string  `json:"names"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// stop notes how long a step took.
func (s *checkStep) stop() {
	if s.took == 0 {
		s.took = max(time.Since(s.began), 1)
		s.Milliseconds = float64(s.took.Microseconds()) / 1000
	}
}

// describeTLS describes the TLS of a connection. The warning is that a certificate expires soon.
func describeTLS(state *tls.ConnectionState) (t *checkTLS, warning string) {
	leaf := state.PeerCertificates[0]
	issuer := leaf.Issuer.CommonName
	if len(leaf.Issuer.Organization) > 0 && leaf.Issuer.Organization[0] != issuer {
		issuer = strings.TrimSpace(leaf.Issuer.Organization[0] + " " + issuer)
	}
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	t = &checkTLS{
		Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite), Issuer: issuer, Names: names,
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
	}
	// The chain expires when the first of its certificates does.
	what, ends := "the certificate", leaf.NotAfter
	for _, c := range state.VerifiedChains[0] {
		if c.NotAfter.Before(ends) {
			what, ends = "the certificate of the authority "+c.Subject.CommonName, c.NotAfter
		}
	}
	if left := time.Until(ends); left < expiryNotice {
		warning = fmt.Sprintf("%s expires on %s, in %s; tell the server's administrator", what, ends.Local().Format(time.DateOnly),
			days(left))
	}
	return t, warning
}

// days writes a number of days.
func days(d time.Duration) string {
	switch n := int(d / (24 * time.Hour)); n {
	case 0:
		return "less than a day"
	case 1:
		return "a day"
	default:
		return strconv.Itoa(n) + " days"
	}
}

// newCheckPrinter prints a line that names the account, and returns a function that prints a step.
func newCheckPrinter(out io.Writer, a *config.Account) func(*checkStep) {
	colour := func(_, text string) string { return text }
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == "" &&
		os.Getenv("TERM") != "dumb" {
		colour = func(code, text string) string { return "\x1b[" + code + "m" + text + "\x1b[0m" }
	}
	if a.Name != "" {
		fmt.Fprintf(out, "%s, %s\n", a.Name, a.Label())
	} else {
		fmt.Fprintln(out, a.Label())
	}
	return func(s *checkStep) {
		var mark, text string
		switch {
		case s.Skipped != "":
			mark, text = "-     ", "not tried: "+s.Skipped
		case s.OK:
			mark, text = colour("32", "ok    "), s.text()
		default:
			mark, text = colour("31", "FAILED"), s.Error
		}
		fmt.Fprintf(out, "  %-12s  %s  %9s  %s\n", s.Name, mark, timeText(s.took), oneLine(text))
		if s.Warning != "" {
			fmt.Fprintf(out, "  %-12s  %s  %9s  %s\n", "", colour("33", "!     "), "", oneLine(s.Warning))
		}
	}
}

// timeText writes how long a step took.
func timeText(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1000)
	}
	return d.Round(10 * time.Millisecond).String()
}

// text describes the result of a step that has succeeded.
func (s *checkStep) text() string {
	switch s.Name {
	case dial.StepResolve, dial.StepConnect:
		return strings.Join(s.Addresses, ", ")
	case dial.StepTLS:
		return fmt.Sprintf("%s, certificate for %s by %s, until %s", s.TLS.Version, list(s.TLS.Names), s.TLS.Issuer,
			s.TLS.NotAfter.Local().Format(time.DateOnly))
	case dial.StepGreeting:
		return s.Said
	case dial.StepCapabilities:
		return signInWays(s.Capabilities)
	case dial.StepLogin:
		text := "with " + s.Mechanism
		if len(s.Refused) > 0 {
			text += "; the server refused " + strings.Join(s.Refused, ", ")
		}
		if used := used(s.Capabilities); len(used) > 0 {
			text += "; mailfs uses " + strings.Join(used, ", ")
		}
		return text
	case dial.StepMailboxes:
		text := count(s.Mailboxes, "mailbox", "mailboxes")
		if s.Messages != nil {
			text += ", " + count(*s.Messages, "message", "messages") + " in INBOX"
		}
		return text
	case stepMail:
		if s.SizeLimit > 0 {
			return fmt.Sprintf("messages of up to %s; no mail was sent", sizeText(s.SizeLimit))
		}
		return "no size limit announced; no mail was sent"
	}
	return ""
}

// list joins names, at most five of them.
func list(names []string) string {
	if len(names) > 5 {
		return fmt.Sprintf("%s and %d others", strings.Join(names[:5], ", "), len(names)-5)
	}
	return strings.Join(names, ", ")
}

// count writes a number of things, whose names in the singular and the plural are one and many.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// signInWays describes how one can sign in to a server with these capabilities, and which of the others mailfs uses.
func signInWays(capabilities []string) string {
	var ways []string
	for _, c := range capabilities {
		name, rest, _ := strings.Cut(c, " ")
		switch mechanism, isIMAP := strings.CutPrefix(name, "AUTH="); {
		case isIMAP:
			ways = append(ways, mechanism)
		case name == "SASL", name == "AUTH":
			ways = append(ways, strings.Fields(rest)...)
		case name == "USER":
			ways = append(ways, name)
		}
	}
	text := "no sign-in mechanism announced"
	if len(ways) > 0 {
		text = "sign-in with " + strings.Join(ways, ", ")
	}
	if used := used(capabilities); len(used) > 0 {
		text += "; mailfs uses " + strings.Join(used, ", ")
	}
	return text
}

// used returns those of some capabilities that mailfs uses.
func used(capabilities []string) []string {
	var used []string
	for _, c := range capabilities {
		if name, _, _ := strings.Cut(c, " "); slices.Contains(usedCapabilities, name) {
			used = append(used, name)
		}
	}
	return used
}
