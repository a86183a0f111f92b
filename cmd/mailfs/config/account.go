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

// Account says how to reach one account and what mailfs keeps of it. The fields with a name in TOML are the keys of its table
// [account.NAME] in the configuration file.
type Account struct {
	Name string `toml:"-"` // in the configuration; empty for an account that was given as a URL
	URL  string `toml:"url"`
	User string `toml:"-"` // from the URL, or typed by the user
	Connection
	OAuth    *OAuth         `toml:"oauth"` // nil: the account does not use OAuth
	Prefetch cache.Prefetch `toml:"prefetch"`
	Keep     bool           `toml:"keep"` // keep messages that the POP3 server has dropped

	Roots []byte `toml:"-"` // content of CAFile; nil trusts the system's certificates
	Store string `toml:"-"` // directory of the account's cache; empty: nothing is kept on disk

	HasPassword bool   `toml:"-"` // Password is set, from the environment or from the terminal
	Password    []byte `toml:"-"`
}

// OAuth is the table [account.NAME.oauth]: how mailfs introduces itself to the provider, and the provider's addresses.
type OAuth struct {
	ClientID     string   `toml:"client_id"`
	ClientSecret string   `toml:"client_secret"` // some providers ask for it, though a program on users' machines can't keep it secret
	DeviceURL    string   `toml:"device_url"`
	AuthURL      string   `toml:"auth_url"`
	TokenURL     string   `toml:"token_url"`
	Scopes       []string `toml:"scopes"`
}

// check returns an error if a key is missing, or if a URL would send tokens in the clear.
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
			return fmt.Errorf("%q in oauth: it must be https://: a token is worth as much as a password", raw)
		}
	}
	return nil
}

// InTheClear tells whether the account does without TLS.
func (a *Account) InTheClear() bool { return a.TLS == "off" }

// SetPassword gives the account a password; neither the keyring nor the user is asked then.
func (a *Account) SetPassword(p string) { a.HasPassword, a.Password = true, []byte(p) }

// Label is the account's URL, reduced to server and user. It is the same whatever the account is called, and names the account in
// questions, in the keyring and in the cache.
func (a *Account) Label() string {
	s := a.Server()
	return s.String()
}

// Called is the account's name on a command line, or its label if it has none.
func (a *Account) Called() string {
	if a.Name != "" {
		return a.Name
	}
	return a.Label()
}

// Server returns the account's server for package remote/dial, without a way to sign in; secret.Server adds that. The URL must
// have been checked.
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

// storeName returns the name of the directory of the account's cache. It is readable, and differs for each server and user.
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

// account completes a table of the configuration with the options. An option that the command line has set replaces the value in
// the table; any other option fills in where the table has no value.
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
				return Account{}, err // never: Set reads what String writes
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

// ReadCertificates reads a PEM file and makes sure that there is a certificate in it.
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

// Accounts returns the accounts that the arguments name, by URL or by name in the configuration. Without arguments it returns all
// accounts of the configuration.
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

// IsURL tells whether an argument is a URL, also a misspelt one, and not the name of an account or of a directory.
func IsURL(arg string) bool {
	return strings.Contains(arg, "://") || misspeltURL.MatchString(arg)
}

// misspeltURL matches a URL without its slashes.
var misspeltURL = regexp.MustCompile(`^(?i)(imap|pop3|smtp)s?:`)
