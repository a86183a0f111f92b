package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/mailfs/mailfs/remote"
)

// contact is how the last attempt to reach the server of an account ended.
type contact struct {
	log         *slog.Logger
	lastError   atomic.Pointer[error] // nil where the last attempt succeeded
	silentSince atomic.Int64          // remote.Stats.BytesIn when news were last waited for in vain; -1 before
}

// note remembers how an attempt to reach the server ended. The log is told when that changes: attempts are repeated for as
// long as somebody reads.
func (c *contact) note(err error) {
	switch {
	case err == nil:
		if c.lastError.Swap(nil) != nil {
			c.log.Info("the account is available again")
		}
	case away(err), errors.Is(err, remote.ErrLogin), errors.Is(err, remote.ErrCertificate):
		level := slog.LevelWarn
		if c.lastError.Swap(&err) != nil {
			level = slog.LevelDebug
		}
		c.log.Log(context.Background(), level, "the account is not available", "error", err)
	}
}

// away tells whether an error means that the server is out of reach, so that what is known is the best there is.
func away(err error) bool {
	return errors.Is(err, remote.ErrUnreachable) || errors.Is(err, remote.ErrTimeout) || errors.Is(err, remote.ErrLost)
}
