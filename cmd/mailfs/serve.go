package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
	"github.com/mailfs/mailfs/cmd/mailfs/secret"
	"github.com/mailfs/mailfs/fs"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
	"github.com/mailfs/mailfs/remote/imap"
	"github.com/mailfs/mailfs/remote/pop3"
)

// open returns the remote account behind a dialer. The account connects when it is used.
func open(a *config.Account, dialer *dial.Dialer, log *slog.Logger) remote.Account {
	if a.Name != "" {
		log = log.With("account", a.Name)
	}
	if dialer.Server.Protocol == "pop3" {
		return pop3.New(dialer, pop3.Options{Log: log})
	}
	return imap.New(dialer, imap.Options{Connections: a.Connections, Log: log})
}

// serveHere serves a job in this process, in the foreground.
func serveHere(ctx context.Context, j *config.Job) error {
	out := os.Stderr
	if j.LogFile != "" {
		file, err := openLog(j.LogFile)
		if err != nil {
			return err
		}
		defer file.Close()
		out = file
	}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: j.LogLevel}))
	systemd := process.NewSupervisor()
	ctx, stop := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer stop()
	return serve(ctx, j, log, warn, func(status func() cache.Status) error {
		following.Go(func() { systemd.Follow(ctx, j.Mountpoint, func() string { return doing(j.Mountpoint, status()) }) })
		return nil
	})
}

// openLog opens a log file to append to. Only its owner may read the file: it says which mailboxes the user reads.
func openLog(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, process.FileError(path, err)
	}
	return file, nil
}

// served is what serve has of one account of a job.
type served struct {
	account *config.Account
	dialer  *dial.Dialer
	remote  remote.Account
	cached  *cache.Account
}

// serve connects the accounts of a job, mounts them, calls ready and stays until ctx ends or the mount is unmounted. A mount that
// is in use when ctx ends is detached: from then on its users get errors. ready gets a function that returns what the mount
// is doing. Before ready, warn gets what happens to some of several accounts; if all of them fail, nothing is mounted.
func serve(ctx context.Context, j *config.Job, log *slog.Logger, warn func(string), ready func(func() cache.Status) error) (err error) {
	limitMemory(j.Memory)
	store := cache.New(j.CacheOptions(log))
	defer func() {
		if e := store.Close(); e != nil {
			log.Warn("closing the accounts", "error", e)
		}
	}()
	again := make(chan os.Signal, 1)
	signal.Notify(again, signInAgain)
	defer signal.Stop(again)
	accounts, err := openAccounts(j, store, log, warn)
	if err != nil {
		return err
	}
	if err := connect(ctx, accounts, warn); err != nil {
		return err
	}
	var cached []*cache.Account
	for _, s := range accounts {
		cached = append(cached, s.cached)
	}
	server, err := fs.Mount(j.Mountpoint, cached, j.Single, j.MountOptions(log, func() []byte { return statusText(j, store.Status()) }))
	if err != nil {
		return mountError(j.Mountpoint, err)
	}
	store.Start()
	log.Info("mounted", "mountpoint", j.Mountpoint)
	ended := make(chan struct{})
	go func() {
		server.Wait()
		close(ended)
	}()
	if err := ready(func() cache.Status { return explained(j, store.Status()) }); err != nil {
		log.Info("unmounting: the process that asked for the mount is gone", "error", err)
		return errors.Join(detach(j.Mountpoint, server), err)
	}
	for {
		select {
		case <-ended:
			log.Info("unmounted from outside")
			return nil
		case <-ctx.Done():
			return detach(j.Mountpoint, server)
		case <-again:
			for _, s := range accounts {
				s.dialer.Forget()
			}
		}
	}
}

// limitMemory prepares the heap for so many bytes of message bodies, which are most of it. The limit has the collector run
// when garbage would add much to them; before that it need not.
func limitMemory(bodies int64) {
	limit := bodies + 36<<20
	process.EnlargePages(min(limit, 128<<20))
	debug.SetGCPercent(200)
	debug.SetMemoryLimit(limit)
}

// openAccounts adds the accounts of a job to the cache. None is connected yet.
func openAccounts(j *config.Job, store *cache.Cache, log *slog.Logger, warn func(string)) ([]served, error) {
	var accounts []served
	for i := range j.Accounts {
		a := &j.Accounts[i]
		s := served{account: a, dialer: dial.New(secret.Server(a))}
		s.remote = open(a, s.dialer, log)
		cached, err := store.Account(a.Name, remote.Retry(s.remote), j.AccountOptions(a))
		if errors.Is(err, cache.ErrStoreNewer) {
			return nil, fmt.Errorf("%s: a newer version of mailfs wrote this cache; use that one, or another --cache-dir", a.Store)
		} else if err != nil {
			return nil, storeError(a.Store, err)
		}
		if err := cached.Unkept(); err != nil {
			warn(join(a.Label(), "nothing is kept on disk: "+err.Error()))
		}
		s.cached = cached
		accounts = append(accounts, s)
	}
	return accounts, nil
}

// detach unmounts a mount, also if it is in use.
func detach(mountpoint string, server *fs.Server) error {
	if server.Unmount() == nil {
		return nil
	}
	return process.Detach(mountpoint)
}

// connect signs in to all accounts at once and lists their mailboxes. The error is that all accounts fail. An account whose
// server can't be reached does not count as failed if the cache has its listing.
func connect(ctx context.Context, accounts []served, warn func(string)) error {
	errs, steps := make([]error, len(accounts)), make([]string, len(accounts))
	var all sync.WaitGroup
	for i, s := range accounts {
		all.Go(func() {
			if errs[i] = s.remote.Connect(ctx); errs[i] == nil {
				steps[i] = dial.StepMailboxes
				_, errs[i] = s.cached.Mailboxes(ctx)
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return context.Canceled
	}
	lost := 0
	for i, err := range errs {
		if err == nil {
			continue
		}
		offline := accounts[i].cached.Stored() && (errors.Is(err, remote.ErrUnreachable) || errors.Is(err, remote.ErrTimeout) ||
			errors.Is(err, remote.ErrUnavailable))
		failure := failed(accounts[i].account, err)
		failure.step = steps[i]
		if offline {
			warn(line(failure) + "; mounting what the cache holds")
			continue
		}
		lost++
		if len(accounts) == 1 {
			return failure
		}
		warn(line(failure))
	}
	if lost == len(accounts) {
		return errors.New("no account could be reached, nothing is mounted")
	}
	return nil
}

// storeError is the error of a cache directory that can't be used.
func storeError(dir string, err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("%s: the cache can't be used: %w; choose another --cache-dir, or none", p.Path, p.Err)
	}
	return fmt.Errorf("the cache can't be used: %w", err)
}

// mountError says in plainer words why the kernel refused the mount.
func mountError(mountpoint string, err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%s: this process may not mount (in a container: --cap-add SYS_ADMIN --device /dev/fuse)",
			mountpoint)
	}
	return err
}
