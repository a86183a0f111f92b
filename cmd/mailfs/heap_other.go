//go:build !linux

package main

// enlargePages is of use on Linux only.
func enlargePages(int64) {}
