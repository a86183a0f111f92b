//go:build !linux

package fs

import "github.com/hanwen/go-fuse/v2/fuse"

// mountDirectly does nothing where mounting takes the operating system's own program.
func mountDirectly(*fuse.MountOptions) {}

func awaitMount(s *fuse.Server) error { return s.WaitMount() }
