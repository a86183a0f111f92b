package config

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// FstabName is the name under which mount(8) calls the program for file systems of type mailfs, fuseName the one for those
// of type fuse.mailfs: people copy that from /proc/mounts, and write so for others of FUSE.
const (
	FstabName = "mount.mailfs"
	fuseName  = "mount.fuse.mailfs"
)

// CommandLine returns the arguments of the program: those of mount(8) turned into the ones of mailfs mount, when it was
// called as mount(8) does. nil means that there is nothing to do.
func CommandLine(args []string) ([]string, error) {
	if len(args) == 0 {
		return args, nil
	}
	if name := filepath.Base(args[0]); name != FstabName && name != fuseName {
		return args[1:], nil
	}
	restoreEnvironment()
	return fromFstab(args[1:])
}

// usualSearchPath is where a command for the password is looked for when nobody says so.
const usualSearchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// restoreEnvironment puts back what mount(8) takes away from its helpers. Without PATH no command for the password would
// run, without HOME it would not find what it keeps there, and there would be no cache.
func restoreEnvironment() {
	if os.Getenv("PATH") == "" {
		os.Setenv("PATH", usualSearchPath)
	}
	if os.Getenv("HOME") == "" {
		if me, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil && me.HomeDir != "" {
			os.Setenv("HOME", me.HomeDir)
		}
	}
}

// fromFstab reads SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE], as mount(8) documents it for helpers. SOURCE
// is a URL, a configuration file, or any word for the configuration that an option names.
func fromFstab(args []string) ([]string, error) {
	var where, options []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			where = append(where, arg)
			continue
		}
		for flags := arg[1:]; flags != ""; {
			flag, rest := flags[0], flags[1:]
			switch flag {
			case 's', 'n', 'v': // sloppy, no mtab, verbose: there is nothing that they would change
				flags = rest
				continue
			case 'f': // fake
				return nil, nil
			case 'o', 't', 'N':
			default:
				return nil, WrongUsage("unknown option -%c; usage: %s SOURCE DIR [-sfnv] [-o OPTIONS]", flag, FstabName)
			}
			if rest == "" {
				if len(args) == 0 {
					return nil, WrongUsage("-%c: a value is missing", flag)
				}
				rest, args = args[0], args[1:]
			}
			if flag == 'o' {
				options = append(options, strings.Split(rest, ",")...)
			}
			flags = ""
		}
	}
	if len(where) != 2 {
		return nil, WrongUsage("usage: %s SOURCE DIR [-sfnv] [-o OPTIONS]", FstabName)
	}
	// mount(8) says rw whenever nobody has said ro.
	options = slices.DeleteFunc(options, func(o string) bool { return o == "rw" || o == "" })
	line := []string{"mount"}
	switch source := where[0]; {
	case IsURL(source):
		line = append(line, source)
	case filepath.IsAbs(source):
		options = append(options, "config="+source)
	}
	line = append(line, where[1])
	if len(options) > 0 {
		line = append(line, "-o", strings.Join(options, ","))
	}
	return line, nil
}
