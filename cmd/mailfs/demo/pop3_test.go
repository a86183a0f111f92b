package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailfs/mailfs/remote"
	"github.com/mailfs/mailfs/remote/dial"
	"github.com/mailfs/mailfs/remote/pop3"
)

func TestThePOP3ServerOfTheDemoServesEveryMessage(t *testing.T) {
	var messages [][]byte
	for i := range 100 {
		messages = append(messages, fmt.Appendf(nil, "Subject: demo %d.\r\nTo: me@example.org\r\n\r\n.hidden\r\n..\r\n%s\r\n",
			i, strings.Repeat("text ", i)))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { servePOP3(l, "demo", "let me in", messages) })
	defer wg.Wait()
	defer l.Close()

	account := func(password string) remote.Account {
		server, err := dial.ParseURL("pop3://demo@" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server.InTheClear = true
		server.Timeout = 10 * time.Second
		server.Password = func(context.Context) (string, error) { return password, nil }
		return pop3.New(dial.New(server), pop3.Options{})
	}
	stranger := account("please")
	defer stranger.Close()
	if err := stranger.Connect(t.Context()); !errors.Is(err, remote.ErrLogin) {
		t.Errorf("with a wrong password: %v", err)
	}
	a := account("let me in")
	defer a.Close()
	headers := map[remote.UID][]byte{}
	sizes := map[remote.UID]int64{}
	var uids []remote.UID
	_, err = a.Sync(t.Context(), "INBOX", remote.Version{}, remote.Version{}, nil, func(d remote.Delta) error {
		for _, m := range d.Messages {
			headers[m.UID], sizes[m.UID] = bytes.Clone(m.Header), m.Size
			uids = append(uids, m.UID)
		}
		return nil
	})
	if err != nil || len(headers) != len(messages) {
		t.Fatalf("%d messages listed, %v", len(headers), err)
	}
	found := map[string]bool{}
	err = a.Bodies(t.Context(), remote.Place{Mailbox: "INBOX", UIDValidity: 1}, uids, func(u remote.UID, body []byte) {
		found[string(body)] = true
		if !bytes.HasPrefix(body, headers[u]) || int64(len(body)) != sizes[u] {
			t.Errorf("listed with %d bytes and %q, read %q", sizes[u], headers[u], body)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if !found[string(m)] {
			t.Errorf("did not come: %q", m)
		}
	}
}
