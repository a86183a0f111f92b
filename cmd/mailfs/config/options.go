// Package config reads what the user tells mailfs: the options on the command line, in -o and fstab, and in the configuration
// file, and the accounts. It makes a Job of them.
package config

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Options are the values of all options. The list declared has their names, defaults and help.
type Options struct {
	Config string // the configuration file; empty: the file at the usual path
	Connection
	CacheDir          string // the value of --cache-dir, which the function CacheDir turns into a path
	CacheSize, Memory int64  // bytes
	Refresh           time.Duration
	AllowOther        bool
	FileMode, DirMode uint32
	UID, GID          uint32 // owner and group of all that is in the mount
	LogLevel          slog.Level
	LogFile           string // absolute in a Job; empty: standard error in the foreground, else the system's log
	Foreground        bool
}

// Connection says how to reach an account and how to sign in. A table [account.NAME] may have these keys for its account.
type Connection struct {
	CAFile          string   `toml:"ca_file"`
	TLS             TLSMode  `toml:"tls"`
	PasswordCommand string   `toml:"password_command"`
	TokenCommand    string   `toml:"token_command"`
	Timeout         Duration `toml:"timeout"`
	Connections     int      `toml:"connections"` // the most connections of an IMAP account; 0 in a table without the key
}

// maxConnections is the largest number of connections: most servers refuse more than 10 to one account.
const maxConnections = 10

// option declares an option, for all places that may set it. Every option is a flag of mailfs mount and may stand in its -o.
type option struct {
	name, short  string
	defaultValue string
	help         string
	places       place
	value        func(*Options) pflag.Value // the field of the option, as the type that reads and writes it
}

// place is a set of places that have an option, beside mailfs mount.
type place int

const (
	// atTop: the top of the configuration file may set it.
	atTop place = 1 << iota
	// inAccount: a table [account.NAME] may set it, and beats the top of the file.
	inAccount
	// ofConnection: it is a flag of mailfs check and mailfs login as well.
	ofConnection
	// isPath: its value is a path. In the configuration file it may be relative to that file.
	isPath
)

// declared lists all options, in the order of the help.
var declared = []option{
	{name: "config", places: ofConnection,
		help:  "configuration `FILE` (default $XDG_CONFIG_HOME/mailfs/config.toml)",
		value: func(o *Options) pflag.Value { return (*text)(&o.Config) }},
	{name: "ca-file", places: ofConnection | atTop | inAccount | isPath,
		help:  "trust the certificates in `FILE` (PEM) instead of the system's",
		value: func(o *Options) pflag.Value { return (*text)(&o.CAFile) }},
	{name: "tls", defaultValue: "auto", places: ofConnection | atTop | inAccount,
		help:  "off: no TLS, mail and password are sent in the clear",
		value: func(o *Options) pflag.Value { return &o.TLS }},
	// A table [account.NAME] may have one of password_command and token_command; Flags.account handles the pair.
	{name: "password-command", places: ofConnection,
		help:  "shell `COMMAND` that prints the password, run at each sign-in",
		value: func(o *Options) pflag.Value { return (*text)(&o.PasswordCommand) }},
	{name: "token-command", places: ofConnection,
		help:  "shell `COMMAND` that prints an OAuth access token, run at each sign-in",
		value: func(o *Options) pflag.Value { return (*text)(&o.TokenCommand) }},
	{name: "timeout", defaultValue: "30s", places: ofConnection | atTop | inAccount,
		help:  "longest wait for a server",
		value: func(o *Options) pflag.Value { return &o.Timeout }},
	{name: "cache-dir", places: atTop | isPath,
		help:  "keep mail in `DIR` between mounts (default $XDG_CACHE_HOME/mailfs); none keeps nothing",
		value: func(o *Options) pflag.Value { return (*text)(&o.CacheDir) }},
	{name: "cache-size", defaultValue: "2GiB", places: atTop,
		help:  "room for messages in the cache directory",
		value: func(o *Options) pflag.Value { return (*byteSize)(&o.CacheSize) }},
	{name: "memory", defaultValue: "64MiB", places: atTop,
		help:  "memory for messages that have been read",
		value: func(o *Options) pflag.Value { return (*byteSize)(&o.Memory) }},
	{name: "refresh", defaultValue: "30s", places: atTop,
		help:  "ask the server again when a listing is older than this",
		value: func(o *Options) pflag.Value { return (*Duration)(&o.Refresh) }},
	{name: "connections", defaultValue: "2", places: atTop | inAccount,
		help:  "connections per IMAP account, at most `N`",
		value: func(o *Options) pflag.Value { return (*number)(&o.Connections) }},
	{name: "allow-other", defaultValue: "false", places: atTop,
		help:  "let other users in, as far as --file-mode and --dir-mode do",
		value: func(o *Options) pflag.Value { return (*truth)(&o.AllowOther) }},
	{name: "file-mode", defaultValue: "0400", places: atTop,
		help:  "permissions of messages, octal",
		value: func(o *Options) pflag.Value { return (*permissions)(&o.FileMode) }},
	{name: "dir-mode", defaultValue: "0500", places: atTop,
		help:  "permissions of directories, octal",
		value: func(o *Options) pflag.Value { return (*permissions)(&o.DirMode) }},
	{name: "uid", places: atTop,
		help:  "owner of all files (default: the user who mounts); needs --allow-other",
		value: func(o *Options) pflag.Value { return (*userID)(&o.UID) }},
	{name: "gid", places: atTop,
		help:  "group of all files (default: that of the user who mounts)",
		value: func(o *Options) pflag.Value { return (*groupID)(&o.GID) }},
	{name: "log-level", defaultValue: "warn", places: atTop,
		help:  "least level that is logged: debug, info, warn or error",
		value: func(o *Options) pflag.Value { return (*logLevel)(&o.LogLevel) }},
	{name: "log-file", places: atTop | isPath,
		help:  "log to `FILE` instead of the system's log",
		value: func(o *Options) pflag.Value { return (*text)(&o.LogFile) }},
	{name: "foreground", short: "f", defaultValue: "false",
		help:  "stay in the foreground, log to standard error",
		value: func(o *Options) pflag.Value { return (*truth)(&o.Foreground) }},
}

// find returns the option with a name; nil if there is none.
func find(name string) *option {
	if i := slices.IndexFunc(declared, func(o option) bool { return o.name == name }); i >= 0 {
		return &declared[i]
	}
	return nil
}

// Defaults returns the values of options that the user does not set.
func Defaults() Options {
	o := Options{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	for _, d := range declared {
		if d.defaultValue == "" {
			continue
		}
		if err := d.value(&o).Set(d.defaultValue); err != nil {
			panic(fmt.Sprintf("the default of %s: %v", d.name, err))
		}
	}
	return o
}

// Flags are the options of one command. What the command line sets beats the configuration file, which beats -o.
type Flags struct {
	Options
	set  *pflag.FlagSet // the flags of the command; nil: there is no command line
	list []string       // the values of -o
}

// NewFlags returns the options of a command, with their defaults.
func NewFlags() *Flags { return &Flags{Options: Defaults()} }

// AddAll adds all options to the flags of a command, and -o.
func (f *Flags) AddAll(set *pflag.FlagSet) {
	for _, o := range declared {
		f.Add(set, o.name)
	}
	set.StringArrayVarP(&f.list, "option", "o", nil, "options as in fstab: `LIST` of ro, allow_other, config=FILE, ... any flag above")
}

// AddConnection adds the options that say how to reach an account and to sign in to it.
func (f *Flags) AddConnection(set *pflag.FlagSet) {
	for _, o := range declared {
		if o.places&ofConnection != 0 {
			f.Add(set, o.name)
		}
	}
}

// Add adds one option to the flags of a command.
func (f *Flags) Add(set *pflag.FlagSet, name string) {
	f.set = set
	set.SortFlags = false
	o := find(name)
	flag := set.VarPF(o.value(&f.Options), o.name, o.short, o.help)
	switch {
	case flag.Value.Type() == "bool":
		flag.NoOptDefVal = "true"
	case name == "uid", name == "gid": // the help does not show the user who happens to print it
		flag.DefValue = ""
	}
}

// given tells whether a flag on the command line has set an option.
func (f *Flags) given(name string) bool { return f.set != nil && f.set.Changed(name) }

// has tells whether the command has an option.
func (f *Flags) has(name string) bool { return f.set != nil && f.set.Lookup(name) != nil }

// ApplyLists sets options from the values of -o. A value is a list as in fstab: comma-separated items NAME or NAME=VALUE, where NAME
// is the name of a flag with - or _. Options that a flag has set stay as they are. Options of mount(8) that change nothing for
// mailfs are skipped.
func (f *Flags) ApplyLists() error {
	for _, list := range f.list {
		for item := range strings.SplitSeq(list, ",") {
			if err := f.applyItem(strings.TrimSpace(item)); err != nil {
				return err
			}
		}
	}
	return nil
}

// applyItem sets the option of one item of a list.
func (f *Flags) applyItem(item string) error {
	name, value, hasValue := strings.Cut(item, "=")
	switch {
	case item == "" || isGeneric(name):
		return nil
	case item == "rw", name == "write":
		return WrongUsage("-o %s: this version of mailfs is read-only; write ro", item)
	case name == "password", name == "pass":
		return WrongUsage("-o %s: options can be read by every user of this machine; use password_command", name)
	}
	o := find(strings.ReplaceAll(name, "_", "-"))
	if o == nil {
		return WrongUsage("-o: unknown option %q", item)
	}
	field := o.value(&f.Options)
	if !hasValue {
		if field.Type() != "bool" {
			return WrongUsage("-o %s: a value is missing; write %s=VALUE", item, item)
		}
		value = "true"
	}
	if f.given(o.name) {
		return nil
	}
	if err := field.Set(value); err != nil {
		return WrongUsage("-o %s: %w", item, err)
	}
	return nil
}

// generic are the options of mount(8) that every file system accepts and that change nothing for mailfs.
var generic = []string{
	"ro", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev", "nofail",
	"dev", "nodev", "suid", "nosuid", "exec", "noexec", "sync", "async", "dirsync",
	"atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime",
	"lazytime", "nolazytime", "comment",
}

func isGeneric(name string) bool {
	return slices.Contains(generic, name) || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-")
}

// check returns an error for values that can't work.
func (f *Flags) check() error {
	switch {
	case f.Connections < 1 || f.Connections > maxConnections:
		return WrongUsage("--connections %d: it is a number from 1 to %d", f.Connections, maxConnections)
	case f.UID != uint32(os.Getuid()) && !f.AllowOther:
		return WrongUsage("--uid %d: only the user who mounts may use the mount; add --allow-other", f.UID)
	case f.Timeout == 0:
		return WrongUsage("--timeout 0: it must be longer than 0")
	}
	return nil
}

// oneCommand returns an error if --password-command or --token-command would be for several accounts, or if both are set.
func (f *Flags) oneCommand(accounts int) error {
	switch {
	case f.PasswordCommand != "" && f.TokenCommand != "":
		return WrongUsage("either --password-command or --token-command: use only one of them")
	case f.PasswordCommand != "" && accounts > 1:
		return WrongUsage("--password-command is for one account; write password_command in the tables of the configuration")
	case f.TokenCommand != "" && accounts > 1:
		return WrongUsage("--token-command is for one account; write token_command in the tables of the configuration")
	}
	return nil
}

// UsageError is an error in a command line: exit status 2.
type UsageError struct{ err error }

func (e *UsageError) Error() string { return e.err.Error() }
func (e *UsageError) Unwrap() error { return e.err }

// WrongUsage returns a UsageError.
func WrongUsage(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }
