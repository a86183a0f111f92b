// Package demo has the sample mail of mailfs demo, and the IMAP and POP3 servers that serve it inside the process.
package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// Account says how to sign in to one of the servers. They have no TLS.
type Account struct {
	Name                string // of the account's directory in the mount
	URL, User, Password string
}

// Start starts both servers on the loopback interface, fills their mailboxes and returns their accounts. stop ends the
// servers and waits until their goroutines have ended.
func Start(ctx context.Context) (accounts []Account, stop func(), err error) {
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, fmt.Errorf("starting a server: %w", err)
		}
	}
	user, password := "demo", rand.Text()
	memory := imapmemserver.New()
	mailboxes := imapmemserver.NewUser(user, password)
	memory.AddUser(mailboxes)
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return memory.NewSession(), nil, nil
		},
		Caps: goimap.CapSet{
			goimap.CapIMAP4rev1: {}, goimap.CapNamespace: {}, goimap.CapUIDPlus: {}, goimap.CapESearch: {},
			goimap.CapListExtended: {}, goimap.CapListStatus: {},
		},
		InsecureAuth: true, // the server is on the loopback interface, and its password is random
		Logger:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	})
	imapDone, popDone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(imapDone)
		server.Serve(listeners[0])
	}()
	go func() {
		defer close(popDone)
		servePOP3(listeners[1], user, password, pop3Mail())
	}()
	stop = func() {
		server.Close()
		listeners[1].Close()
		<-imapDone
		<-popDone
	}
	if err := seed(ctx, listeners[0].Addr().String(), user, password); err != nil {
		stop()
		return nil, nil, fmt.Errorf("filling the sample mailboxes: %w", err)
	}
	return []Account{
		{Name: "imap", URL: "imap://" + listeners[0].Addr().String(), User: user, Password: password},
		{Name: "pop", URL: "pop3://" + listeners[1].Addr().String(), User: user, Password: password},
	}, stop, nil
}

// seed creates the mailboxes of the sample mail and appends its messages, as an IMAP client.
func seed(ctx context.Context, address, user, password string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	client := imapclient.New(conn, nil)
	defer client.Close()
	if err := client.Login(user, password).Wait(); err != nil {
		return err
	}
	for _, name := range mailboxNames {
		if err := client.Create(name, nil).Wait(); err != nil {
			return fmt.Errorf("creating %s: %w", name, err)
		}
	}
	for _, m := range imapMail() {
		cmd := client.Append(m.mailbox, int64(len(m.raw)), &goimap.AppendOptions{Flags: m.flags, Time: m.date})
		if _, err := cmd.Write(m.raw); err != nil {
			return fmt.Errorf("appending to %s: %w", m.mailbox, err)
		}
		if err := cmd.Close(); err != nil {
			return fmt.Errorf("appending to %s: %w", m.mailbox, err)
		}
		if _, err := cmd.Wait(); err != nil {
			return fmt.Errorf("appending to %s: %w", m.mailbox, err)
		}
	}
	return client.Logout().Wait()
}
