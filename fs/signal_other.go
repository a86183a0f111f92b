//go:build !linux

package fs

// wanted tells whether a thread that waits for an answer has a signal that may be meant to end that; where it can't be
// told, it has.
func wanted(uint32) bool { return true }
