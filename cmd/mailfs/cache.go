package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
)

func newCacheCommand() *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Show or clear what is kept on disk",
	}
	cmd.PersistentFlags().StringVar(&dir, "cache-dir", "", "cache `DIR` (default $XDG_CACHE_HOME/mailfs)")
	list := &cobra.Command{
		Use:   "list [ACCOUNT]",
		Short: "List the accounts in the cache",
		Long:  "Lists the accounts in the cache. ACCOUNT is a URL, or a part of a URL that occurs in one account only.",
		Args:  arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			stores, err := storesOf(dir, args)
			if err != nil {
				return err
			}
			return listStores(cmd.OutOrStdout(), stores, asJSON)
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	clearing := &cobra.Command{
		Use:   "clear [ACCOUNT]",
		Short: "Remove an account from the cache, or all of them",
		Long: "Removes an account from the cache, or all of them. An account that is mounted stays. Mail on the server is not\n" +
			"touched. But with keep, messages that a POP3 server has dropped are in the cache only, and are lost.",
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			stores, err := storesOf(dir, args)
			if err != nil {
				return err
			}
			var failed error
			for _, s := range stores {
				if err := cache.ClearStore(s.Dir); errors.Is(err, cache.ErrStoreHeld) {
					failed = fmt.Errorf("%s: in use by %s; unmount the account first", s.Account, s.Holder)
					warn(failed.Error())
				} else if err != nil {
					return fmt.Errorf("clearing %s: %w", s.Account, err)
				} else {
					fmt.Fprintf(cmd.OutOrStdout(), "cleared %s\n", s.Account)
				}
			}
			if failed != nil {
				return &statusError{status: 1}
			}
			return nil
		},
	}
	cmd.AddCommand(list, clearing)
	return cmd
}

// storesOf returns the stores in the cache directory, or those of the account that an argument names. flag is --cache-dir.
func storesOf(flag string, args []string) ([]cache.StoreInfo, error) {
	dir, err := config.CacheDir(flag)
	if err != nil {
		return nil, err
	}
	stores, err := cache.Stores(dir)
	if err != nil {
		return nil, process.FileError(dir, err)
	}
	if len(args) == 0 {
		return stores, nil
	}
	wanted, part := []cache.StoreInfo(nil), []cache.StoreInfo(nil)
	for _, s := range stores {
		switch {
		case s.Account == args[0], filepath.Base(s.Dir) == args[0]:
			wanted = append(wanted, s)
		case strings.Contains(s.Account, args[0]):
			part = append(part, s)
		}
	}
	switch {
	case len(wanted) > 0:
		return wanted, nil
	case len(part) == 1:
		return part, nil
	case len(part) > 1:
		return nil, fmt.Errorf("%q fits %d accounts; see mailfs cache list", args[0], len(part))
	}
	if url := configuredURL(args[0]); url != "" {
		return storesOf(flag, []string{url})
	}
	return nil, fmt.Errorf("%q: no such account in %s", args[0], dir)
}

// configuredURL returns the label of an account of the configuration file, which the account's store has as well. It is empty if
// there is no such account.
func configuredURL(name string) string {
	if config.IsURL(name) {
		return ""
	}
	accounts, err := config.NewFlags().Accounts([]string{name})
	if err != nil {
		return ""
	}
	return accounts[0].Label()
}

// listStores prints stores as a table, or as JSON.
func listStores(out io.Writer, stores []cache.StoreInfo, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(append([]cache.StoreInfo{}, stores...))
	}
	if len(stores) == 0 {
		fmt.Fprintln(out, "The cache is empty.")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACCOUNT\tMESSAGES\tSIZE\tLAST WRITTEN\tIN USE BY")
	for _, s := range stores {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", s.Account, s.Messages, sizeText(s.Bytes), s.Used.Format("2006-01-02 15:04"), s.Holder)
	}
	return w.Flush()
}

// sizeText writes a number of bytes for people.
func sizeText(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
