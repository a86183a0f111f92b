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
	Memory  int64         // bytes of bodies to keep in memory, of all accounts
	Disk    int64         // bytes of bodies to keep on disk, of all accounts
	Refresh time.Duration // how old a listing may be without the server being asked for news
	Timeout time.Duration // how long the server may be silent while a caller waits
	Log     *slog.Logger  // nil logs nothing
}

// Cache holds several accounts whose bodies share the budgets of memory and disk.
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
	// Store is the directory where the account is kept between mounts; it is made if it is not there. "" keeps nothing on
	// disk.
	Store string
	// Optional does without a store that the filesystem refuses, and logs that.
	Optional bool
	// Label says whose store it is, for Stores.
	Label string
	// Keep keeps messages that were fetched and that the server has no longer, as a POP3 server drops them. They do not count
	// against Options.Disk.
	Keep bool
	// Prefetch says which messages are fetched although nobody reads them. It needs a Store.
	Prefetch Prefetch
}

// Account adds an account, which belongs to the cache from then on, also when that fails. name is what the configuration
// calls it. Accounts are added before the first of them is used. ErrStoreNewer, or what the filesystem says of the store.
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

// Close closes all accounts and waits until all that they do has ended.
func (c *Cache) Close() error {
	var errs []error
	for _, a := range c.accounts {
		errs = append(errs, a.close())
	}
	c.disk.Close()
	return errors.Join(errs...)
}
