// Package cache is what mailfs knows of mail accounts: the mailboxes, the table of messages of each, and bodies. It answers
// from what it has, or asks package remote and keeps the answer.
//
// What is asked for by several at once is fetched once. Fetches belong to the cache, not to who asked: a caller that goes
// away leaves its fetch to the others and to whoever asks next.
package cache

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mailfs/mailfs/cache/disk"
	"github.com/mailfs/mailfs/remote"
)

// Options of a cache.
type Options struct {
	Memory  int64         // bytes of bodies to keep in memory
	Refresh time.Duration // how old a listing may be when it is answered from
	Timeout time.Duration // longest wait without a sign of progress
	Disk    int64         // bytes of bodies to keep on disk
	Log     *slog.Logger
}

// Cache holds several accounts whose bodies share one memory budget.
type Cache struct {
	options  Options
	bodies   *bodies
	disk     *disk.Bodies
	accounts []*Account
}

// New returns a cache without accounts.
func New(o Options) *Cache {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Cache{options: o, bodies: newBodies(o.Memory), disk: disk.NewBodies(o.Disk, o.Log)}
}

// AccountOptions of one account.
type AccountOptions struct {
	// Store is the directory where the account is kept between mounts; "" keeps nothing on disk. It is made if it is not
	// there.
	Store string
	// Optional does without a store that the filesystem refuses, which is logged.
	Optional bool
	// Label says whose store it is, for Stores.
	Label string
	// Keep keeps messages that were brought and are no longer on the server, as a POP3 server drops them. They do not count
	// against Options.Disk.
	Keep bool
	// Prefetch needs a Store.
	Prefetch Prefetch
}

// Account adds an account, which the cache owns from then on, also when that fails. name is how it is called in the
// configuration. Accounts are added before the first is used. ErrStoreNewer, or what the filesystem says of the store.
func (c *Cache) Account(name string, r remote.Account, o AccountOptions) (*Account, error) {
	a := newAccount(c, name, r)
	a.keep, a.prefetch = o.Keep, o.Prefetch
	c.accounts = append(c.accounts, a)
	if o.Store != "" {
		err := a.attach(o.Store, o.Label)
		if err != nil && o.Optional && !errors.Is(err, ErrStoreNewer) {
			a.log.Warn("nothing is kept on disk: "+err.Error(), "store", o.Store)
			err = nil
		}
		if err != nil {
			return nil, fmt.Errorf("opening the store in %s: %w", o.Store, err)
		}
	}
	return a, nil
}

// Close closes all accounts and waits until their fetches have ended.
func (c *Cache) Close() error {
	var errs []error
	for _, a := range c.accounts {
		errs = append(errs, a.close())
	}
	c.disk.Close()
	return errors.Join(errs...)
}
