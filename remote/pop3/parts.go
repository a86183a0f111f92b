package pop3

import (
	"context"
	"fmt"

	"github.com/mailfs/mailfs/remote"
)

// POP3 knows nothing of what is in a message, so that parts are cut out of the whole one.

// Structures implements remote.Account.
func (a *Account) Structures(context.Context, remote.Place, []remote.UID,
	func(remote.UID, *remote.Part, []byte)) error {
	return fmt.Errorf("%w: parts of messages over POP3", remote.ErrUnsupported)
}

// Sections implements remote.Account.
func (a *Account) Sections(context.Context, remote.Place, []remote.UID, []remote.Section,
	func(remote.UID, [][]byte)) error {
	return fmt.Errorf("%w: parts of messages over POP3", remote.ErrUnsupported)
}

// Decoded implements remote.Account.
func (a *Account) Decoded(context.Context, remote.Place, remote.UID, string) ([]byte, error) {
	return nil, fmt.Errorf("%w: parts of messages over POP3", remote.ErrUnsupported)
}

// DecodedSizes implements remote.Account.
func (a *Account) DecodedSizes(context.Context, remote.Place, remote.UID, []string) ([]int64, error) {
	return nil, fmt.Errorf("%w: parts of messages over POP3", remote.ErrUnsupported)
}
