package main

import (
	"fmt"
	"log/slog"
	"math"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// applyOptions sets flags from a list of options as they stand in fstab: comma-separated, NAME or NAME=VALUE, where
// NAME is a long flag with - or _. What the command line says itself stays. Options of mount(8) that mean nothing here
// are passed over.
func applyOptions(flags *pflag.FlagSet, list string) error {
	for option := range strings.SplitSeq(list, ",") {
		option = strings.TrimSpace(option)
		name, value, hasValue := strings.Cut(option, "=")
		switch {
		case option == "" || isGeneric(name):
			continue
		case option == "rw", name == "write":
			return wrongUsage("-o %s: this version of mailfs is read-only; write ro", option)
		case name == "password", name == "pass":
			return wrongUsage("-o %s: options can be read by every user of this machine; use password_command", name)
		}
		name = strings.ReplaceAll(name, "_", "-")
		flag := flags.Lookup(name)
		if flag == nil || name == "option" || name == "help" {
			return wrongUsage("-o: unknown option %q", strings.TrimSpace(option))
		}
		if !hasValue {
			if flag.NoOptDefVal == "" {
				return wrongUsage("-o %s: a value is missing; write %s=VALUE", option, option)
			}
			value = flag.NoOptDefVal
		}
		if flag.Changed {
			continue
		}
		if err := flag.Value.Set(value); err != nil {
			return wrongUsage("-o %s: %w", option, wrongValue(flag, value, err))
		}
	}
	return nil
}

// wrongValue says why a flag does not take a value: in the flag's own words, or in better ones than package strconv has.
func wrongValue(flag *pflag.Flag, value string, err error) error {
	switch flag.Value.Type() {
	case "int":
		return fmt.Errorf("%q is not a number", value)
	case "bool":
		return fmt.Errorf("%q is neither true nor false", value)
	}
	return err
}

// generic are the options of mount(8) that every file system accepts and that change nothing about mailfs.
var generic = []string{
	"ro", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev", "nofail",
	"dev", "nodev", "suid", "nosuid", "exec", "noexec", "sync", "async", "dirsync",
	"atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime",
	"lazytime", "nolazytime", "comment",
}

func isGeneric(name string) bool {
	return slices.Contains(generic, name) || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-")
}

// byteSize is a number of bytes, written as in coreutils: 64M and 64MiB are 64*1024*1024, 64MB is 64*1000*1000.
type byteSize int64

// units are what a size may end in.
var units = map[string]int64{
	"": 1, "B": 1,
	"K": 1 << 10, "KiB": 1 << 10, "KB": 1e3,
	"M": 1 << 20, "MiB": 1 << 20, "MB": 1e6,
	"G": 1 << 30, "GiB": 1 << 30, "GB": 1e9,
	"T": 1 << 40, "TiB": 1 << 40, "TB": 1e12,
}

func (b *byteSize) Set(s string) error {
	digits := strings.TrimRight(s, "KMGTiB")
	n, err := strconv.ParseInt(digits, 10, 64)
	unit, ok := units[s[len(digits):]]
	if err != nil || !ok || n < 0 || n > math.MaxInt64/unit {
		return fmt.Errorf("%q is not a size; write it as 64MiB, 2GiB or a number of bytes", s)
	}
	*b = byteSize(n * unit)
	return nil
}

func (b *byteSize) String() string {
	n, unit := int64(*b), ""
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, u
	}
	return strconv.FormatInt(n, 10) + unit
}

func (*byteSize) Type() string { return "SIZE" }

// duration is a length of time, written as Go does (30s, 1m30s) or as a number of seconds.
type duration time.Duration

// maxDuration is longer than anybody waits on purpose.
const maxDuration = 365 * 24 * time.Hour

func (d *duration) Set(s string) error {
	t, err := time.ParseDuration(s)
	if seconds, e := strconv.ParseFloat(s, 64); e == nil && math.Abs(seconds) <= maxDuration.Seconds() {
		t, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil {
		return fmt.Errorf("%q is not a length of time; write it as 30s, 5m or a number of seconds", s)
	}
	if t < 0 || t > maxDuration {
		return fmt.Errorf("%q is out of range", s)
	}
	*d = duration(t)
	return nil
}

func (d *duration) String() string { return time.Duration(*d).String() }

func (*duration) Type() string { return "TIME" }

// UnmarshalText reads a duration from the configuration file.
func (d *duration) UnmarshalText(text []byte) error { return d.Set(string(text)) }

// permissions are the permission bits of a file, in octal.
type permissions uint32

func (p *permissions) Set(s string) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is no file mode; write it in octal, as 0400", s)
	}
	*p = permissions(n)
	return nil
}

func (p *permissions) String() string { return fmt.Sprintf("%04o", uint32(*p)) }

func (*permissions) Type() string { return "MODE" }

// userID is a user of this machine, written as a number or a name.
type userID int

func (u *userID) Set(s string) error {
	if found, err := user.Lookup(s); err == nil {
		s = found.Uid
	}
	id, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return fmt.Errorf("there is no user %q", s)
	}
	*u = userID(id)
	return nil
}

func (u *userID) String() string { return strconv.Itoa(int(*u)) }

func (*userID) Type() string { return "USER" }

// groupID is a group of this machine, written as a number or a name.
type groupID int

func (g *groupID) Set(s string) error {
	if found, err := user.LookupGroup(s); err == nil {
		s = found.Gid
	}
	id, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return fmt.Errorf("there is no group %q", s)
	}
	*g = groupID(id)
	return nil
}

func (g *groupID) String() string { return strconv.Itoa(int(*g)) }

func (*groupID) Type() string { return "GROUP" }

// tlsMode is "auto" (the URL's scheme decides how TLS begins) or "off".
type tlsMode string

func (m *tlsMode) Set(s string) error {
	if s != "auto" && s != "off" {
		return fmt.Errorf("%q is no way to use TLS; it is auto or off", s)
	}
	*m = tlsMode(s)
	return nil
}

func (m *tlsMode) String() string { return string(*m) }

func (*tlsMode) Type() string { return "auto|off" }

// UnmarshalText reads the mode from the configuration file.
func (m *tlsMode) UnmarshalText(text []byte) error { return m.Set(string(text)) }

// logLevel is the least important message that is logged.
type logLevel slog.Level

func (l *logLevel) Set(s string) error {
	var level slog.Level
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, s) || level.UnmarshalText([]byte(s)) != nil {
		return fmt.Errorf("%q is no level; it is debug, info, warn or error", s)
	}
	*l = logLevel(level)
	return nil
}

func (l *logLevel) String() string { return strings.ToLower(slog.Level(*l).String()) }

func (*logLevel) Type() string { return "LEVEL" }
