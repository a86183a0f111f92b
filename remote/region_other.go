//go:build !linux

package remote

// region is of use on Linux only.
type region struct{}

func reserve(int) region { return region{} }

func (region) huge(bool) {}
