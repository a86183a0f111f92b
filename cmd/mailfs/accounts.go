package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// accounts returns the accounts that arguments name: by URL, or by their names in the configuration. Without arguments
// these are all of the configuration.
func (f *mountFlags) accounts(flags *pflag.FlagSet, args []string) ([]account, error) {
	var tables []accountTable
	var c *configuration
	read := func() (err error) {
		if c == nil {
			if c, err = f.configuration(); err == nil {
				err = c.apply(flags)
			}
		}
		return err
	}
	for _, arg := range args {
		if isURL(arg) {
			tables = append(tables, accountTable{URL: arg})
			continue
		}
		if err := read(); err != nil {
			return nil, err
		}
		table, err := c.account(arg)
		if err != nil {
			return nil, err
		}
		tables = append(tables, table)
	}
	if len(args) == 0 {
		if err := read(); err != nil {
			return nil, err
		}
		tables = c.accounts
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := f.oneCommand(len(tables)); err != nil {
		return nil, err
	}
	var accounts []account
	for _, t := range tables {
		a, err := f.account(flags, t)
		if err != nil && t.Name != "" {
			return nil, fmt.Errorf("account %q: %w", t.Name, err)
		} else if err != nil {
			return nil, err
		}
		accounts = append(accounts, a)
	}
	return accounts, nil
}

// account returns the table of an account.
func (c *configuration) account(name string) (accountTable, error) {
	var names []string
	for _, t := range c.accounts {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return accountTable{}, fmt.Errorf("%s: there is no account %q, only %s; or give a URL (imaps://USER@HOST)", c.path, name,
		strings.Join(names, ", "))
}

// completeAccounts offers the accounts of the configuration to a shell.
func completeAccounts(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	f := defaults()
	f.config, _ = cmd.Flags().GetString("config")
	c, err := f.configuration()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, t := range c.accounts {
		names = append(names, t.Name+"\t"+t.URL)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// isURL tells a URL, also one that was written in haste, from the name of an account or of a directory.
func isURL(arg string) bool {
	return strings.Contains(arg, "://") || hastyURL.MatchString(arg)
}

var hastyURL = regexp.MustCompile(`^(?i)(imap|pop3|smtp)s?:`)
