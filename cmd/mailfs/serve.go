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

// open makes the account behind a dialer; it connects when it is used.
func open(a *config.Account, dialer *dial.Dialer, log *slog.Logger) remote.Account {
	if a.Name != "" {
		log = log.With("account", a.Name)
	}
	if dialer.Server.Protocol == "pop3" {
		return pop3.New(dialer, pop3.Options{Log: log})
	}
	return imap.New(dialer, imap.Options{Connections: a.Connections, Log: log})
}

// serveHere mounts in this process, for people who watch it.
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

// openLog opens a log file to append to. It tells where people read their mail, so only its owner may read it.
func openLog(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, process.FileError(path, err)
	}
	return file, nil
}

// serve connects the accounts of a job, mounts them, calls ready and stays until ctx ends or somebody unmounts. A mount
// that is in use when ctx ends is detached: who uses it gets errors from then on. ready gets a function that tells what
// is going on. What happens before ready to some of several accounts is told to warn; if all of them fail, nothing is
// mounted.
func serve(ctx context.Context, j *config.Job, log *slog.Logger, warn func(string), ready func(func() cache.Status) error) (err error) {
	// Most of the memory holds bodies. The limit has the collector come when garbage would add much to what --memory allows;
	// before that it need not.
	limit := j.Memory + 36<<20
	process.EnlargePages(min(limit, 128<<20))
	debug.SetGCPercent(200)
	debug.SetMemoryLimit(limit)
	store := cache.New(j.CacheOptions(log))
	defer func() {
		if e := store.Close(); e != nil {
			log.Warn("closing the accounts", "error", e)
		}
	}()
	var accounts []*cache.Account
	var remotes []remote.Account
	again := make(chan os.Signal, 1) // mailfs login says so
	signal.Notify(again, signInAgain)
	defer signal.Stop(again)
	var dialers []*dial.Dialer
	for i := range j.Accounts {
		a := &j.Accounts[i]
		d := dial.New(secret.Server(a))
		dialers = append(dialers, d)
		r := open(a, d, log)
		remotes = append(remotes, r)
		kept, err := store.Account(a.Name, remote.Retry(r), j.AccountOptions(a))
		if errors.Is(err, cache.ErrStoreNewer) {
			return fmt.Errorf("%s: a newer version of mailfs wrote this cache; use that one, or another --cache-dir", a.Store)
		} else if err != nil {
			return storeError(a.Store, err)
		}
		if err := kept.Unkept(); err != nil {
			warn(join(a.Label(), "nothing is kept on disk: "+err.Error()))
		}
		accounts = append(accounts, kept)
	}
	if err := connect(ctx, j.Accounts, remotes, accounts, warn); err != nil {
		return err
	}
	server, err := fs.Mount(j.Mountpoint, accounts, j.Single, j.MountOptions(log, func() []byte { return statusText(j, store.Status()) }))
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
	told := func() cache.Status { return explained(j, store.Status()) }
	if err := ready(told); err != nil { // nobody is left who wants it
		log.Info("unmounting: nobody waits for the mount", "error", err)
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
			for _, d := range dialers {
				d.Forget()
			}
		}
	}
}

// detach unmounts, from under who uses it if it must.
func detach(mountpoint string, server *fs.Server) error {
	if server.Unmount() == nil {
		return nil
	}
	return process.Detach(mountpoint)
}

// connect signs in to all accounts at once and lists their mailboxes. It fails when none could be reached, unless the
// cache has one of those that are merely out of reach.
func connect(ctx context.Context, accounts []config.Account, remotes []remote.Account, kept []*cache.Account,
	warn func(string)) error {
	errs, steps := make([]error, len(accounts)), make([]string, len(accounts))
	var all sync.WaitGroup
	for i, r := range remotes {
		all.Go(func() {
			if errs[i] = r.Connect(ctx); errs[i] == nil {
				steps[i] = dial.StepMailboxes
				_, errs[i] = kept[i].Mailboxes(ctx)
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
		offline := kept[i].Stored() && (errors.Is(err, remote.ErrUnreachable) || errors.Is(err, remote.ErrTimeout))
		failure := failed(&accounts[i], err)
		failure.step = steps[i]
		err = failure
		if offline {
			warn(line(err) + "; mounting what the cache holds")
			continue
		}
		lost++
		if len(accounts) == 1 {
			return err
		}
		warn(line(err))
	}
	if lost == len(accounts) {
		return errors.New("no account could be reached, nothing is mounted")
	}
	return nil
}

// storeError says why nothing can be kept in a directory.
func storeError(dir string, err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("%s: the cache can't be used: %w; choose another --cache-dir, or none", p.Path, p.Err)
	}
	return fmt.Errorf("the cache can't be used: %w", err)
}

// mountError says why the kernel did not take the mount.
func mountError(mountpoint string, err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%s: this process may not mount (in a container: --cap-add SYS_ADMIN --device /dev/fuse)",
			mountpoint)
	}
	return err
}
