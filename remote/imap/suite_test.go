package imap

import (
	"fmt"
	"io"
	"log"
	"net"
	"strings"
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

func TestEveryMailboxIsListedOverTheServerOfGoIMAP(t *testing.T) {
	seed, l := startMemoryServer(t, "INBOX", "Archive", "Archive/Übung", "empty")
	bodies := map[string]string{}
	for n := range 20 {
		body := fmt.Sprintf("From: a@example.org\r\nSubject: %d\r\n\r\n%s\r\n", n, strings.Repeat("text ", n*n))
		put := seed.Append("Archive/Übung", int64(len(body)), nil)
		put.Write([]byte(body))
		put.Close()
		if _, err := put.Wait(); err != nil {
			t.Fatal(err)
		}
		bodies[fmt.Sprint(n+1)] = body
	}
	a := New(dial.New(address(t, l)), Options{})
	defer a.Close()
	list, err := a.Mailboxes(inTime(t))
	if err != nil || len(list) != 4 || list[1].Name != "Archive/Übung" {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, m := range list {
		var v view
		version, err := a.Sync(inTime(t), m.Name, remote.Version{}, remote.Version{}, nil, v.take)
		if err != nil {
			t.Fatal(err)
		}
		if m.Name != "Archive/Übung" {
			if len(v.messages) != 0 {
				t.Errorf("%s holds %d messages", m.Name, len(v.messages))
			}
			continue
		}
		var uids []remote.UID
		for u, msg := range v.messages {
			if int(msg.Size) != len(bodies[msg.Key]) || msg.Date.IsZero() {
				t.Errorf("UID %d: %+v", u, msg)
			}
			uids = append(uids, u)
		}
		n := 0
		at := remote.Place{Mailbox: m.Name, UIDValidity: version.UIDValidity, Priority: remote.Background}
		err = a.Bodies(inTime(t), at, uids, func(u remote.UID, b []byte) {
			n++
			if string(b) != bodies[fmt.Sprint(u)] {
				t.Errorf("UID %d differs", u)
			}
		})
		if err != nil || n != 20 {
			t.Errorf("%d bodies, %v", n, err)
		}
	}
}
