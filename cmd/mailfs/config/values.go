package config

import (
	"fmt"
	"log/slog"
	"math"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The types below are the types of options. Each is a pflag.Value: Set reads a value from the command line, from -o or from the
// configuration file, and String writes it so that Set can read it again. The errors of Set are for people.

// text is a text.
type text string

func (t *text) Set(s string) error { *t = text(s); return nil }

func (t *text) String() string { return string(*t) }

func (*text) Type() string { return "string" }

// number is a whole number.
type number int

func (n *number) Set(s string) error {
	v, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number", s)
	}
	*n = number(v)
	return nil
}

func (n *number) String() string { return strconv.Itoa(int(*n)) }

func (*number) Type() string { return "int" }

// truth is true or false.
type truth bool

func (b *truth) Set(s string) error {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return fmt.Errorf("%q is neither true nor false", s)
	}
	*b = truth(v)
	return nil
}

func (b *truth) String() string { return strconv.FormatBool(bool(*b)) }

func (*truth) Type() string { return "bool" }

// byteSize is a number of bytes, written as in coreutils: 64M and 64MiB are 64*1024*1024, 64MB is 64*1000*1000.
type byteSize int64

// units are the suffixes of a size, with their factors.
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

// Duration is a length of time, written as in Go (30s, 1m30s) or as a number of seconds.
type Duration time.Duration

// maxDuration is the longest duration that is taken: a longer one is a mistake.
const maxDuration = 365 * 24 * time.Hour

func (d *Duration) Set(s string) error {
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
	*d = Duration(t)
	return nil
}

func (d *Duration) String() string { return time.Duration(*d).String() }

func (*Duration) Type() string { return "TIME" }

// UnmarshalText reads a duration from the configuration file.
func (d *Duration) UnmarshalText(text []byte) error { return d.Set(string(text)) }

// permissions are the permission bits of a file, in octal.
type permissions uint32

func (p *permissions) Set(s string) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is not a file mode; write it in octal, as 0400", s)
	}
	*p = permissions(n)
	return nil
}

func (p *permissions) String() string { return fmt.Sprintf("%04o", uint32(*p)) }

func (*permissions) Type() string { return "MODE" }

// userID is a user of this machine, written as a number or a name.
type userID uint32

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

func (u *userID) String() string { return strconv.FormatUint(uint64(*u), 10) }

func (*userID) Type() string { return "USER" }

// groupID is a group of this machine, written as a number or a name.
type groupID uint32

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

func (g *groupID) String() string { return strconv.FormatUint(uint64(*g), 10) }

func (*groupID) Type() string { return "GROUP" }

// TLSMode is "auto" (the scheme of the URL decides how TLS begins), "off" (no TLS), or empty in a table without the key.
type TLSMode string

func (m *TLSMode) Set(s string) error {
	if s != "auto" && s != "off" {
		return fmt.Errorf("%q is not a value of tls; write auto or off", s)
	}
	*m = TLSMode(s)
	return nil
}

func (m *TLSMode) String() string { return string(*m) }

func (*TLSMode) Type() string { return "auto|off" }

// UnmarshalText reads the mode from the configuration file.
func (m *TLSMode) UnmarshalText(text []byte) error { return m.Set(string(text)) }

// logLevel is the lowest level of messages that are logged.
type logLevel slog.Level

func (l *logLevel) Set(s string) error {
	var level slog.Level
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, s) || level.UnmarshalText([]byte(s)) != nil {
		return fmt.Errorf("%q is not a log level; write debug, info, warn or error", s)
	}
	*l = logLevel(level)
	return nil
}

func (l *logLevel) String() string { return strings.ToLower(slog.Level(*l).String()) }

func (*logLevel) Type() string { return "LEVEL" }
