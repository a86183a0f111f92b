package secret

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"golang.org/x/oauth2"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/remote"
)

// client turns the table oauth of an account into the configuration of package oauth2.
func client(o *config.OAuth) *oauth2.Config {
	return &oauth2.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret, Scopes: o.Scopes,
		Endpoint: oauth2.Endpoint{
			DeviceAuthURL: o.DeviceURL, AuthURL: o.AuthURL, TokenURL: o.TokenURL, AuthStyle: oauth2.AuthStyleInParams,
		},
	}
}

// oauthContext returns a context that makes package oauth2 use an HTTP client with the account's timeout. The client trusts the
// account's certificates beside the system's.
func oauthContext(ctx context.Context, a *config.Account) context.Context {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // a token is asked for once in an hour
	if a.Roots != nil {
		if roots, err := x509.SystemCertPool(); err == nil {
			roots.AppendCertsFromPEM(a.Roots)
			transport.TLSClientConfig.RootCAs = roots
		}
	}
	return context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: transport, Timeout: time.Duration(a.Timeout)})
}

// renew gets an access token for the refresh token in the keyring. The errors wrap remote.ErrLogin when the refresh token is
// void, and remote.ErrUnreachable when the provider can't be asked.
func renew(ctx context.Context, a *config.Account) (*oauth2.Token, error) {
	refresh, err := readKeyring(ctx, keyringRefresh, a.Label())
	switch {
	case errors.Is(err, errNotKept):
		return nil, fmt.Errorf("%w: not signed in; run mailfs login %s", remote.ErrLogin, a.Called())
	case err != nil:
		return nil, fmt.Errorf("%w: %w", remote.ErrLogin, err)
	}
	token, err := client(a.OAuth).TokenSource(oauthContext(ctx, a), &oauth2.Token{RefreshToken: refresh}).Token()
	if err != nil {
		return nil, notRenewed(ctx, a, err)
	}
	if token.RefreshToken != "" && token.RefreshToken != refresh { // some providers give a new one each time
		if err := writeKeyring(ctx, keyringRefresh, a.Label(), token.RefreshToken); err != nil {
			return nil, fmt.Errorf("%w: keeping the renewed token: %w", remote.ErrLogin, err)
		}
	}
	return token, nil
}

// notRenewed turns an error of renewing into remote.ErrLogin when the refresh token is void, and into remote.ErrUnreachable when
// the provider can't be asked.
func notRenewed(ctx context.Context, a *config.Account, err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case ok && refused.ErrorCode == "invalid_grant":
		return fmt.Errorf("%w: the sign-in has expired or was revoked; run mailfs login %s", remote.ErrLogin, a.Called())
	case ok && refused.ErrorCode != "":
		return fmt.Errorf("%w: %s", remote.ErrLogin, providerSays(a, err))
	}
	return fmt.Errorf("%w: %s", remote.ErrUnreachable, providerSays(a, err))
}

// providerSays turns an error of the OAuth provider into a line for people, without what the packages on the way have added.
func providerSays(a *config.Account, err error) string {
	where := a.OAuth.TokenURL
	asked, isNetwork := errors.AsType[*url.Error](err)
	if isNetwork {
		where, err = asked.URL, asked.Err
	}
	if u, e := url.Parse(where); e == nil {
		where = u.Host
	}
	where += " (the OAuth provider) "
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		switch {
		case refused.ErrorDescription != "":
			return fmt.Sprintf("%ssays %q", where, printable(refused.ErrorCode+": "+strings.TrimSpace(refused.ErrorDescription)))
		case refused.ErrorCode != "":
			return fmt.Sprintf("%ssays %q", where, printable(refused.ErrorCode))
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

// expiresSoon tells whether a token expires within a minute.
func expiresSoon(t *oauth2.Token) bool {
	return !t.Expiry.IsZero() && time.Until(t.Expiry) < time.Minute
}

// authorize has the user permit mailfs to read mail, in a browser, and returns the refresh token and the first access token. A
// device code (RFC 8628) is used where the provider has them.
func authorize(ctx context.Context, a *config.Account, out io.Writer) (refresh, access string, err error) {
	client := client(a.OAuth)
	var token *oauth2.Token
	if a.OAuth.DeviceURL != "" {
		token, err = deviceCode(ctx, a, out, client)
	} else {
		token, err = browser(ctx, a, out, client)
	}
	if err != nil {
		return "", "", err
	}
	if token.RefreshToken == "" {
		return "", "", fmt.Errorf("%s: the provider gave no refresh token, so nothing could be renewed; "+
			"check scopes in the configuration (Microsoft wants offline_access)", a.Called())
	}
	return token.RefreshToken, token.AccessToken, nil
}

// deviceCode has the user enter a code in a browser, on any machine, and waits until that is done (RFC 8628).
func deviceCode(ctx context.Context, a *config.Account, out io.Writer, client *oauth2.Config) (*oauth2.Token, error) {
	oauth := oauthContext(ctx, a)
	code, err := client.DeviceAuth(oauth)
	if err != nil {
		return nil, errors.New(providerSays(a, err))
	}
	fmt.Fprintf(out, "To sign in, open %s and enter the code %s\n", printable(code.VerificationURI), printable(code.UserCode))
	token, err := client.DeviceAccessToken(oauth, code)
	refused, isRefusal := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case err == nil:
		return token, nil
	case ctx.Err() != nil:
		return nil, context.Canceled
	case errors.Is(err, context.DeadlineExceeded), isRefusal && refused.ErrorCode == "expired_token":
		return nil, fmt.Errorf("%s: the code has expired; run mailfs login again", a.Called())
	case isRefusal && refused.ErrorCode == "access_denied":
		return nil, fmt.Errorf("%s: the sign-in was declined", a.Called())
	}
	return nil, errors.New(providerSays(a, err))
}

// printable returns a text of the provider without control characters: a terminal would act upon them.
func printable(text string) string {
	return strings.Join(strings.FieldsFunc(text, unicode.IsControl), " ")
}
