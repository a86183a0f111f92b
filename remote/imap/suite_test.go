package imap

import (
	"io"
	"log"
	"net"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
	"github.com/mailfs/mailfs/remote/remotetest"
)

// startMemoryServer starts go-imap's own server with some empty mailboxes, and returns a client that is signed in.
func startMemoryServer(t *testing.T, mailboxes ...string) (*imapclient.Client, net.Listener) {
	t.Helper()
	user := imapmemserver.NewUser(testUser, testPassword)
	for _, m := range mailboxes {
		if err := user.Create(m, nil); err != nil {
			t.Fatal(err)
		}
	}
	memory := imapmemserver.New()
	memory.AddUser(user)
	srv := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return memory.NewSession(), nil, nil
		},
		InsecureAuth: true,
		Caps:         goimap.CapSet{goimap.CapIMAP4rev1: {}, goimap.CapIMAP4rev2: {}},
		Logger:       log.New(io.Discard, "", 0),
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { srv.Serve(l); close(served) }()
	t.Cleanup(func() { srv.Close(); <-served })
	client, err := imapclient.DialInsecure(l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.Login(testUser, testPassword).Wait(); err != nil {
		t.Fatal(err)
	}
	return client, l
}

func TestTheContractHoldsOverTheServerOfGoIMAP(t *testing.T) {
	remotetest.Suite(t, func(t *testing.T) *remotetest.Server {
		client, l := startMemoryServer(t, "INBOX")
		s := remotetest.Through(t, client)
		line := remotetest.NewLine(t, l.Addr().String())
		s.Over(line)
		s.Open = func(timeout time.Duration) remote.Account {
			where := address(t, l)
			where.Port = line.Port
			where.Timeout = timeout
			return New(dial.New(where), Options{})
		}
		return s
	})
}
