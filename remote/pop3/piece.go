package pop3

import (
	"context"

	"github.com/mailfs/mailfs/remote"
)

// Piece implements remote.Account: POP3 knows only whole messages, and their beginnings in lines.
func (a *Account) Piece(context.Context, remote.Place, remote.UID, int64, int64) ([]byte, error) {
	return nil, remote.ErrUnsupported
}
