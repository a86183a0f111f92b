package secret

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mailfs/mailfs/cmd/mailfs/config"
	"github.com/mailfs/mailfs/cmd/mailfs/process"
	"github.com/mailfs/mailfs/remote"
)

func TestAPasswordCommandGivesItsFirstLine(t *testing.T) {
	t.Setenv(process.PasswordVariable, "hunter2")
	for _, c := range []struct{ command, password, says string }{
		{command: "echo secret", password: "secret"},
		{command: `printf 'secret'`, password: "secret"},
		{command: `printf 'secret\r\nuser: me\n'`, password: "secret"},
		{command: `printf ' two  words \t\n'`, password: " two  words \t"},
		{command: `printf 'carriage\rreturn\n'`, password: "carriage\rreturn"},
		{command: `printf 'kept\r'`, password: "kept\r"},
		{command: `printf '\377\001"\\\n'`, password: "\xff\x01\"\\"},
		{command: "echo secret; sleep 100 &", password: "secret"}, // something holds its output
		{command: "head -c 100000 /dev/zero | tr '\\0' x; echo; echo", password: strings.Repeat("x", maxPassword)},
		{command: "true", says: "printed no password"},
		{command: "echo; echo secret", says: "printed no password"},
		{command: "echo secret; echo no key >&2; exit 2", says: "failed (exit status 2): no key"},
		{command: "kill -9 $$", says: "signal: killed"},
		{command: "sleep 100", says: "not end in time"},
		{command: "echo \"${MAILFS_PASSWORD-none}\"", password: "none"},
	} {
		t.Run(c.command, func(t *testing.T) {
			t.Parallel()
			limit := time.Minute
			if c.command == "sleep 100" {
				limit = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			got, err := runCommand(ctx, "password", c.command)
			if c.says == "" {
				if err != nil || got != c.password {
					t.Errorf("it is %.100q (%v), want %.100q", got, err, c.password)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, want something about %q", err, c.says)
			}
			if !errors.Is(err, remote.ErrLogin) {
				t.Errorf("%v is not a refused login", err)
			}
		})
	}
}

func TestThePasswordOfTheEnvironmentIsForTheOnlyAccountWithoutAnother(t *testing.T) {
	plain, command := config.Account{URL: "imaps://u@h"},
		config.Account{URL: "imaps://u@h", Connection: config.Connection{PasswordCommand: "true"}}
	for _, c := range []struct {
		name     string
		accounts []config.Account
		want     []bool
	}{
		{"one", []config.Account{plain}, []bool{true}},
		{"one with a command", []config.Account{command}, []bool{true}},
		{"one of several has no command", []config.Account{command, plain, command}, []bool{false, true, false}},
		{"all of several have one", []config.Account{command, command}, []bool{false, false}},
	} {
		t.Setenv(process.PasswordVariable, "hunter2")
		if err := FillPasswords(context.Background(), c.accounts, func(text string) { t.Error(c.name, text) }); err != nil {
			t.Fatal(err)
		}
		for i, a := range c.accounts {
			if a.HasPassword != c.want[i] || a.HasPassword && string(a.Password) != "hunter2" {
				t.Errorf("%s: account %d has %v %q", c.name, i, a.HasPassword, a.Password)
			}
		}
		for _, e := range process.Environment() {
			if strings.HasPrefix(e, process.PasswordVariable) {
				t.Error("the password is still in the environment")
			}
		}
	}
}
