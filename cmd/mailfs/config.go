package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
)

// configuration is what a configuration file says. Values at its top stand for flags of the same name.
type configuration struct {
	path     string
	options  map[string]any // by name of the flag
	accounts []accountTable // in the order of the file
}

// accountTable is one table [account.NAME].
type accountTable struct {
	Name            string   `toml:"-"`
	URL             string   `toml:"url"`
	PasswordCommand string   `toml:"password_command"`
	TokenCommand    string   `toml:"token_command"`
	CAFile          string   `toml:"ca_file"`
	TLS             tlsMode  `toml:"tls"`
	Connections     int      `toml:"connections"`
	Timeout         duration `toml:"timeout"`

	Prefetch cache.Prefetch `toml:"prefetch"`
	Keep     bool           `toml:"keep"`

	OAuth *oauthTable `toml:"oauth"`
}

// fileOptions are the flags that the top of a configuration file may set.
var fileOptions = []string{
	"ca-file", "tls", "cache-dir", "cache-size", "memory", "refresh", "connections", "timeout", "allow-other", "file-mode", "dir-mode",
	"uid", "gid",
	"log-level", "log-file",
}

// configPath is where the configuration is looked for: $XDG_CONFIG_HOME/mailfs/config.toml, or below ~/.config.
func configPath() (string, error) {
	// The base directory specification has relative paths ignored.
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "mailfs", "config.toml"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New("there is no home directory to look for the configuration in; name the file with --config (in fstab: config=FILE)")
	}
	return filepath.Join(home, ".config", "mailfs", "config.toml"), nil
}

// readConfiguration reads a configuration file. Its errors name the file and what is wrong in it.
func readConfiguration(path string) (*configuration, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, process.FileError(path, err)
	}
	var file map[string]toml.Primitive
	meta, err := toml.Decode(string(text), &file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, tomlError(err))
	}
	c := &configuration{path: path, options: map[string]any{}}
	tables := map[string]accountTable{}
	for key, value := range file {
		option := strings.ReplaceAll(key, "_", "-")
		switch {
		case key == "account":
			if err := meta.PrimitiveDecode(value, &tables); err != nil {
				return nil, fmt.Errorf("%s: %w", path, tomlError(err))
			}
		case slices.Contains(fileOptions, option) && !strings.Contains(key, "-"):
			var v any
			if err := meta.PrimitiveDecode(value, &v); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, key, tomlError(err))
			}
			c.options[option] = v
		default:
			return nil, fmt.Errorf("%s: %w", path, unknownKey(toml.Key{key}))
		}
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: %w", path, unknownKey(unknown[0]))
	}
	for _, key := range meta.Keys() { // a map has no order, the file has
		if len(key) != 2 || key[0] != "account" {
			continue
		}
		account := tables[key[1]]
		account.Name = key[1]
		if err := account.check(); err != nil {
			return nil, fmt.Errorf("%s: account %q: %w", path, account.Name, err)
		}
		account.CAFile = c.file(account.CAFile)
		c.accounts = append(c.accounts, account)
	}
	if len(c.accounts) == 0 {
		return nil, fmt.Errorf("%s: there is no account in it; write a table [account.NAME] with url = \"imaps://USER@HOST\"",
			path)
	}
	return c, nil
}

// check refuses what can't be a directory's name, and an account that is nowhere.
func (a *accountTable) check() error {
	switch {
	case a.Name == "", len(a.Name) > 255, strings.HasPrefix(a.Name, "."), strings.Contains(a.Name, "/"),
		!utf8.ValidString(a.Name), strings.ContainsFunc(a.Name, unicode.IsControl):
		return errors.New("the name can't be a directory's: it may be 255 bytes, has no / and doesn't begin with a dot")
	case a.URL == "":
		return errors.New("url is missing")
	case a.PasswordCommand != "" && a.TokenCommand != "", a.OAuth != nil && a.TokenCommand != "",
		a.OAuth != nil && a.PasswordCommand != "":
		return errors.New("there may be one of password_command, token_command and oauth")
	case a.Connections < 0 || a.Connections > maxConnections:
		return fmt.Errorf("connections = %d: it is a number from 1 to %d", a.Connections, maxConnections)
	case a.OAuth != nil:
		return a.OAuth.check()
	}
	return nil
}

// file is a file as the configuration names it: relative names start at the configuration's directory, ~ is the home
// directory.
func (c *configuration) file(name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(c.path), name)
}

// apply sets the flags that the command line left alone.
func (c *configuration) apply(flags *pflag.FlagSet) error {
	for name, value := range c.options {
		flag := flags.Lookup(name)
		if flag == nil || flag.Changed {
			continue
		}
		text := fmt.Sprint(value)
		if _, isString := value.(string); !isString && flag.Value.Type() == "MODE" {
			return fmt.Errorf("%s: %s: write it as a string, as in \"0400\"", c.path, strings.ReplaceAll(name, "-", "_"))
		}
		if strings.HasSuffix(name, "-file") || name == "cache-dir" && text != noCache {
			text = c.file(text)
		}
		if err := flag.Value.Set(text); err != nil {
			return fmt.Errorf("%s: %s: %w", c.path, strings.ReplaceAll(name, "-", "_"), wrongValue(flag, text, err))
		}
	}
	return nil
}

// unknownKey says that a key means nothing, or why there is none for passwords.
func unknownKey(key toml.Key) error {
	if last := strings.ToLower(key[len(key)-1]); last == "password" || last == "pass" {
		return fmt.Errorf("%s: mailfs takes no password from a file, where it would lie open in backups and copies; "+
			"write password_command", key)
	}
	return fmt.Errorf("unknown key %q", key.String())
}

// tomlError is an error of the TOML reader with the line it is about, in one line of text.
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

// wrongType is what the TOML reader says of a value that does not fit: its line and key, then in Go's words what it is
// and what was wanted.
var wrongType = regexp.MustCompile(`^line (\d+) \(last key "(.+)"\): ` +
	`(?:incompatible types: TOML value has type (\S+); destination has type (\S+)|type mismatch for \S+: expected table but found (\S+))$`)

// typeName is the word of people for a type.
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
