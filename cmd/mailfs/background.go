package main

import (
	"context"
	"errors"
	"log/slog"
	"log/syslog"
	"os"

	"github.com/spf13/cobra"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
)

// newBackgroundCommand is what process.Start starts.
func newBackgroundCommand() *cobra.Command {
	return &cobra.Command{
		Use:    process.BackgroundCommand + " MOUNTPOINT",
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var j config.Job
			parent, err := process.Receive(&j)
			if err != nil {
				return config.WrongUsage("only mailfs itself runs this command; see mailfs help mount")
			}
			if err := serveBackground(cmd.Context(), &j, parent); err != nil {
				if !errors.Is(err, context.Canceled) {
					parent.Fail(line(err)) // does nothing after Ready: then the error is in the log only
				}
				return &statusError{status: 1}
			}
			return nil
		},
	}
}

// serveBackground serves a job and tells the parent when the mount is ready.
func serveBackground(ctx context.Context, j *config.Job, parent *process.Parent) error {
	log, output, err := backgroundLog(j)
	if err != nil {
		return err
	}
	defer output.Close()
	if j.Demo {
		var cancel context.CancelFunc
		ctx, cancel = parent.Lifeline(ctx)
		defer cancel()
		accounts, stop, err := startDemoServers(ctx)
		if err != nil {
			return err
		}
		defer stop()
		j.Accounts = accounts
	}
	// The trace of a crash goes to the log file.
	ready := func(func() cache.Status) error { return parent.Ready(output, j.Demo) }
	err = serve(ctx, j, log, parent.Warn, ready)
	if err != nil {
		log.Error("ending", "error", err)
	}
	if j.Temporary {
		err = errors.Join(err, os.Remove(j.Mountpoint))
	}
	return err
}

// backgroundLog returns a logger to the job's log file, which is the second result, or to the system's log. Without either,
// nothing is logged.
func backgroundLog(j *config.Job) (*slog.Logger, *os.File, error) {
	options := &slog.HandlerOptions{Level: j.LogLevel}
	if j.LogFile != "" {
		file, err := openLog(j.LogFile)
		if err != nil {
			return nil, nil, err
		}
		return slog.New(slog.NewTextHandler(file, options)), file, nil
	}
	system, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_WARNING, "mailfs")
	if err != nil { // a container has none
		return slog.New(slog.DiscardHandler), nil, nil
	}
	options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey { // the system's log adds the time itself
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(system, options)), nil, nil
}
