package pop3

import (
	"context"
	"fmt"

	"github.com/mailfs/mailfs/remote"
)

// Search implements remote.Account. POP3 has none.
func (a *Account) Search(context.Context, string, remote.Query) (uint32, *remote.UIDSet, error) {
	return 0, nil, fmt.Errorf("%w: search over POP3", remote.ErrUnsupported)
}
