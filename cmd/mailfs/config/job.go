package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/fs"
)

// Job is everything that a serving process has to know. It reaches the process through a pipe, never in arguments or the
// environment: it holds passwords.
type Job struct {
	Options
	Mountpoint string
	Accounts   []Account
	Single     bool   // the root of the mount is the account itself, not a directory of accounts
	FSName     string // what mount(8) shows as the device

	// Demo makes the serving process run the sample servers and mount their accounts.
	Demo bool
	// Temporary makes the serving process remove the mountpoint after it was unmounted.
	Temporary bool
}

// CacheOptions makes the options of the cache.
func (j *Job) CacheOptions(log *slog.Logger) cache.Options {
	timeout := Duration(0)
	for _, a := range j.Accounts {
		timeout = max(timeout, a.Timeout)
	}
	return cache.Options{Memory: j.Memory, Disk: j.CacheSize, Refresh: j.Refresh, Timeout: time.Duration(timeout), Log: log}
}

// AccountOptions makes the options of the cache for one account. A cache directory that the user has not named is optional: where
// it can't be used, the mount works without.
func (j *Job) AccountOptions(a *Account) cache.AccountOptions {
	return cache.AccountOptions{
		Store: a.Store, Optional: j.CacheDir == "", Label: a.Label(), Prefetch: a.Prefetch, Keep: a.Keep,
	}
}

// MountOptions makes the options of the mount. status returns the content of .mailfs/status.json.
func (j *Job) MountOptions(log *slog.Logger, status func() []byte) fs.Options {
	return fs.Options{
		AllowOther: j.AllowOther, FileMode: j.FileMode, DirMode: j.DirMode, UID: j.UID, GID: j.GID,
		FSName: j.FSName, Log: log, Status: status,
	}
}

// Job makes a job of the options and the configuration file, without the mountpoint and without what the user has to be asked for.
// url is the account to mount; if it is empty, the job mounts all accounts of the configuration.
func (f *Flags) Job(url string) (*Job, error) {
	var tables []Account
	if url != "" {
		if f.Config != "" {
			return nil, WrongUsage("either a URL or --config: a URL is mounted without the configuration")
		}
		tables = []Account{{URL: url}}
	} else {
		c, err := f.file()
		if err != nil {
			return nil, err
		}
		if err := c.apply(f); err != nil {
			return nil, err
		}
		tables = c.accounts
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	j := &Job{Options: f.Options, Single: url != "", FSName: "mailfs"}
	if f.LogFile != "" {
		path, err := filepath.Abs(f.LogFile)
		if err != nil {
			return nil, fmt.Errorf("finding %s: %w", f.LogFile, err)
		}
		j.LogFile = path
	}
	if err := f.oneCommand(len(tables)); err != nil {
		return nil, err
	}
	if err := j.addAccounts(f, tables); err != nil {
		return nil, err
	}
	if j.Single {
		s := j.Accounts[0].Server()
		j.FSName = s.Protocol + "://" + s.Address() // without the user: mount(8) shows FSName to everybody
	}
	return j, nil
}

// addAccounts adds those accounts of tables to the job that can be mounted, each with the directory of its cache.
func (j *Job) addAccounts(f *Flags, tables []Account) error {
	dir, err := CacheDir(f.CacheDir)
	if err != nil {
		return err
	}
	for _, t := range tables {
		a, err := f.account(t)
		if err != nil && t.Name != "" {
			return fmt.Errorf("account %q: %w", t.Name, err)
		} else if err != nil {
			return err
		}
		if s := a.Server(); s.Protocol == "smtp" {
			if !j.Single && len(tables) > 1 { // it is in the file for mailfs check
				continue
			}
			return errors.New(s.String() + ": SMTP only sends mail, there is nothing to mount; use imaps:// or pop3s://")
		}
		if dir != "" {
			a.Store = filepath.Join(dir, a.storeName())
		}
		j.Accounts = append(j.Accounts, a)
	}
	if len(j.Accounts) == 0 {
		return errors.New("all accounts of the configuration are SMTP, which only sends mail: there is nothing to mount")
	}
	return nil
}

// noCache is the value of --cache-dir that keeps nothing on disk.
const noCache = "none"

// CacheDir returns the absolute path of the cache directory. flag is the value of --cache-dir. The path is empty if nothing is kept
// on disk.
func CacheDir(flag string) (string, error) {
	switch flag {
	case noCache:
		return "", nil
	case "":
		dir, err := os.UserCacheDir()
		if err != nil {
			// There may be no home directory, as under systemd or cron.
			return "", nil
		}
		return filepath.Join(dir, "mailfs"), nil
	}
	dir, err := filepath.Abs(flag)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", flag, err)
	}
	return dir, nil
}
