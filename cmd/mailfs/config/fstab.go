package config

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mount(8) calls the program as FstabName for file systems of type mailfs, and as fuseName for those of type fuse.mailfs. Users
// write the latter because /proc/mounts shows that, and because other FUSE file systems have such a type.
const (
	FstabName = "mount.mailfs"
	fuseName  = "mount.fuse.mailfs"
)

// CommandLine returns the arguments of the program. If mount(8) has called the program, its arguments are turned into those of
// mailfs mount. nil means that there is nothing to do.
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

// usualSearchPath is PATH for the commands that mailfs runs, where mount(8) has removed it.
const usualSearchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// restoreEnvironment sets the variables that mount(8) removes before it calls a helper. Without PATH no password command would run.
// Without HOME the command would not find its files, and mailfs would have no place for its cache.
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
// is a URL, a configuration file, or any word if the option config names the file.
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
			case 's', 'n', 'v': // sloppy, no mtab, verbose: they change nothing for mailfs
				flags = rest
				continue
			case 'f': // fake: do not mount
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
	// mount(8) passes rw where fstab does not say ro.
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
