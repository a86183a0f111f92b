//go:build linux

package test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
	"github.com/mailfs/mailfs/remote/imap"
	"github.com/mailfs/mailfs/remote/pop3"
	"github.com/mailfs/mailfs/remote/remotetest"
	"github.com/mailfs/mailfs/test/harness"
)

// overDovecot runs the tests that every protocol must pass over a port of Dovecot, each with a user of its own.
func overDovecot(t *testing.T, protocol string, port int, open func(*dial.Dialer) remote.Account, change func(*remotetest.Server)) {
	n := 0
	remotetest.Suite(t, func(t *testing.T) *remotetest.Server {
		n++
		user := fmt.Sprintf("contract-%s-%d", protocol, n)
		s := remotetest.Through(t, dovecot.Dial(t, user).Client)
		line := remotetest.NewLine(t, fmt.Sprintf("127.0.0.1:%d", port))
		s.Over(line)
		s.Open = func(timeout time.Duration) remote.Account {
			return open(dial.New(dial.Server{
				Protocol: protocol, Host: "127.0.0.1", Port: line.Port, User: user, InTheClear: true, Timeout: timeout,
				Password: func(context.Context) (string, error) { return harness.Password, nil },
			}))
		}
		change(s)
		return s
	})
}

func TestTheContractHoldsOverDovecotsIMAP(t *testing.T) {
	open := func(d *dial.Dialer) remote.Account {
		return imap.New(d, imap.Options{Log: slog.New(slog.DiscardHandler)})
	}
	overDovecot(t, "imap", dovecot.IMAP, open, func(*remotetest.Server) {})
}

func TestTheContractHoldsOverDovecotsPOP3(t *testing.T) {
	open := func(d *dial.Dialer) remote.Account { return pop3.New(d, pop3.Options{}) }
	overDovecot(t, "pop3", dovecot.POP3, open, func(s *remotetest.Server) {
		s.SetFlags, s.Create, s.Drop = nil, nil, nil
	})
}
