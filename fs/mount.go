package fs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/mailfs/mailfs/cache"
)

// Options of a mount.
type Options struct {
	AllowOther bool   // let other users in, as far as FileMode and DirMode allow
	FileMode   uint32 // permissions of messages; 0 is 0400
	DirMode    uint32 // permissions of directories; 0 is 0500
	UID, GID   uint32 // owner and group of all files
	// FSName is what mount(8) and df show as the device: the account's URL, without a password.
	FSName string
	// Mount holds more options of fstab(5), of those that every type of filesystem has: noexec, dirsync, ...
	Mount []string
	Log   *slog.Logger
	Debug bool // log every request
	// Status returns what .mailfs/status.json holds; nil is a mount without that file. It must not wait for anything.
	Status func() []byte
}

// Server answers the kernel for one mount.
type Server struct {
	fuse  *fuse.Server
	fsys  *filesystem
	ended sync.Once
}

// Mount mounts accounts at a directory and returns when the mount answers. With single, the root is the directory of the
// one account; otherwise it holds a directory for each account. The accounts' cache must outlive the mount.
func Mount(mountpoint string, accounts []*cache.Account, single bool, o Options) (*Server, error) {
	return mount(mountpoint, accounts, single, o, func(raw fuse.RawFileSystem) fuse.RawFileSystem { return raw })
}

// mount is Mount; watch may wrap the filesystem to see the requests of the kernel.
func mount(mountpoint string, accounts []*cache.Account, single bool, o Options,
	watch func(fuse.RawFileSystem) fuse.RawFileSystem) (*Server, error) {
	if o.FileMode == 0 {
		o.FileMode = 0o400
	}
	if o.DirMode == 0 {
		o.DirMode = 0o500
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	fsys := &filesystem{options: o, log: o.Log, notifier: newNotifier(), mounted: time.Now()}
	for _, a := range accounts {
		fsys.accounts = append(fsys.accounts, &account{cache: a, fsys: fsys})
	}
	var top gofs.InodeEmbedder
	if single {
		if len(accounts) != 1 {
			return nil, fmt.Errorf("mounting at %s: %d accounts in place of one", mountpoint, len(accounts))
		}
		a := fsys.accounts[0]
		d := &directory{node: node{fsys: fsys}, account: a}
		a.inode = &d.Inode
		top = d
	} else {
		top = &root{node{fsys: fsys}}
	}
	for _, a := range fsys.accounts {
		a.cache.OnChange(func(c cache.Change) { fsys.notifier.mailboxChanged(a, c) })
		a.cache.OnPushed(a.pushToKernel)
	}

	entries, absences := remember, rememberNegative
	logger := slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)
	options := &gofs.Options{
		// Without AttrTimeout: each answer says how long its attributes hold, and 0 shall mean 0.
		EntryTimeout:    &entries,
		NegativeTimeout: &absences,
		NullPermissions: true,
		RootStableAttr:  &gofs.StableAttr{Ino: rootInode},
		Logger:          logger,
		MountOptions: fuse.MountOptions{
			AllowOther: o.AllowOther,
			Name:       "mailfs",
			FsName:     o.FSName,
			Options:    append([]string{"ro", "nosuid", "nodev", "noatime", "default_permissions"}, o.Mount...),
			// Otherwise the kernel does not tell mailfs of a reader that is killed in the middle of a read.
			SyncRead:      true,
			MaxBackground: 64,
			// The bytes of an answer are in memory: go-fuse would prepare a pipe for each answer, then copy all the same.
			DisableSplice: true,
			Debug:         o.Debug,
			Logger:        logger,
		},
	}
	mountDirectly(&options.MountOptions)
	server, err := fuse.NewServer(watch(interruptible{gofs.NewNodeFS(top, options)}), mountpoint, &options.MountOptions)
	if err != nil {
		return nil, explain(mountpoint, options.DirectMountStrict, err)
	}
	s := &Server{fuse: server, fsys: fsys}
	go fsys.notifier.run()
	go s.fuse.Serve()
	if err := awaitMount(s.fuse); err != nil {
		return nil, errors.Join(fmt.Errorf("mounting at %s: %w", mountpoint, err), s.Unmount())
	}
	return s, nil
}

// explain says what can be done when a mount fails.
func explain(mountpoint string, direct bool, err error) error {
	advice := ""
	if _, missing := os.Stat("/dev/fuse"); errors.Is(missing, os.ErrNotExist) {
		advice = "; there is no /dev/fuse: load the kernel's module with \"modprobe fuse\", or give the container the device"
	} else if !direct && errors.Is(err, exec.ErrNotFound) {
		advice = "; mounting as an ordinary user needs fusermount3: install fuse3, on Debian with \"apt install fuse3\""
	}
	if strings.HasPrefix(err.Error(), "fusermount exited") { // fusermount3 has said why on stderr
		err = errors.New("fusermount3 failed, see above")
	}
	return fmt.Errorf("mounting at %s: %w%s", mountpoint, err, advice)
}

// Wait returns when the mount is gone: after Unmount, or umount(8).
func (s *Server) Wait() {
	s.fuse.Wait()
	s.ended.Do(s.fsys.notifier.close)
}

// Unmount takes the mount away and returns when the last answer was given. While files are open in the mount, it fails and
// the mount stays.
func (s *Server) Unmount() error {
	if err := s.fuse.Unmount(); err != nil {
		return fmt.Errorf("unmounting: %w", err)
	}
	s.Wait()
	return nil
}
