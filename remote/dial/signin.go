package dial

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/emersion/go-sasl"

	"github.com/mailfs/mailfs/remote"
)

// Offer is what a server takes for signing in.
type Offer struct {
	// Mechanisms are those of SASL that the server announces.
	Mechanisms []string
	// Own is the protocol's own command for user and password; empty if the server does not take it.
	Own string
	// OwnUnannounced says that the server has not announced Own. It is tried only after a mechanism of the server failed.
	OwnUnannounced bool
}

// SignIn is a way to sign in, ready to be carried out by a protocol.
type SignIn struct {
	// Mechanism is the name of a SASL mechanism, or of the protocol's own command.
	Mechanism string
	// Client carries out the SASL mechanism. It is nil for the protocol's own command, which takes User and Secret.
	Client sasl.Client
	User   string
	Secret string // the password or the token
	// Refused are the mechanisms that the server could not carry out before this one.
	Refused []Refused
}

// Refused is a mechanism that a server offers and can't carry out.
type Refused struct {
	Mechanism string
	Said      string // by the server, without the password; or what was wrong with its answer
}

// way is a mechanism of SASL or, with own, the command of the protocol: IMAP has a LOGIN of both kinds.
type way struct {
	mechanism string
	own       bool
}

// scram tells whether the way is SCRAM.
func (w way) scram() bool { return !w.own && scramHashes[w.mechanism] != nil }

// hides tells whether the way proves the password without showing it.
func (w way) hides() bool { return w.scram() || !w.own && w.mechanism == cramMD5 }

// maxProofs is how many mechanisms may give the server a proof of the password in one sign-in. A server that refuses a wrong
// password in words that seem to be about the mechanism must not be led to lock the account.
const maxProofs = 3

// tries is what one sign-in has tried, on one connection or several.
type tries struct {
	asked   bool   // Password or Token was called, and gave secret
	secret  string // the password or the token
	failed  []way  // the server could not carry these out
	refused []Refused
	proofs  int  // of the mechanisms in failed, those by which the server can have found the password wrong
	hides   bool // the server has offered a mechanism that does not show the password
}

// triesKey is the key of the *tries in the context that Connect gives to signIn.
type triesKey struct{}

// another asks for another connection, since the server has ended this one over a mechanism, or left it in disorder.
type another struct{ error }

func (e another) Unwrap() error { return e.error }

// Another tells whether err asks [Connect] for another connection. signIn has to return it as it is.
func Another(err error) bool {
	_, is := errors.AsType[another](err)
	return is
}

// SignIn calls Password or Token, and has try sign in by the best way that the server offers. Where try returns a
// [MechanismError], SignIn goes on with the next way; another error of try is returned as it is. ctx is the one that
// [Connect] has given to its signIn.
//
// Over TLS the password itself is sent first, since every server can check that, in whatever form it stores passwords.
// Without TLS a mechanism that does not show the password comes first. Where the server offers one, no other is tried: an
// attacker in between could make it fail. Only on a loopback address nobody is in between. The errors wrap one of
// [remote.Errors]: remote.ErrLogin, unless Password, Token or try return another.
func (d *Dialer) SignIn(ctx context.Context, o Offer, try func(*SignIn) error) (*SignIn, error) {
	s := &d.Server
	t, ok := ctx.Value(triesKey{}).(*tries)
	if !ok {
		t = &tries{}
	}
	ways, withheld := d.ways(o, t)
	if s.Password == nil && s.Token == nil {
		return nil, fmt.Errorf("%w: there is no password", remote.ErrLogin)
	}
	switch {
	case len(ways) == 0 && withheld:
		return nil, fmt.Errorf("%w%s", s.noWay(o), unshown)
	case len(ways) == 0:
		return nil, s.noWay(o)
	}
	if err := t.ask(ctx, s); err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		w := ways[0]
		in := &SignIn{Mechanism: w.mechanism, User: s.User, Secret: t.secret, Refused: t.refused}
		if !w.own {
			client, err := s.client(w.mechanism, t.secret)
			if err != nil {
				return nil, err
			}
			in.Client = client
		}
		err := try(in)
		no, unable := errors.AsType[*MechanismError](err)
		if !unable {
			switch {
			case err == nil:
				d.remember(w, t.failed)
			case !first && lost(err): // the server may have ended the connection over the way before
				err = another{err}
			}
			return in, err
		}
		if t.failed = append(t.failed, w); in.proofGiven() && !no.Certain {
			t.proofs++
		}
		t.refused = append(t.refused, Refused{w.mechanism, no.Said})
		if ways = t.left(ways[1:]); len(ways) == 0 {
			return nil, noWayLeft(no, t.refused, withheld)
		}
		if no.Ended {
			return nil, another{no}
		}
	}
}

// ask asks for the secret, once.
func (t *tries) ask(ctx context.Context, s *Server) error {
	if t.asked {
		return nil
	}
	ask := s.Password
	if s.Token != nil {
		ask = s.Token
	}
	secret, err := ask(ctx)
	switch {
	case known(err): // also ErrTimeout, where a command for the password was too slow: the error says so
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", remote.ErrLogin, err)
	}
	t.asked, t.secret = true, secret
	return nil
}

// left returns which of some ways may still be tried. The last proof that is allowed is given with the protocol's own
// command, where there is one: that is what such servers know best.
func (t *tries) left(ways []way) []way {
	switch own := slices.IndexFunc(ways, func(w way) bool { return w.own }); {
	case t.proofs >= maxProofs:
		return nil
	case t.proofs == maxProofs-1 && own >= 0:
		return ways[own : own+1]
	}
	return ways
}

// ways returns how to sign in, the best first, without what has failed in t. What failed on other connections of the
// account comes last. withheld says that others would show the password to the network.
func (d *Dialer) ways(o Offer, t *tries) (ways []way, withheld bool) {
	s := &d.Server
	own := way{o.Own, true}
	all := []way{{sasl.Plain, false}, {scramSHA256, false}, {scramSHA1, false}, own, {sasl.Login, false}, {cramMD5, false}}
	switch {
	case s.Token != nil:
		all = []way{{sasl.OAuthBearer, false}, {xoauth2, false}}
	case s.InTheClear:
		all = []way{{scramSHA256, false}, {scramSHA1, false}, {cramMD5, false}, {sasl.Plain, false}, own, {sasl.Login, false}}
	}
	for _, w := range all {
		switch {
		case w.own && (w.mechanism == "" || o.OwnUnannounced):
		case w.own, slices.ContainsFunc(o.Mechanisms, func(m string) bool { return strings.EqualFold(m, w.mechanism) }):
			ways = append(ways, w)
		}
	}
	if o.OwnUnannounced && len(ways) > 0 && s.Token == nil {
		ways = append(ways, own)
	}
	t.hides = t.hides || slices.ContainsFunc(ways, way.hides)
	if s.InTheClear && !s.Loopback() && t.hides {
		n := len(ways)
		ways = slices.DeleteFunc(ways, func(w way) bool { return !w.hides() })
		withheld = len(ways) < n
	}
	ways = slices.DeleteFunc(ways, func(w way) bool { return slices.Contains(t.failed, w) })
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.SortStableFunc(ways, func(a, b way) int {
		switch {
		case d.unable[a] == d.unable[b]:
			return 0
		case d.unable[a]:
			return 1
		}
		return -1
	})
	return t.left(ways), withheld
}

// lost tells whether err is the end of a connection.
func lost(err error) bool {
	return slices.ContainsFunc([]error{remote.ErrLost, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE},
		func(end error) bool { return errors.Is(err, end) })
}

// remember notes what a sign-in with a way has shown of the ways that were tried before.
func (d *Dialer) remember(worked way, failed []way) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unable == nil {
		d.unable = map[way]bool{}
	}
	for _, w := range failed {
		d.unable[w] = true
	}
	maps.DeleteFunc(d.unable, func(w way, _ bool) bool { return w == worked })
}

// noWay says that the server offers nothing that mailfs can do.
func (s *Server) noWay(o Offer) error {
	what := "a password"
	if s.Token != nil {
		what = "a token"
	}
	offers := "nothing else"
	if len(o.Mechanisms) > 0 {
		offers = "only " + strings.Join(o.Mechanisms, ", ")
	}
	return fmt.Errorf("%w: the server takes no sign-in with %s here, it offers %s", remote.ErrLogin, what, offers)
}

// noWayLeft is the error where the last mechanism has failed. refused are all that have.
func noWayLeft(last *MechanismError, refused []Refused, withheld bool) error {
	err := last.Err
	var all []string
	for _, r := range refused {
		all = append(all, fmt.Sprintf("%s (%q)", r.Mechanism, r.Said))
	}
	switch others := all[:len(all)-1]; {
	case errors.Is(err, remote.ErrLogin) && (last.Certain || withheld):
		err = fmt.Errorf("%w: the server can't carry out %s", remote.ErrLogin, strings.Join(all, ", "))
	case len(others) > 0:
		err = fmt.Errorf("%w, and before that could not carry out %s", err, strings.Join(others, ", "))
	}
	if withheld {
		err = fmt.Errorf("%w%s", err, unshown)
	}
	return err
}

// unshown says, behind why no way is left, that there are others.
const unshown = "; without TLS mailfs does not send the password to a server that offers to do without it"

// Redact replaces the password and the token in a server's answer: some servers repeat the command that they refuse.
func (in *SignIn) Redact(said string) string {
	if in.Secret == "" {
		return said
	}
	encode := base64.StdEncoding.EncodeToString
	secrets := []string{encode([]byte("\x00" + in.User + "\x00" + in.Secret))}
	if bearer := in.bearer(); bearer != nil {
		secrets = append(secrets, encode(bearer.response()))
	}
	for _, secret := range append(secrets, encode([]byte(in.Secret)), in.Secret) {
		said = strings.ReplaceAll(said, secret, "***")
	}
	return said
}

// proof returns the client of a mechanism of SASL; nil for the protocol's own command.
func (in *SignIn) proof() *proofClient {
	c, _ := in.Client.(*proofClient)
	return c
}

// bearer returns the client of OAUTHBEARER or XOAUTH2; nil for another mechanism.
func (in *SignIn) bearer() *bearerClient {
	if c := in.proof(); c != nil {
		bearer, _ := c.Client.(*bearerClient)
		return bearer
	}
	return nil
}

// proofGiven tells whether the server can have found the password wrong.
func (in *SignIn) proofGiven() bool {
	c := in.proof()
	return c == nil || c.proofGiven()
}
