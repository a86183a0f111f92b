package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/mailfs/mailfs/remote"
)

// Classify returns an error of the network or of TLS wrapped in the error of package remote that says what it means for
// mail. Errors that wrap one of [remote.Errors], and a cancelled context, stay as they are.
func Classify(err error) error {
	var (
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
		invalid     x509.CertificateInvalidError
		record      tls.RecordHeaderError
		alert       tls.AlertError
		timeout     net.Error
	)
	switch {
	case err == nil:
		return nil
	case known(err):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %w", remote.ErrTimeout, err)
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid),
		errors.As(err, &record), errors.As(err, &alert):
		return fmt.Errorf("%w: %w", remote.ErrCertificate, err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: %w", remote.ErrTimeout, err)
	default:
		return fmt.Errorf("%w: %w", remote.ErrUnreachable, err)
	}
}

// known tells whether an error wraps one of [remote.Errors].
func known(err error) bool {
	return slices.ContainsFunc(remote.Errors(), func(kind error) bool { return errors.Is(err, kind) })
}
