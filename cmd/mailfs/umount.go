package main

import (
	"github.com/spf13/cobra"

	"github.com/mailfs/mailfs/cmd/mailfs/process"
)

func newUmountCommand() *cobra.Command {
	var lazy bool
	cmd := &cobra.Command{
		Use:     "umount [flags] MOUNTPOINT",
		Aliases: []string{"unmount"},
		Short:   "Unmount mail",
		Long: "Unmounts mail. The serving process then ends by itself. umount also clears away the mount of a process that\n" +
			"was killed.",
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return process.Umount(cmd.Context(), args[0], lazy)
		},
	}
	cmd.Flags().BoolVarP(&lazy, "lazy", "z", false,
		"unmount also while in use: the mount disappears now and ends after its last user")
	return cmd
}
