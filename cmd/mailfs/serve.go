package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
	"github.com/mailfs/mailfs/fs"
	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
	"github.com/mailfs/mailfs/remote/imap"
	"github.com/mailfs/mailfs/remote/pop3"
)

// job is everything that a serving process has to know. It crosses a pipe, never arguments or the environment: there
// are passwords in it.
type job struct {
	Mountpoint string
	Accounts   []account
	Single     bool // the one account is the root of the mount
	FSName     string

	Memory     int64
	CacheSize  int64
	CacheGiven bool // the cache directory is one that somebody named
	Refresh    time.Duration
	AllowOther bool

	FileMode, DirMode uint32
	UID, GID          uint32 // of all that is in the mount

	LogLevel slog.Level
	LogFile  string // absolute; empty: standard error, or the system's log in the background

	// Demo has the sample servers run in the serving process and mounts their accounts.
	Demo bool
	// Temporary has the mountpoint removed after it was unmounted.
	Temporary bool
}

// account says how to reach one account.
type account struct {
	Name        string // in the configuration; empty for a URL
	URL, User   string
	InTheClear  bool
	Roots       []byte // PEM; nil trusts the system's
	Timeout     time.Duration
	Connections int

	Store    string // directory; empty: nothing is kept on disk
	Prefetch cache.Prefetch
	Keep     bool

	PasswordCommand string
	TokenCommand    string
	OAuth           *oauthTable
	HasPassword     bool // from the environment, or from a question
	Password        []byte
}

// who is the account's URL, for questions and errors.
func (a *account) who() string {
	s := a.server()
	return s.String()
}

func (a *account) setPassword(p string) { a.HasPassword, a.Password = true, []byte(p) }

func (a *account) failed(err error) *accountError {
	e := &accountError{name: a.Name, server: a.server(), timeout: a.Timeout, advice: "check user and password", err: err}
	switch {
	case a.HasPassword:
	case a.PasswordCommand != "":
		e.advice = "check what the password command prints"
	case a.TokenCommand != "":
		e.advice = "check what the token command prints"
	case a.OAuth != nil:
		e.advice = "sign in again with mailfs login " + a.called()
	}
	return e
}

// server is the account in the words of package remote.
func (a *account) server() dial.Server {
	s, err := dial.ParseURL(a.URL)
	if err != nil {
		panic("an account with a URL that was not checked: " + err.Error())
	}
	s.User, s.InTheClear, s.Timeout = a.User, a.InTheClear, a.Timeout
	if a.Roots != nil {
		s.RootCAs = x509.NewCertPool()
		s.RootCAs.AppendCertsFromPEM(a.Roots)
	}
	a.signingIn(&s)
	return s
}

// open makes the account behind a dialer; it connects when it is used.
func (a *account) open(dialer *dial.Dialer, log *slog.Logger) remote.Account {
	if a.Name != "" {
		log = log.With("account", a.Name)
	}
	if dialer.Server.Protocol == "pop3" {
		return pop3.New(dialer, pop3.Options{Log: log})
	}
	return imap.New(dialer, imap.Options{Connections: a.Connections, Log: log})
}

// serveHere mounts in this process, for people who watch it.
func serveHere(ctx context.Context, j *job) error {
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
func serve(ctx context.Context, j *job, log *slog.Logger, warn func(string), ready func(func() cache.Status) error) (err error) {
	// Most of the memory holds bodies. The limit has the collector come when garbage would add much to what --memory allows;
	// before that it need not.
	limit := j.Memory + 36<<20
	process.EnlargePages(min(limit, 128<<20))
	debug.SetGCPercent(200)
	debug.SetMemoryLimit(limit)
	timeout := time.Duration(0)
	for _, a := range j.Accounts {
		timeout = max(timeout, a.Timeout)
	}
	store := cache.New(cache.Options{
		Memory: j.Memory, Disk: j.CacheSize, Refresh: j.Refresh, Timeout: timeout, Log: log,
	})
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
	for _, a := range j.Accounts {
		d := dial.New(a.server())
		dialers = append(dialers, d)
		r := a.open(d, log)
		remotes = append(remotes, r)
		kept, err := store.Account(a.Name, remote.Retry(r), cache.AccountOptions{
			Store: a.Store, Optional: !j.CacheGiven, Label: a.label(), Prefetch: a.Prefetch, Keep: a.Keep,
		})
		if errors.Is(err, cache.ErrStoreNewer) {
			return fmt.Errorf("%s: a newer version of mailfs wrote this cache; use that one, or another --cache-dir", a.Store)
		} else if err != nil {
			return storeError(a.Store, err)
		}
		if err := kept.Unkept(); err != nil {
			warn(join(a.label(), "nothing is kept on disk: "+err.Error()))
		}
		accounts = append(accounts, kept)
	}
	if err := connect(ctx, j.Accounts, remotes, accounts, warn); err != nil {
		return err
	}
	server, err := fs.Mount(j.Mountpoint, accounts, j.Single, fs.Options{
		AllowOther: j.AllowOther, FileMode: j.FileMode, DirMode: j.DirMode,
		UID: j.UID, GID: j.GID,
		FSName: j.FSName, Log: log,
		Status: func() []byte { return j.status(store.Status()) },
	})
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
	told := func() cache.Status { return j.explained(store.Status()) }
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
func connect(ctx context.Context, accounts []account, remotes []remote.Account, kept []*cache.Account,
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
	failed := 0
	for i, err := range errs {
		if err == nil {
			continue
		}
		offline := kept[i].Stored() && (errors.Is(err, remote.ErrUnreachable) || errors.Is(err, remote.ErrTimeout))
		failure := accounts[i].failed(err)
		failure.step = steps[i]
		err = failure
		if offline {
			warn(line(err) + "; mounting what the cache holds")
			continue
		}
		failed++
		if len(accounts) == 1 {
			return err
		}
		warn(line(err))
	}
	if failed == len(accounts) {
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
