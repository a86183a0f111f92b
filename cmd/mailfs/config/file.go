package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"github.com/mailfs/mailfs/cmd/mailfs/process"
)

// file is the content of a configuration file. A key at its top sets the option of the same name.
type file struct {
	path     string
	options  map[string]any // the values at the top, by name of the option
	accounts []Account      // the tables [account.NAME], in the order of the file
}

// usualPath returns where the configuration file is without --config: $XDG_CONFIG_HOME/mailfs/config.toml, or below ~/.config.
func usualPath() (string, error) {
	// Programs have to ignore a relative path (XDG Base Directory Specification).
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "mailfs", "config.toml"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New("there is no home directory to look for the configuration in; name the file with --config (in fstab: config=FILE)")
	}
	return filepath.Join(home, ".config", "mailfs", "config.toml"), nil
}

// path returns the absolute path of the configuration file: that of --config, or the usual one.
func (o *Options) path() (string, error) {
	if o.Config == "" {
		return usualPath()
	}
	return filepath.Abs(o.Config)
}

// file reads the configuration file.
func (f *Flags) file() (*file, error) {
	path, err := f.path()
	if err != nil {
		return nil, err
	}
	c, err := readFile(path)
	if f.Config == "" && errors.Is(err, os.ErrNotExist) {
		return nil, WrongUsage("give a URL, or write %s (mailfs setup EMAIL does; see also mailfs mount --help)", path)
	}
	return c, err
}

// Tables returns the accounts of the configuration file without the options, in the order of the file.
func (f *Flags) Tables() ([]Account, error) {
	c, err := f.file()
	if err != nil {
		return nil, err
	}
	return c.accounts, nil
}

// readFile reads a configuration file. The error names the file and what is wrong in it.
func readFile(path string) (*file, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, process.FileError(path, err)
	}
	var top map[string]toml.Primitive
	meta, err := toml.Decode(string(content), &top)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, tomlError(err))
	}
	f := &file{path: path, options: map[string]any{}}
	tables := map[string]Account{}
	for key, value := range top {
		o := find(strings.ReplaceAll(key, "_", "-"))
		switch {
		case key == "account":
			if err := meta.PrimitiveDecode(value, &tables); err != nil {
				return nil, fmt.Errorf("%s: %w", path, tomlError(err))
			}
		case o != nil && o.places&atTop != 0 && !strings.Contains(key, "-"):
			var v any
			if err := meta.PrimitiveDecode(value, &v); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, key, tomlError(err))
			}
			f.options[o.name] = v
		default:
			return nil, fmt.Errorf("%s: %w", path, unknownKey(toml.Key{key}))
		}
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: %w", path, unknownKey(unknown[0]))
	}
	for _, key := range meta.Keys() { // in the order of the file: a map has none
		if len(key) != 2 || key[0] != "account" {
			continue
		}
		account := tables[key[1]]
		account.Name = key[1]
		if err := account.checkTable(); err != nil {
			return nil, fmt.Errorf("%s: account %q: %w", path, account.Name, err)
		}
		account.CAFile = f.locate(account.CAFile)
		f.accounts = append(f.accounts, account)
	}
	if len(f.accounts) == 0 {
		return nil, fmt.Errorf("%s: there is no account in it; write a table [account.NAME] with url = \"imaps://USER@HOST\"",
			path)
	}
	return f, nil
}

// checkTable returns an error if the account's name can't be that of a directory, or if keys of its table are missing or exclude each
// other.
func (a *Account) checkTable() error {
	switch {
	case a.Name == "", len(a.Name) > 255, strings.HasPrefix(a.Name, "."), strings.Contains(a.Name, "/"),
		!utf8.ValidString(a.Name), strings.ContainsFunc(a.Name, unicode.IsControl):
		return errors.New("the name becomes that of a directory: it has at most 255 bytes, no / and no dot at the beginning")
	case a.URL == "":
		return errors.New("url is missing")
	case a.PasswordCommand != "" && a.TokenCommand != "", a.OAuth != nil && a.TokenCommand != "",
		a.OAuth != nil && a.PasswordCommand != "":
		return errors.New("only one of password_command, token_command and oauth may be set")
	case a.Connections < 0 || a.Connections > maxConnections:
		return fmt.Errorf("connections = %d: it is a number from 1 to %d", a.Connections, maxConnections)
	case a.OAuth != nil:
		return a.OAuth.check()
	}
	return nil
}

// locate returns the path of a file that the configuration names. A relative name is relative to the configuration's directory, and
// ~/ is the home directory.
func (f *file) locate(name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(f.path), name)
}

// apply sets the options of a command that its command line has not set. An option of -o counts as not set.
func (f *file) apply(flags *Flags) error {
	for _, o := range declared {
		value, said := f.options[o.name]
		if !said || !flags.has(o.name) || flags.given(o.name) {
			continue
		}
		field, key, written := o.value(&flags.Options), strings.ReplaceAll(o.name, "-", "_"), fmt.Sprint(value)
		if _, isString := value.(string); !isString && field.Type() == "MODE" {
			return fmt.Errorf("%s: %s: write it as a string, as in \"0400\"", f.path, key)
		}
		if o.places&isPath != 0 && !(o.name == "cache-dir" && written == noCache) {
			written = f.locate(written)
		}
		if err := field.Set(written); err != nil {
			return fmt.Errorf("%s: %s: %w", f.path, key, err)
		}
	}
	return nil
}

// account returns the table of an account.
func (f *file) account(name string) (Account, error) {
	var names []string
	for _, a := range f.accounts {
		if a.Name == name {
			return a, nil
		}
		names = append(names, a.Name)
	}
	return Account{}, fmt.Errorf("%s: there is no account %q, only %s; or give a URL (imaps://USER@HOST)", f.path, name,
		strings.Join(names, ", "))
}

// unknownKey is the error of a key that mailfs does not know. For a key like password it says why there is none.
func unknownKey(key toml.Key) error {
	if last := strings.ToLower(key[len(key)-1]); last == "password" || last == "pass" {
		return fmt.Errorf("%s: mailfs takes no password from a file, where it would lie open in backups and copies; "+
			"write password_command", key)
	}
	return fmt.Errorf("unknown key %q", key.String())
}

// tomlError turns an error of the TOML package into one line of text that names the line of the file.
func tomlError(err error) error {
	var parse toml.ParseError
	if errors.As(err, &parse) {
		return fmt.Errorf("line %d: %s", parse.Position.Line, parse.Message)
	}
	text := strings.TrimPrefix(err.Error(), "toml: ")
	if m := wrongType.FindStringSubmatch(text); m != nil {
		is, want := cmp.Or(m[3], m[5]), cmp.Or(m[4], "map")
		return fmt.Errorf("line %s: %s must be %s, not %s", m[1], m[2], typeName(want), typeName(is))
	}
	return errors.New(text)
}

// wrongType matches the error of the TOML package for a value of the wrong type: its line, its key, and the Go types that it has and
// should have.
var wrongType = regexp.MustCompile(`^line (\d+) \(last key "(.+)"\): ` +
	`(?:incompatible types: TOML value has type (\S+); destination has type (\S+)|type mismatch for \S+: expected table but found (\S+))$`)

// typeName describes a Go type to somebody who writes a configuration file.
func typeName(name string) string {
	switch {
	case name == "string":
		return "a string (in quotes)"
	case strings.HasPrefix(name, "int"), strings.HasPrefix(name, "float"):
		return "a number"
	case strings.HasPrefix(name, "bool"):
		return "true or false"
	case strings.HasPrefix(name, "[]"), name == "slice":
		return "a list"
	case strings.HasPrefix(name, "map"):
		return "a table"
	}
	return "a " + name
}
