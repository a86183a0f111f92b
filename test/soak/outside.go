//go:build linux

package main

import (
	"fmt"
	"testing"
)

// outside is a test to the harness, where there is none: what is to be cleaned up is so by end, and what fails a test ends
// in a panic with a failure.
type outside struct {
	testing.TB
	cleanups []func()
	failed   bool
}

// failure is what a failed test said.
type failure string

func (f failure) Error() string { return string(f) }

func (o *outside) Helper()          {}
func (o *outside) Name() string     { return "soak/" } // as of a subtest, after which no account is removed
func (o *outside) Failed() bool     { return o.failed }
func (o *outside) Cleanup(f func()) { o.cleanups = append(o.cleanups, f) }

func (o *outside) Logf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func (o *outside) Fatal(args ...any) {
	o.failed = true
	panic(failure(fmt.Sprint(args...)))
}

func (o *outside) Fatalf(format string, args ...any) {
	o.failed = true
	panic(failure(fmt.Sprintf(format, args...)))
}

func (o *outside) Errorf(format string, args ...any) {
	o.failed = true
	fmt.Printf(format+"\n", args...)
}

// end cleans up, the last first.
func (o *outside) end() {
	for i := len(o.cleanups) - 1; i >= 0; i-- {
		o.cleanups[i]()
	}
	o.cleanups = nil
}
