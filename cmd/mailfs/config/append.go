package config

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/mailfs/mailfs/cmd/mailfs/process"
	"github.com/mailfs/mailfs/remote/dial"
)

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// AccountText returns the table of an account, for the configuration file. caFile is empty, or the file of --ca-file.
func AccountText(name string, server dial.Server, caFile string) string {
	key := name
	if !bareKey.MatchString(key) {
		key = tomlString(key)
	}
	scheme, host := server.Protocol, server.Host
	if server.ImplicitTLS {
		scheme += "s"
	}
	if usual, err := dial.ParseURL(scheme + "://" + host); err != nil || usual.Port != server.Port {
		host = net.JoinHostPort(host, strconv.Itoa(server.Port))
	}
	user := strings.ReplaceAll(url.PathEscape(server.User), "@", "%40")
	text := fmt.Sprintf("[account.%s]\nurl = %s\n", key, tomlString(scheme+"://"+user+"@"+host))
	if caFile != "" {
		if path, err := filepath.Abs(caFile); err == nil {
			caFile = path
		}
		text += fmt.Sprintf("ca_file = %s\n", tomlString(caFile))
	}
	return text
}

// tomlString quotes a text as a basic string of TOML.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// ErrAlready: the configuration has this account already, with the same server.
var ErrAlready = errors.New("the account is there already")

// AddAccount appends the table of an account to the configuration file. It writes a new file, reads that back, and replaces the
// old file if the new one has no error.
func (o *Options) AddAccount(name, table string) (path string, err error) {
	if path, err = o.path(); err != nil {
		return "", err
	}
	if target, err := filepath.EvalSymlinks(path); err == nil { // a link stays a link
		path = target
	}
	var info os.FileInfo
	mode := os.FileMode(0o600)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", process.FileError(filepath.Dir(path), err)
		}
	case err != nil:
		return "", process.FileError(path, err)
	default:
		if info, err = os.Stat(path); err != nil {
			return "", process.FileError(path, err)
		}
		mode = info.Mode().Perm()
		if c, err := readFile(path); err == nil {
			if there, err := c.account(name); err == nil {
				if strings.Contains(table, "\nurl = "+tomlString(there.URL)+"\n") {
					return path, ErrAlready
				}
				return "", fmt.Errorf("%s: there is an account %q already; choose another name with --name", path, name)
			}
		}
	}
	if len(text) > 0 {
		if !bytes.HasSuffix(text, []byte("\n")) {
			text = append(text, '\n')
		}
		text = append(text, '\n')
	}
	text = append(text, table...)
	next, err := os.CreateTemp(filepath.Dir(path), ".config-*.toml")
	if err != nil {
		return "", process.FileError(filepath.Dir(path), err)
	}
	defer os.Remove(next.Name()) // fails once the file was renamed
	_, err = next.Write(text)
	if old, ok := sysStat(info); ok && (int(old.Uid) != os.Geteuid() || int(old.Gid) != os.Getegid()) {
		err = errors.Join(err, next.Chown(int(old.Uid), int(old.Gid))) // chown resets mode bits, so it comes before chmod
	}
	err = errors.Join(err, next.Chmod(mode), next.Sync(), next.Close())
	if err != nil {
		return "", process.FileError(path, err)
	}
	if _, err := readFile(next.Name()); err != nil {
		return "", errors.New("nothing was written: " + strings.ReplaceAll(err.Error(), next.Name(), path))
	}
	if err := os.Rename(next.Name(), path); err != nil {
		return "", process.FileError(path, err)
	}
	return path, nil
}

// sysStat returns the owner of a file and the like. info is nil for a file that did not exist.
func sysStat(info os.FileInfo) (*syscall.Stat_t, bool) {
	if info == nil {
		return nil, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return stat, ok
}
