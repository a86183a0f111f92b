//go:build !linux

package fs

import "github.com/hanwen/go-fuse/v2/fuse"

// mountDirectly does nothing: here only a program of the operating system can mount.
func mountDirectly(*fuse.MountOptions) {}

func awaitMount(s *fuse.Server) error { return s.WaitMount() }
