package config

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
	"github.com/mailfs/mailfs/remote/dial"
)

// Account says how to reach one account and what is kept of it. What has a name of TOML may stand in its table
// [account.NAME]; the rest comes of that, of the options, and of questions.
type Account struct {
	Name string `toml:"-"` // in the configuration; empty for an account that was given as a URL
	URL  string `toml:"url"`
	User string `toml:"-"` // of the URL, or the answer to a question
	Connection
	OAuth    *OAuth         `toml:"oauth"` // nil: the account signs in without
	Prefetch cache.Prefetch `toml:"prefetch"`
	Keep     bool           `toml:"keep"` // messages that a POP3 server drops

	Roots []byte `toml:"-"` // content of CAFile; nil trusts the system's certificates
	Store string `toml:"-"` // directory of its cache; empty: nothing is kept on disk

	HasPassword bool   `toml:"-"` // Password is from the environment or from a question
	Password    []byte `toml:"-"`
}

// OAuth is the table [account.NAME.oauth]: who mailfs is to the provider, and where tokens are asked for.
type OAuth struct {
	ClientID     string   `toml:"client_id"`
	ClientSecret string   `toml:"client_secret"` // no secret in a program that people run; some providers want it sent
	DeviceURL    string   `toml:"device_url"`
	AuthURL      string   `toml:"auth_url"`
	TokenURL     string   `toml:"token_url"`
	Scopes       []string `toml:"scopes"`
}

// check refuses what can't work, and addresses that would send tokens in the clear.
func (o *OAuth) check() error {
	switch {
	case o.ClientID == "":
		return errors.New("client_id is missing in oauth")
	case o.TokenURL == "":
		return errors.New("token_url is missing in oauth")
	case o.DeviceURL == "" && o.AuthURL == "":
		return errors.New("device_url is missing in oauth (or auth_url, for a provider without device codes)")
	}
	for _, raw := range []string{o.DeviceURL, o.AuthURL, o.TokenURL} {
		if raw == "" {
			continue
		}
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" {
			return fmt.Errorf("%q in oauth is not a URL", raw)
		}
		local := dial.Server{Host: u.Hostname()}
		if u.Scheme != "https" && !(u.Scheme == "http" && local.Loopback()) {
			return fmt.Errorf("%q in oauth: it must be https://, tokens are worth as much as passwords", raw)
		}
	}
	return nil
}

// InTheClear tells whether the account does without TLS.
func (a *Account) InTheClear() bool { return a.TLS == "off" }

// SetPassword gives the account a password that is asked of nobody any more.
func (a *Account) SetPassword(p string) { a.HasPassword, a.Password = true, []byte(p) }

// Label says whose mail the account is, whatever it is called: its URL with server and user only. It names the account in
// questions, in the keyring and in the cache.
func (a *Account) Label() string {
	s := a.Server()
	return s.String()
}

// Called is what the account is called on a command line: its name or its label.
func (a *Account) Called() string {
	if a.Name != "" {
		return a.Name
	}
	return a.Label()
}

// Server is the account in the words of package remote, without a way to sign in. The URL must have been checked.
func (a *Account) Server() dial.Server {
	s, err := dial.ParseURL(a.URL)
	if err != nil {
		panic("an account with a URL that was not checked: " + err.Error())
	}
	s.User, s.InTheClear, s.Timeout = a.User, a.InTheClear(), time.Duration(a.Timeout)
	if a.Roots != nil {
		s.RootCAs = x509.NewCertPool()
		s.RootCAs.AppendCertsFromPEM(a.Roots)
	}
	return s
}

// storeName is the name of the directory of the account's store: readable, and another one for each server and user.
func (a *Account) storeName() string {
	s := a.Server()
	readable := strings.Map(func(r rune) rune {
		if r < 0x80 && strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-@", r) {
			return r
		}
		return '-'
	}, s.User+"@"+s.Host)
	if len(readable) > 100 {
		readable = readable[:100]
	}
	return fmt.Sprintf("%s-%s-%x", s.Protocol, readable, sha256.Sum256([]byte(a.Label())))[:len(s.Protocol)+1+len(readable)+1+12]
}

// account is what the options and a table of the configuration say together: a flag that was given beats the table; one that
// was not only stands in for what the table leaves out.
func (f *Flags) account(table Account) (Account, error) {
	server, err := dial.ParseURL(table.URL)
	if err != nil {
		return Account{}, err
	}
	a := table
	a.User = server.User
	if a.Keep && server.Protocol != "pop3" {
		return Account{}, errors.New("keep is for POP3, whose servers drop mail; IMAP servers hold it")
	}
	given := f.given("password-command") || f.given("token-command")
	if given || a.PasswordCommand == "" && a.TokenCommand == "" && a.OAuth == nil {
		a.PasswordCommand, a.TokenCommand, a.OAuth = f.PasswordCommand, f.TokenCommand, nil
	}
	said, unsaid := Options{Connection: a.Connection}, Options{}
	for _, o := range declared {
		if o.places&inAccount == 0 {
			continue
		}
		field := o.value(&said)
		if f.given(o.name) || field.String() == o.value(&unsaid).String() {
			if err := field.Set(o.value(&f.Options).String()); err != nil {
				return Account{}, err // Set reads what String writes
			}
		}
	}
	a.Connection = said.Connection
	if a.CAFile != "" {
		if a.Roots, err = ReadCertificates(a.CAFile); err != nil {
			return Account{}, err
		}
	}
	return a, nil
}

// ReadCertificates reads a file of certificates and makes sure that there is one in it.
func ReadCertificates(path string) ([]byte, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, process.FileError(path, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: there is no certificate in it (PEM, -----BEGIN CERTIFICATE-----)", path)
	}
	return pem, nil
}

// Accounts returns the accounts that arguments name: by URL, or by their names in the configuration. Without arguments
// these are all of the configuration.
func (f *Flags) Accounts(args []string) ([]Account, error) {
	var tables []Account
	var c *file
	read := func() (err error) {
		if c == nil {
			if c, err = f.file(); err == nil {
				err = c.apply(f)
			}
		}
		return err
	}
	for _, arg := range args {
		if IsURL(arg) {
			tables = append(tables, Account{URL: arg})
			continue
		}
		if err := read(); err != nil {
			return nil, err
		}
		table, err := c.account(arg)
		if err != nil {
			return nil, err
		}
		tables = append(tables, table)
	}
	if len(args) == 0 {
		if err := read(); err != nil {
			return nil, err
		}
		tables = c.accounts
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := f.oneCommand(len(tables)); err != nil {
		return nil, err
	}
	var accounts []Account
	for _, t := range tables {
		a, err := f.account(t)
		if err != nil && t.Name != "" {
			return nil, fmt.Errorf("account %q: %w", t.Name, err)
		} else if err != nil {
			return nil, err
		}
		accounts = append(accounts, a)
	}
	return accounts, nil
}

// IsURL tells a URL, also one that was written in haste, from the name of an account or of a directory.
func IsURL(arg string) bool {
	return strings.Contains(arg, "://") || hastyURL.MatchString(arg)
}

var hastyURL = regexp.MustCompile(`^(?i)(imap|pop3|smtp)s?:`)
