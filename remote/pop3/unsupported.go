package pop3

import (
	"context"
	"fmt"

	"github.com/mailfs/mailfs/remote"
)

// POP3 knows whole messages and their beginnings in lines, and nothing of what is in them. A part is taken out of the whole
// message.

// unsupported is the error of a method that POP3 has nothing for.
func unsupported(what string) error {
	return fmt.Errorf("%w: %s over POP3", remote.ErrUnsupported, what)
}

// Piece implements remote.Account.
func (a *Account) Piece(context.Context, remote.Place, remote.UID, int64, int64) ([]byte, error) {
	return nil, unsupported("a piece of a message")
}

// Structures implements remote.Account.
func (a *Account) Structures(context.Context, remote.Place, []remote.UID, func(remote.UID, *remote.Part, []byte)) error {
	return unsupported("parts of messages")
}

// Sections implements remote.Account.
func (a *Account) Sections(context.Context, remote.Place, []remote.UID, []remote.Section, func(remote.UID, [][]byte)) error {
	return unsupported("parts of messages")
}

// Decoded implements remote.Account.
func (a *Account) Decoded(context.Context, remote.Place, remote.UID, string) ([]byte, error) {
	return nil, unsupported("parts of messages")
}

// DecodedSizes implements remote.Account.
func (a *Account) DecodedSizes(context.Context, remote.Place, remote.UID, []string) ([]int64, error) {
	return nil, unsupported("parts of messages")
}

// Search implements remote.Account.
func (a *Account) Search(context.Context, string, remote.Query) (uint32, *remote.UIDSet, error) {
	return 0, nil, unsupported("search")
}

// Quota implements remote.Account.
func (a *Account) Quota(context.Context) (used, limit int64, err error) {
	return 0, 0, unsupported("quota")
}
