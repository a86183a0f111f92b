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

// Job is everything that a serving process has to know. It crosses a pipe, never arguments or the environment: there are
// passwords in it.
type Job struct {
	Options
	Mountpoint string
	Accounts   []Account
	Single     bool   // the one account is the root of the mount
	FSName     string // what mount(8) shows as the device

	// Demo has the sample servers run in the serving process and mounts their accounts.
	Demo bool
	// Temporary has the mountpoint removed after it was unmounted.
	Temporary bool
}

// CacheOptions are what package cache has to know of the job.
func (j *Job) CacheOptions(log *slog.Logger) cache.Options {
	timeout := Duration(0)
	for _, a := range j.Accounts {
		timeout = max(timeout, a.Timeout)
	}
	return cache.Options{Memory: j.Memory, Disk: j.CacheSize, Refresh: j.Refresh, Timeout: time.Duration(timeout), Log: log}
}

// AccountOptions are what package cache has to know of an account of the job. The mount does without the cache directory
// where nobody has named one.
func (j *Job) AccountOptions(a *Account) cache.AccountOptions {
	return cache.AccountOptions{
		Store: a.Store, Optional: j.CacheDir == "", Label: a.Label(), Prefetch: a.Prefetch, Keep: a.Keep,
	}
}

// MountOptions are what package fs has to know of the job. status returns the content of .mailfs/status.json.
func (j *Job) MountOptions(log *slog.Logger, status func() []byte) fs.Options {
	return fs.Options{
		AllowOther: j.AllowOther, FileMode: j.FileMode, DirMode: j.DirMode, UID: j.UID, GID: j.GID,
		FSName: j.FSName, Log: log, Status: status,
	}
}

// Job makes out of options and configuration what there is to do, without the mountpoint and what has to be asked for. An empty
// url means all accounts of the configuration.
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
		j.FSName = s.Protocol + "://" + s.Address() // mount(8) shows it to everybody: no user
	}
	return j, nil
}

// addAccounts adds the accounts of tables that can be mounted, each with the directory of its cache.
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
			if !j.Single && len(tables) > 1 { // it is there to be checked
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

// noCache in place of a directory keeps nothing on disk.
const noCache = "none"

// CacheDir returns the directory that --cache-dir means, absolute; "" for none.
func CacheDir(flag string) (string, error) {
	switch flag {
	case noCache:
		return "", nil
	case "":
		dir, err := os.UserCacheDir()
		if err != nil {
			// As under systemd or cron, where there is no home directory.
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
