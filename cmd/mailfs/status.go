package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
)

// mountStatus is the content of .mailfs/status.json.
type mountStatus struct {
	Mountpoint string `json:"mountpoint"`
	Process    int    `json:"process"`
	Version    string `json:"version"`
	cache.Status
}

// explained replaces the errors of accounts by lines for people, which say what the user can do.
func explained(j *config.Job, s cache.Status) cache.Status {
	for i := range s.Accounts {
		a, shown := &j.Accounts[i], &s.Accounts[i]
		shown.Server = a.Label()
		if shown.Failure == nil {
			continue
		}
		e := failed(a, shown.Failure)
		if a.PasswordCommand == "" && a.TokenCommand == "" && a.OAuth == nil {
			e.advice = "give another password with mailfs login " + a.Called()
		}
		shown.Error = oneLine(e.explain())
	}
	return s
}

// statusText returns what .mailfs/status.json holds.
func statusText(j *config.Job, s cache.Status) []byte {
	b, err := json.MarshalIndent(mountStatus{j.Mountpoint, os.Getpid(), versionLine(), explained(j, s)}, "", "  ")
	if err != nil { // never: the type is known
		panic(err)
	}
	return append(b, '\n')
}

func newStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [flags] [MOUNTPOINT]",
		Short: "Show mounts, connections, cached mail, and what is being listed",
		Args:  arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return status(cmd.Context(), cmd.OutOrStdout(), args, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	return cmd
}

// statusWithin is how long a serving process may take to send its status.
const statusWithin = 5 * time.Second

// status prints the status of all mounts of mailfs, or of the one that args names.
func status(ctx context.Context, out io.Writer, args []string, asJSON bool) error {
	wanted := func(string) bool { return true }
	if len(args) > 0 {
		path, err := process.Resolve(args[0])
		if err != nil {
			return err
		}
		wanted = func(m string) bool { return m == path }
	}
	mounts, err := process.Mounts(wanted)
	if err != nil {
		return err
	}
	if len(mounts) == 0 && len(args) > 0 {
		return fmt.Errorf("%s: no mail is mounted there", args[0])
	}
	all := []mountStatus{}
	failed := false
	for _, m := range mounts {
		s, err := askStatus(ctx, m)
		if err != nil {
			warn(err.Error())
			failed = true
			continue
		}
		all = append(all, s)
	}
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		err = e.Encode(all)
	} else {
		err = printStatus(out, all, failed)
	}
	if err == nil && failed {
		err = &statusError{status: 1}
	}
	return err
}

// askStatus reads the status of a mount from the process that serves it. A process that hangs costs statusWithin.
func askStatus(ctx context.Context, mountpoint string) (s mountStatus, err error) {
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := os.ReadFile(filepath.Join(mountpoint, ".mailfs", "status.json"))
		answered <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		return s, context.Canceled
	case <-time.After(statusWithin):
		return s, fmt.Errorf("%s: the process that serves it does not answer", mountpoint)
	case a := <-answered:
		if errors.Is(a.err, os.ErrPermission) {
			return s, fmt.Errorf("%s: mounted by another user", mountpoint)
		} else if a.err != nil {
			return s, fmt.Errorf("%s: the process that served it is gone; clear it away with mailfs umount", mountpoint)
		}
		if err := json.Unmarshal(a.text, &s); err != nil {
			return s, fmt.Errorf("%s: its status can't be read: %w", mountpoint, err)
		}
		return s, nil
	}
}

// printStatus prints the status of mounts for people. failed is set when there are others, which gave errors.
func printStatus(out io.Writer, all []mountStatus, failed bool) error {
	if len(all) == 0 && !failed {
		fmt.Fprintln(out, "Nothing is mounted.")
	}
	for i, s := range all {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "%s (process %d)\n", s.Mountpoint, s.Process)
		fmt.Fprintf(out, "  memory %s of %s, disk %s of %s in %d messages\n", sizeText(s.Memory.Bytes), sizeText(s.Memory.Budget),
			sizeText(s.Disk.Bytes), sizeText(s.Disk.Budget), s.Disk.Messages)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "  ACCOUNT\tCONNECTIONS\tRECEIVED\tFETCHED\tFROM CACHE\tMAILBOXES\tMESSAGES LISTED")
		for _, a := range s.Accounts {
			fmt.Fprintf(w, "  %s\t%d\t%s\t%d\t%d\t%d\t%d\n", cmp.Or(a.Name, a.Server), a.Connections, sizeText(a.BytesIn), a.Fetched,
				a.FromMemory+a.FromDisk, a.Mailboxes, a.Messages)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, a := range s.Accounts {
			name := cmp.Or(a.Name, a.Server)
			if a.Error != "" {
				fmt.Fprintf(out, "  %s: %s\n", name, a.Error)
			}
			for _, y := range a.Syncing {
				fmt.Fprintf(out, "  %s: listing %s, %d of %d\n", name, y.Mailbox, y.Done, y.Total)
			}
		}
	}
	return nil
}

// doing returns a line that says what a mount is doing.
func doing(mountpoint string, status cache.Status) string {
	parts := []string{mountpoint}
	for _, a := range status.Accounts {
		name := ""
		if a.Name != "" {
			name = a.Name + ": "
		}
		switch {
		case a.Error != "":
			parts = append(parts, name+a.Error)
		case len(a.Syncing) > 0:
			y := a.Syncing[0]
			parts = append(parts, fmt.Sprintf("%slisting %s, %d of %d", name, y.Mailbox, y.Done, y.Total))
		default:
			parts = append(parts, name+count(a.Messages, "message", "messages")+" listed")
		}
	}
	return oneLine(strings.Join(parts, "; "))
}
