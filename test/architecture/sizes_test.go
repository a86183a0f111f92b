package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// What is larger is no longer read in one go, and hides more than one thought.
const (
	fileLines  = 500  // of a file, tests too
	funcLines  = 80   // of a function, but not of a test
	cacheLines = 3000 // of the package cache: it coordinates, and what it coordinates are packages below it
)

// source is a file of Go in this module.
type source struct {
	name  string // from the root of the module
	lines int
	set   *token.FileSet
	file  *ast.File
}

// isTest tells whether the source is no part of the program.
func (s source) isTest() bool {
	return strings.HasSuffix(s.name, "_test.go") || strings.HasPrefix(s.name, forTests+"/")
}

// sources reads all files of Go in this module. go test notes what is read here, and so runs the tests of this package again
// after any of them has changed.
func sources(t *testing.T) (all []source) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && path != root && strings.HasPrefix(e.Name(), ".") {
			return filepath.SkipDir
		}
		if e.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		s := source{set: token.NewFileSet()}
		if s.file, err = parser.ParseFile(s.set, path, nil, parser.SkipObjectResolution); err != nil {
			return err
		}
		if s.name, err = filepath.Rel(root, path); err != nil {
			return err
		}
		s.name = filepath.ToSlash(s.name)
		s.lines = s.set.Position(s.file.FileEnd).Line
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Fatalf("only %d files were found", len(all))
	}
	return all
}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	cache := 0
	for _, s := range sources(t) {
		if s.lines > fileLines {
			t.Errorf("%s has %d lines, more than %d", s.name, s.lines, fileLines)
		}
		if s.isTest() {
			continue
		}
		if filepath.ToSlash(filepath.Dir(s.name)) == "cache" {
			cache += s.lines
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1; n > funcLines {
				t.Errorf("%s: %s has %d lines, more than %d", s.name, f.Name.Name, n, funcLines)
			}
		}
	}
	if cache > cacheLines {
		t.Errorf("the package cache has %d lines, more than %d", cache, cacheLines)
	}
}
