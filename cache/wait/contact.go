package wait

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/mailfs/mailfs/remote"
)

// Contact is how the last attempt to reach the server of an account ended.
type Contact struct {
	Log       *slog.Logger
	lastError atomic.Pointer[error] // nil where the last attempt succeeded
}

// Note remembers how an attempt to reach the server ended. The log is told when that changes: attempts are repeated for as
// long as somebody reads.
func (c *Contact) Note(err error) {
	switch {
	case err == nil:
		if c.lastError.Swap(nil) != nil {
			c.Log.Info("the account is available again")
		}
	case Away(err), errors.Is(err, remote.ErrLogin), errors.Is(err, remote.ErrCertificate):
		level := slog.LevelWarn
		if c.lastError.Swap(&err) != nil {
			level = slog.LevelDebug
		}
		c.Log.Log(context.Background(), level, "the account is not available", "error", err)
	}
}

// LastError returns why the last attempt failed; nil if it succeeded.
func (c *Contact) LastError() error {
	if err := c.lastError.Load(); err != nil {
		return *err
	}
	return nil
}
