//go:build !linux

package process

// EnlargePages is of use on Linux only.
func EnlargePages(int64) {}
