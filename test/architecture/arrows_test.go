// Package architecture holds what ARCHITECTURE.md promises of the packages to be so: which may import which, and how large
// their files and functions are.
package architecture

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/mailfs/mailfs"

// arrows are the packages of the program and what each may import of the others. Only the command chooses protocols:
//
//	cmd -> fs -> cache -> remote <- remote/imap, remote/pop3, remote/smtp
var arrows = map[string][]string{
	"cmd/mailfs": {
		"cmd/mailfs/config", "cmd/mailfs/demo", "cmd/mailfs/process", "cmd/mailfs/secret",
		"fs", "cache", "remote", "remote/dial", "remote/imap", "remote/pop3", "remote/smtp",
	},
	"cmd/mailfs/secret":  {"cmd/mailfs/config", "cmd/mailfs/process", "remote", "remote/dial"},
	"cmd/mailfs/config":  {"cmd/mailfs/process", "fs", "cache", "remote/dial"},
	"cmd/mailfs/process": {},
	"cmd/mailfs/demo":    {},

	"fs": {"cache", "cache/message", "remote"},

	"cache":          {"cache/disk", "cache/identity", "cache/lease", "cache/sizes", "cache/status", "cache/memory", "cache/wait", "cache/walk", "cache/table", "cache/message", "remote", "remote/buffer"},
	"cache/disk":     {"cache/table", "remote"},
	"cache/identity": {"cache/disk", "cache/message", "cache/table", "remote"},
	"cache/lease":    {},
	"cache/memory":   {},
	"cache/sizes":    {"cache/table", "remote"},
	"cache/status":   {},
	"cache/wait":     {"remote"},
	"cache/walk":     {"cache/table", "remote"},
	"cache/table":    {"cache/message", "remote"},
	"cache/message":  {"remote"},

	"remote/imap":       {"remote/imap/wire", "remote/dial", "remote/buffer", "remote"},
	"remote/imap/wire":  {"remote"},
	"remote/pop3":       {"remote/dial", "remote/buffer", "remote"},
	"remote/smtp":       {"remote/dial", "remote"},
	"remote/remotetest": {"remote/dial", "remote"},
	"remote/dial":       {"remote"},
	"remote/buffer":     {},
	"remote":            {},
}

// testArrows are what the tests of a package may import beyond what the package may.
var testArrows = map[string][]string{
	"cache":           {"remote/remotetest", "remote/dial", "remote/imap"},
	"remote/imap":     {"remote/remotetest"},
	"remote/pop3":     {"remote/remotetest"},
	"remote/smtp":     {"remote/remotetest"},
	"cmd/mailfs/demo": {"remote/pop3", "remote/dial", "remote"},
}

// libraries are packages of others that only some packages import, and which.
var libraries = map[string][]string{
	"github.com/hanwen/go-fuse":     {"fs"},
	"github.com/emersion/go-imap":   {"remote/imap", "remote/remotetest", "cmd/mailfs/demo"},
	"github.com/knadh/go-pop3":      {"remote/pop3"},
	"github.com/emersion/go-smtp":   {"remote/smtp"},
	"go.etcd.io/bbolt":              {"cache/disk"},
	"github.com/zalando/go-keyring": {"cmd/mailfs/secret"},
	"golang.org/x/oauth2":           {"cmd/mailfs/secret"},
	"github.com/BurntSushi/toml":    {"cmd/mailfs/config"},
}

// forTests are packages below test, which are no part of the program: they may import all of it, and none of it them.
const forTests = "test"

// listed is what go list says of a package.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
	Deps                               []string // what it imports, and what that imports, and so on
}

// name is the path of a package in this module.
func (l listed) name() string {
	return strings.TrimPrefix(strings.TrimPrefix(l.ImportPath, module), "/")
}

// list returns all packages of this module as they are built for a system.
func list(t *testing.T, system string) (all []listed) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports,Deps", module+"/...")
	cmd.Env = append(os.Environ(), "GOOS="+system)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var l listed
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
}

// ours returns those of some imports that are packages of this module, by their names.
func ours(imports []string) (names []string) {
	for _, path := range imports {
		if name, ok := strings.CutPrefix(path, module+"/"); ok {
			names = append(names, name)
		}
	}
	return names
}

func isForTests(name string) bool { return name == forTests || strings.HasPrefix(name, forTests+"/") }

func TestPackagesImportAlongTheArrowsOnly(t *testing.T) {
	used := map[[2]string]bool{} // arrows along which something is imported
	for _, system := range []string{"linux", "darwin"} {
		for _, l := range list(t, system) {
			name := l.name()
			if isForTests(name) {
				continue
			}
			may, ok := arrows[name]
			if !ok {
				t.Errorf("package %s is not in the table: say what it may import", name)
				continue
			}
			used[[2]string{name}] = true
			for _, imported := range ours(l.Imports) {
				used[[2]string{name, imported}] = true
				if !slices.Contains(may, imported) {
					t.Errorf("%s imports %s, against the arrows; it may import %q", name, imported, may)
				}
			}
			for _, imported := range ours(slices.Concat(l.TestImports, l.XTestImports)) {
				used[[2]string{name, imported}] = true
				if imported != name && !slices.Contains(may, imported) && !slices.Contains(testArrows[name], imported) {
					t.Errorf("the tests of %s import %s, against the arrows", name, imported)
				}
			}
		}
	}
	for name, may := range arrows {
		if !used[[2]string{name}] {
			t.Errorf("package %s is in the table but not in the module", name)
		}
		for _, imported := range slices.Concat(may, testArrows[name]) {
			if !used[[2]string{name, imported}] {
				t.Errorf("package %s may import %s and does not: take the arrow out of the table", name, imported)
			}
		}
	}
}

func TestArrowsGoInNoCircle(t *testing.T) {
	var reach func(from string, seen map[string]bool)
	reach = func(from string, seen map[string]bool) {
		for _, to := range arrows[from] {
			if !seen[to] {
				seen[to] = true
				reach(to, seen)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(arrows)) {
		seen := map[string]bool{}
		reach(name, seen)
		if seen[name] {
			t.Errorf("package %s may import itself by way of others", name)
		}
		for to := range seen {
			if _, ok := arrows[to]; !ok {
				t.Errorf("package %s may import %s, which is not in the table", name, to)
			}
		}
	}
}

func TestLibrariesAreImportedWhereTheyBelong(t *testing.T) {
	for _, system := range []string{"linux", "darwin"} {
		for _, l := range list(t, system) {
			name := l.name()
			if isForTests(name) {
				continue
			}
			for library, packages := range libraries {
				in := func(path string) bool { return path == library || strings.HasPrefix(path, library+"/") }
				if slices.ContainsFunc(l.Imports, in) && !slices.Contains(packages, name) {
					t.Errorf("%s imports %s, which belongs in %q only", name, library, packages)
				}
			}
		}
	}
}

// The commands that copy and verify mail stand on cache without a mount.
func TestNothingBelowFsNeedsFUSE(t *testing.T) {
	for _, l := range list(t, "linux") {
		name := l.name()
		if name != "cache" && !strings.HasPrefix(name, "cache/") && name != "remote" && !strings.HasPrefix(name, "remote/") {
			continue
		}
		for _, path := range l.Deps {
			if strings.HasPrefix(path, "github.com/hanwen/go-fuse") {
				t.Errorf("%s needs %s", name, path)
			}
		}
	}
}
