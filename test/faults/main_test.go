// Package faults tries mailfs over real mounts against scripted servers that do what servers should not, or may and seldom
// do. Each serves well but for one thing; beside each, a healthy account is in the same mount.
package faults

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/mailfs/mailfs/test/harness"
)

// run serves all tests of the package.
var run *harness.Run

func TestMain(m *testing.M) { os.Exit(tests(m)) }

func tests(m *testing.M) (code int) {
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil { // the tests wait more than they work
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var err error
	if run, err = harness.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := run.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return m.Run()
}
