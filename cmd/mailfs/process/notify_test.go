package process

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSystemdHearsReadyThenStatusThenStopping(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv(notifyVariable, path)
	s := NewSupervisor()
	if _, there := os.LookupEnv(notifyVariable); there {
		t.Error("commands would inherit the socket")
	}
	heard := func() string {
		t.Helper()
		b := make([]byte, 4096)
		socket.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := socket.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	status := make(chan string, 2)
	status <- "listing INBOX"
	status <- "login refused"
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Follow(ctx, "/mnt", func() string { return <-status })
	}()
	if got := heard(); got != "READY=1\nSTATUS=listing INBOX" {
		t.Errorf("at first: %q", got)
	}
	if got := heard(); got != "STATUS=login refused" {
		t.Errorf("then: %q", got)
	}
	cancel()
	close(status)
	last := heard()
	for strings.HasPrefix(last, "STATUS=") {
		last = heard()
	}
	if !strings.HasPrefix(last, "STOPPING=1\n") {
		t.Errorf("at the end: %q", last)
	}
	<-done
}
