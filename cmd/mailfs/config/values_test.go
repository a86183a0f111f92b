package config

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestASizeIsReadAsCoreutilsDo(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "17": 17, "17B": 17, "64MiB": 64 << 20, "64M": 64 << 20, "64MB": 64_000_000, "2GiB": 2 << 30, "1K": 1024,
		"1KB": 1000, "3T": 3 << 40, "3TB": 3_000_000_000_000,
	} {
		var b byteSize
		if err := b.Set(in); err != nil || int64(b) != want {
			t.Errorf("%q is %d (%v), want %d", in, b, err, want)
		}
	}
	for _, in := range []string{"", "M", "-1", "1.5G", "64 MiB", "64mib", "1KK", "1i", "1Bi", "9999999999T", "lots"} {
		var b byteSize
		if err := b.Set(in); err == nil {
			t.Errorf("%q is taken for %d", in, b)
		}
	}
	for n, want := range map[byteSize]string{0: "0", 1000: "1000", 64 << 20: "64MiB", 1 << 50: "1024TiB"} {
		if got := n.String(); got != want {
			t.Errorf("%d prints as %q, want %q", int64(n), got, want)
		}
	}
}

func TestADurationIsReadAsGoDoesOrInSeconds(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "30": 30 * time.Second, "0.5": 500 * time.Millisecond, "1m30s": 90 * time.Second, "0": 0,
	} {
		var d Duration
		if err := d.Set(in); err != nil || time.Duration(d) != want {
			t.Errorf("%q is %v (%v), want %v", in, d, err, want)
		}
	}
	for _, in := range []string{"", "-3s", "-1", "soon", "NaN", "Inf", "1e300", "9000h"} {
		var d Duration
		if err := d.Set(in); err == nil {
			t.Errorf("%q is taken for %v", in, time.Duration(d))
		}
	}
}

func TestPermissionsAreReadInOctal(t *testing.T) {
	for in, want := range map[string]permissions{"0400": 0o400, "755": 0o755, "0o644": 0o644} {
		var p permissions
		if err := p.Set(in); err != nil || p != want {
			t.Errorf("%q is %o (%v), want %o", in, p, err, want)
		}
	}
	for _, in := range []string{"", "0999", "01000", "-1", "u+r"} {
		var p permissions
		if err := p.Set(in); err == nil {
			t.Errorf("%q is taken for %o", in, p)
		}
	}
}

func TestOptionsInFstabSetWhatTheCommandLineHasNotSet(t *testing.T) {
	parse := func(args ...string) *Flags {
		f := NewFlags()
		flags := pflag.NewFlagSet("mount", pflag.ContinueOnError)
		f.AddAll(flags)
		if err := flags.Parse(args); err != nil {
			t.Fatal(err)
		}
		return f
	}
	list := "ro,defaults,_netdev,nofail,noauto,user,x-systemd.automount,comment=hello,noatime,nosuid,," +
		"allow_other,config=/etc/mailfs.toml,ca-file=/ca,file_mode=0444,memory=1G,timeout=99s,refresh=5"
	f := parse("--timeout", "7s", "-o", list)
	if err := f.ApplyLists(); err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Config, want.CAFile, want.Memory, want.Refresh = "/etc/mailfs.toml", "/ca", 1<<30, 5*time.Second
	want.Timeout = Duration(7 * time.Second) // the command line said so
	want.AllowOther, want.FileMode = true, 0o444
	if f.Options != want {
		t.Errorf("the options are %+v, want %+v", f.Options, want)
	}

	for list, says := range map[string]string{
		"rw":               "read-only",
		"ro,write":         "read-only",
		"nonsense":         `unknown option "nonsense"`,
		"nonsense=1":       `unknown option "nonsense=1"`,
		"option=ro":        "unknown option",
		"help":             "unknown option",
		"password=hunter2": "password_command",
		"config":           "value is missing",
		"memory=lots":      "lots",
		"tls=maybe":        "auto or off",
		"log_level=loud":   "debug, info, warn or error",
	} {
		err := parse("-o", list).ApplyLists()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("-o %s: %v, want something about %q", list, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("-o %s: the password shows: %v", list, err)
		}
	}
}

func TestEveryDefaultIsWrittenAsItIsRead(t *testing.T) {
	o := Defaults()
	for _, d := range declared {
		field := d.value(&o)
		written := field.String()
		if err := field.Set(written); err != nil || field.String() != written || d.defaultValue != "" && written != d.defaultValue {
			t.Errorf("%s: %q is read as %q (%v), its default is %q", d.name, written, field, err, d.defaultValue)
		}
	}
}
