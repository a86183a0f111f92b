package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cache"
	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/secret"
	"github.com/mailfs/mailfs/remote"
)

func TestStatusSaysWhatFailedAndWhatToDo(t *testing.T) {
	refused := fmt.Errorf("%w: the server says %q", remote.ErrLogin, "no")
	for _, c := range []struct {
		name    string
		account config.Account
		failure error
		want    string
	}{
		{"no trouble", config.Account{}, nil, ""},
		{"nobody listens", config.Account{}, fmt.Errorf("%w: %w", remote.ErrUnreachable, fmt.Errorf("dial tcp 127.0.0.1:993: %w", syscall.ECONNREFUSED)),
			"connection refused: nothing listens there; check host and port"},
		{"no answer", config.Account{Connection: config.Connection{Timeout: config.Duration(30 * time.Second)}}, fmt.Errorf("%w while signing in", remote.ErrTimeout), "no answer within 30s"},
		{"a password", config.Account{HasPassword: true}, refused,
			`login refused for "u": the server says "no"; give another password with mailfs login work`},
		{"no password", config.Account{}, secret.ErrNoPassword, "there is no password"},
		{"a password command", config.Account{Connection: config.Connection{PasswordCommand: "x"}}, refused,
			`login refused for "u": the server says "no"; check what the password command prints`},
		{"a token", config.Account{OAuth: &config.OAuth{}}, refused, `login refused for "u": the server says "no"; sign in again with mailfs login work`},
		{"OAuth", config.Account{OAuth: &config.OAuth{}}, fmt.Errorf("%w: the sign-in was revoked; run mailfs login work", remote.ErrLogin),
			`login refused for "u": the sign-in was revoked; run mailfs login work`},
		{"lines of a server", config.Account{Connection: config.Connection{PasswordCommand: "x"}}, fmt.Errorf("%w: a\r\nb\x1b", remote.ErrLogin), `login refused for "u": a b`},
	} {
		c.account.Name, c.account.URL, c.account.User = "work", "imaps://u@h", "u"
		j := &config.Job{Accounts: []config.Account{c.account}}
		status := cache.Status{Accounts: []cache.AccountStatus{{Name: "work", Failure: c.failure}}}
		if c.failure != nil {
			status.Accounts[0].Error = c.failure.Error()
		}
		var got mountStatus
		if err := json.Unmarshal(statusText(j, status), &got); err != nil {
			t.Fatal(err)
		}
		text := got.Accounts[0].Error
		if !strings.HasPrefix(text, c.want) || (c.want == "") != (text == "") {
			t.Errorf("%s: it says %q, want %q", c.name, text, c.want)
		}
		if errors.Is(c.failure, secret.ErrNoPassword) && strings.Count(text, "mailfs login") != 1 {
			t.Errorf("%s: it repeats itself: %q", c.name, text)
		}
	}
}

func TestALineAboutAMountNamesWhatItDoes(t *testing.T) {
	for _, c := range []struct {
		account cache.AccountStatus
		want    string
	}{
		{cache.AccountStatus{Name: "work", Syncing: []cache.SyncStatus{{Mailbox: "INBOX", Done: 3, Total: 9}}}, "/mnt; work: listing INBOX, 3 of 9"},
		{cache.AccountStatus{Name: "work", Error: "login refused\nREADY=1"}, "/mnt; work: login refused READY=1"}, // or a server could notify systemd
		{cache.AccountStatus{Messages: 1}, "/mnt; 1 message listed"},
	} {
		if got := doing("/mnt", cache.Status{Accounts: []cache.AccountStatus{c.account}}); got != c.want {
			t.Errorf("it says %q, want %q", got, c.want)
		}
	}
}
