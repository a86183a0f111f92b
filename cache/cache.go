// Package cache is what mailfs knows of mail accounts: the mailboxes, the table of messages of each, and bodies. It answers
// from what it has, or asks package remote and keeps the answer.
//
// What is asked for by several at once is fetched once. Fetches belong to the cache, not to who asked: a caller that goes
// away leaves its fetch to the others and to whoever asks next.
package cache

import (
	"errors"
	"log/slog"
	"time"

	"github.com/mailfs/mailfs/remote"
)

// Options of a cache.
type Options struct {
	Memory  int64         // bytes of bodies to keep in memory
	Refresh time.Duration // how old a listing may be when it is answered from
	Timeout time.Duration // longest wait without a sign of progress
	Log     *slog.Logger
}

// Cache holds several accounts whose bodies share one memory budget.
type Cache struct {
	options  Options
	bodies   *bodies
	accounts []*Account
}

// New returns a cache without accounts.
func New(o Options) *Cache {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Cache{options: o, bodies: newBodies(o.Memory)}
}

// Account adds an account, which the cache owns from then on. name is how it is called in the configuration. Accounts are
// added before the first is used.
func (c *Cache) Account(name string, r remote.Account) *Account {
	a := newAccount(c, name, r)
	c.accounts = append(c.accounts, a)
	return a
}

// Close closes all accounts and waits until their fetches have ended.
func (c *Cache) Close() error {
	var errs []error
	for _, a := range c.accounts {
		errs = append(errs, a.close())
	}
	return errors.Join(errs...)
}
