package imap

import (
	"context"
	"errors"
	"fmt"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailfs/mailfs/remote"
)

// Quota implements remote.Account with the STORAGE resource of INBOX (RFC 9208, section 5.1).
func (a *Account) Quota(ctx context.Context) (used, limit int64, err error) {
	var roots []imapclient.QuotaData
	err = a.pool.use(ctx, &request{lane: listing, single: true}, func(s *session) error {
		if !s.caps.Has(goimap.CapQuota) {
			return fmt.Errorf("%w: QUOTA", remote.ErrUnsupported)
		}
		data, err := s.client.GetQuotaRoot("INBOX").Wait()
		if no, ok := errors.AsType[*goimap.Error](err); ok {
			return fmt.Errorf("%w: QUOTA: the server says %q", remote.ErrUnsupported, remote.Shorten(no.Text))
		}
		roots = data
		return s.fault(err)
	})
	if err != nil {
		return 0, 0, err
	}
	for _, root := range roots {
		if storage, ok := root.Resources[goimap.QuotaResourceStorage]; ok {
			return storage.Usage << 10, storage.Limit << 10, nil // in units of 1024 octets
		}
	}
	return 0, 0, fmt.Errorf("%w: the account has no quota", remote.ErrUnsupported)
}
