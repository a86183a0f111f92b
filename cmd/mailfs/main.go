// Command mailfs mounts IMAP and POP3 accounts as directories of mail.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
)

func main() {
	args, err := config.CommandLine(os.Args)
	if err != nil {
		fmt.Fprintln(os.Stderr, config.FstabName+": "+line(err))
		os.Exit(2)
	}
	if args == nil {
		return
	}
	os.Exit(run(args))
}

// run executes the command line and returns the exit status: 0, 1 for a failure, 2 for wrong usage, 130 when
// interrupted, or the status of the command that a demo has run.
func run(args []string) int {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup has it ignored
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	root := newRootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var status *statusError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		if status.err != nil {
			fmt.Fprintln(os.Stderr, "mailfs: "+line(status.err))
		}
		return status.status
	case errors.As(err, new(*config.UsageError)), errors.Is(err, process.ErrNoMountpoint):
		fmt.Fprintln(os.Stderr, "mailfs: "+line(err))
		return 2
	case errors.Is(err, context.Canceled):
		return 130
	default:
		fmt.Fprintln(os.Stderr, "mailfs: "+line(err))
		return 1
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "mailfs",
		Short: "Mount mail accounts as directories",
		Long: "mailfs mounts IMAP and POP3 accounts as directories of mail. Every mailbox is a directory, every message\n" +
			"a file. mailfs changes nothing on the server.",
		Version:       versionLine(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
			flag, err := wrong.GetFlag(), wrong.Unwrap()
			if flag.Value.Type() == "bool" {
				err = fmt.Errorf("%q is neither true nor false", wrong.GetValue())
			}
			return config.WrongUsage("--%s: %w", flag.Name, err)
		}
		return config.WrongUsage("%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(newMountCommand(), newUmountCommand(), newStatusCommand(), newCacheCommand(),
		newCheckCommand(), newSetupCommand(), newLoginCommand(), newDemoCommand(), newVersionCommand(), newManCommand(), newBackgroundCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	group(root)
	for _, c := range root.Commands() {
		switch {
		case c.Name() == "help":
			c.Args = knownCommand
		case c.HasSubCommands():
			group(c)
		}
	}
	return root
}

// group makes a command that only holds other commands show its help, and refuse a word that names none of them.
func group(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
			return config.WrongUsage("unknown command %q; is it %q?", args[0], similar[0])
		}
		return config.WrongUsage("unknown command %q; see %s --help", args[0], cmd.CommandPath())
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// knownCommand refuses to show help for a word that names no command.
func knownCommand(cmd *cobra.Command, args []string) error {
	if _, rest, err := cmd.Root().Find(args); err != nil || len(rest) > 0 {
		return config.WrongUsage("unknown command %q; see mailfs --help", strings.Join(args, " "))
	}
	return nil
}

// arguments accepts from least to most arguments.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return config.WrongUsage("an argument is missing; usage: %s", cmd.UseLine())
		case len(args) > most:
			return config.WrongUsage("%q is one argument too many; usage: %s", args[most], cmd.UseLine())
		}
		return nil
	}
}
