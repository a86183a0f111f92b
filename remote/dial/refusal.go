package dial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"

	"github.com/mailfs/mailfs/remote"
)

// MechanismError says that the server can't carry out a mechanism although it offers it. Another mechanism may do.
type MechanismError struct {
	Said    string // by the server, without the password; or what was wrong with its answer
	Err     error  // what the sign-in ends with where no other mechanism is left; it wraps one of [remote.Errors]
	Ended   bool   // the connection can't be used for another mechanism
	Certain bool   // the server has not looked at the password
}

func (e *MechanismError) Error() string { return e.Err.Error() }
func (e *MechanismError) Unwrap() error { return e.Err }

// Unable returns the error for a server that refuses the mechanism in the words of said. certain says that the server has not
// looked at the password.
func (in *SignIn) Unable(said string, certain bool) error {
	said = remote.Shorten(in.Redact(said))
	return &MechanismError{Said: said, Err: fmt.Errorf("%w: the server says %q", remote.ErrLogin, said),
		Certain: certain || !in.proofGiven()}
}

// Nonsense returns the error for a challenge that is none of the mechanism. ended: the connection can't be used for another
// mechanism. An err that wraps ErrLogin is returned as it is.
func (in *SignIn) Nonsense(err error, ended bool) error {
	if errors.Is(err, remote.ErrLogin) {
		return err
	}
	said := remote.Shorten(in.Redact(err.Error()))
	err = fmt.Errorf("%w: in the sign-in with %s: %s", remote.ErrServer, in.Mechanism, said)
	if bearer := in.bearer(); bearer != nil && bearer.refused { // the token, not the mechanism
		return err
	}
	return &MechanismError{Said: said, Err: err, Ended: ended, Certain: !in.proofGiven()}
}

// Failed tells whether the mechanism could not go on with what the server said.
func (in *SignIn) Failed() bool {
	c := in.proof()
	return c != nil && c.err != nil
}

// Broken returns the error for a connection that err has ended in the middle of the sign-in. It may have been the mechanism
// where the server has not got a proof of the password yet. Some servers end the connection over a proof of SCRAM that they
// can't verify; with the other mechanisms that may mean a wrong password.
func (in *SignIn) Broken(err error) error {
	c := in.proof()
	if c == nil || c.proofGiven() && !(way{mechanism: in.Mechanism}).scram() ||
		slices.ContainsFunc([]error{remote.ErrTimeout, remote.ErrLogin, remote.ErrClosed, context.Canceled, context.DeadlineExceeded},
			func(other error) bool { return errors.Is(err, other) }) {
		return err
	}
	return &MechanismError{Said: remote.Shorten(in.Redact(err.Error())), Err: err, Ended: true, Certain: !c.proofGiven()}
}

// The words by which a refusal is known to be one of the mechanism. Those of vague are no sign beside one of personal.
var (
	direct   = []string{"mechanism", "unsupported", "not supported", "unrecognised", "unrecognized", "not implemented", "unimplemented"}
	vague    = []string{"unknown", "authenticate", "disabled"}
	personal = []string{"user", "password", "passwd", "credential", "account", "mailbox"}
)

// AboutMechanism tells whether the words of a refusal are about the mechanism, and not about user and password. certain: there
// is no doubt.
func (in *SignIn) AboutMechanism(said string) (about, certain bool) {
	if bearer := in.bearer(); bearer != nil && bearer.refused {
		return false, false
	}
	said = strings.ToLower(in.Redact(said))
	has := func(words []string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(said, w) })
	}
	switch {
	case has(direct):
		return true, !has(personal)
	case has(personal):
		return false, false
	case in.Client == nil: // "LOGIN failed" names the command, and means the password
		return strings.Contains(said, "unknown") || strings.Contains(said, "disabled"), false
	}
	return has(vague) || in.named(said), false
}

// named tells whether a text in lower case names the mechanism. LOGIN is also an ordinary word.
func (in *SignIn) named(said string) bool {
	words := strings.FieldsFunc(said, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
	return in.Mechanism != sasl.Login && slices.Contains(words, strings.ToLower(in.Mechanism))
}
