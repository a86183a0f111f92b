package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker of a release: -ldflags "-X main.version=1.2.3".
var version string

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionLine())
			return err
		},
	}
}

// versionLine returns the version, the commit if the build knows it, the version of Go and the platform.
func versionLine() string {
	v, commit := version, "unknown commit"
	if info, ok := debug.ReadBuildInfo(); ok {
		v = cmp.Or(v, info.Main.Version)
		changed := false
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				commit = "commit " + s.Value[:min(12, len(s.Value))]
			case "vcs.modified":
				changed = s.Value == "true"
			}
		}
		if changed {
			commit += " with changes"
		}
	}
	return fmt.Sprintf("mailfs %s (%s) %s %s/%s", cmp.Or(v, "(devel)"), commit,
		runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
