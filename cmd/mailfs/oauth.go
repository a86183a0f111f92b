package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
)

// oauthTable is the table [account.NAME.oauth]: who mailfs is to the provider, and where that is asked.
type oauthTable struct {
	ClientID     string   `toml:"client_id"`
	ClientSecret string   `toml:"client_secret"` // no secret in a program that people run; some providers want it sent
	DeviceURL    string   `toml:"device_url"`
	AuthURL      string   `toml:"auth_url"`
	TokenURL     string   `toml:"token_url"`
	Scopes       []string `toml:"scopes"`
}

// check refuses what can't work, and addresses that would send tokens in the clear.
func (o *oauthTable) check() error {
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

func (o *oauthTable) config() *oauth2.Config {
	return &oauth2.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret, Scopes: o.Scopes,
		Endpoint: oauth2.Endpoint{
			DeviceAuthURL: o.DeviceURL, AuthURL: o.AuthURL, TokenURL: o.TokenURL, AuthStyle: oauth2.AuthStyleInParams,
		},
	}
}

// oauthContext makes package oauth2 use a client that ends within a time and trusts the account's certificates beside
// the system's.
func (a *account) oauthContext(ctx context.Context) context.Context {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // a token is asked for once in an hour
	if a.Roots != nil {
		if roots, err := x509.SystemCertPool(); err == nil {
			roots.AppendCertsFromPEM(a.Roots)
			transport.TLSClientConfig.RootCAs = roots
		}
	}
	return context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: transport, Timeout: a.Timeout})
}

// renew gets an access token for the refresh token in the keyring. Its errors wrap remote.ErrLogin when that is void,
// and remote.ErrUnreachable when the provider can't be asked.
func (a *account) renew(ctx context.Context) (*oauth2.Token, error) {
	refresh, err := readKeyring(ctx, keyringRefresh, a.label())
	switch {
	case errors.Is(err, errNotKept):
		return nil, fmt.Errorf("%w: not signed in; run mailfs login %s", remote.ErrLogin, a.called())
	case err != nil:
		return nil, fmt.Errorf("%w: %w", remote.ErrLogin, err)
	}
	token, err := a.OAuth.config().TokenSource(a.oauthContext(ctx), &oauth2.Token{RefreshToken: refresh}).Token()
	if err != nil {
		return nil, a.notRenewed(ctx, err)
	}
	if token.RefreshToken != "" && token.RefreshToken != refresh { // some providers give a new one each time
		if err := writeKeyring(ctx, keyringRefresh, a.label(), token.RefreshToken); err != nil {
			return nil, fmt.Errorf("%w: keeping the renewed token: %w", remote.ErrLogin, err)
		}
	}
	return token, nil
}

// notRenewed tells a void refresh token from a provider that can't be asked now.
func (a *account) notRenewed(ctx context.Context, err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case ok && refused.ErrorCode == "invalid_grant":
		return fmt.Errorf("%w: the sign-in has expired or was revoked; run mailfs login %s", remote.ErrLogin, a.called())
	case ok && refused.ErrorCode != "":
		return fmt.Errorf("%w: %s", remote.ErrLogin, a.providerSays(err))
	}
	return fmt.Errorf("%w: %s", remote.ErrUnreachable, a.providerSays(err))
}

// providerSays puts an error of the provider of tokens into a line, without the long way on which it came.
func (a *account) providerSays(err error) string {
	where := a.OAuth.TokenURL
	asked, isNetwork := errors.AsType[*url.Error](err)
	if isNetwork {
		where, err = asked.URL, asked.Err
	}
	if u, e := url.Parse(where); e == nil {
		where = u.Host
	}
	where += ", which gives tokens, "
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		switch {
		case refused.ErrorDescription != "":
			return fmt.Sprintf("%ssays %q", where, oneLine(refused.ErrorCode+": "+strings.TrimSpace(refused.ErrorDescription)))
		case refused.ErrorCode != "":
			return fmt.Sprintf("%ssays %q", where, oneLine(refused.ErrorCode))
		}
		return fmt.Sprintf("%ssays %q; check the addresses in the table oauth", where, refused.Response.Status)
	}
	dns, isLookup := errors.AsType[*net.DNSError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	switch {
	case !isNetwork:
		return where + "gives an answer that can't be understood; check the addresses in the table oauth"
	case asked.Timeout():
		return where + "does not answer within " + a.Timeout.String()
	case isLookup && dns.IsNotFound:
		return where + "is an unknown host; check the addresses in the table oauth"
	case isOp:
		err = op.Err
	}
	return fmt.Sprintf("%scan't be reached: %s", where, strings.TrimPrefix(err.Error(), "tls: "))
}

// expiresSoon tells whether a token is not worth being tried any more.
func expiresSoon(t *oauth2.Token) bool {
	return !t.Expiry.IsZero() && time.Until(t.Expiry) < time.Minute
}
