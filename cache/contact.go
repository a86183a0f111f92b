package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/mailfs/mailfs/cache/wait"
	"github.com/mailfs/mailfs/remote"
)

// contact is how the last attempt to reach the server of an account ended.
type contact struct {
	log       *slog.Logger
	lastError atomic.Pointer[error] // nil where the last attempt succeeded
}

// note remembers how an attempt to reach the server ended. The log is told when that changes: attempts are repeated for as
// long as somebody reads.
func (c *contact) note(err error) {
	switch {
	case err == nil:
		if c.lastError.Swap(nil) != nil {
			c.log.Info("the account is available again")
		}
	case wait.Away(err), errors.Is(err, remote.ErrLogin), errors.Is(err, remote.ErrCertificate):
		level := slog.LevelWarn
		if c.lastError.Swap(&err) != nil {
			level = slog.LevelDebug
		}
		c.log.Log(context.Background(), level, "the account is not available", "error", err)
	}
}
