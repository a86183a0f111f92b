package remotetest

import (
	"net"
	"sync"
	"testing"
)

// Line is a proxy between accounts and a server on this machine, which can hold up everything, and end connections.
type Line struct {
	// Port on 127.0.0.1 is where accounts connect to.
	Port int

	server   string
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	thawed *sync.Cond // frozen or ended has changed
	frozen bool
	held   int // reads whose bytes do not pass yet
	ended  bool
	conns  map[net.Conn]bool
}

// NewLine makes a line to a server's address (host and port). It ends with the test.
func NewLine(t testing.TB, server string) *Line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{Port: listener.Addr().(*net.TCPAddr).Port, server: server, listener: listener, conns: map[net.Conn]bool{}}
	l.thawed = sync.NewCond(&l.mu)
	l.work.Go(l.accept)
	t.Cleanup(func() {
		l.listener.Close()
		l.mu.Lock()
		l.ended = true
		l.thawed.Broadcast()
		l.mu.Unlock()
		l.Cut()
		l.work.Wait()
	})
	return l
}

// Freeze lets nothing pass until Thaw. Connections stay, and new ones are accepted.
func (l *Line) Freeze() { l.freeze(true) }

// Thaw ends Freeze: what was held up passes.
func (l *Line) Thaw() { l.freeze(false) }

func (l *Line) freeze(frozen bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = frozen
	l.thawed.Broadcast()
}

// Held tells whether Freeze holds something up.
func (l *Line) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frozen && l.held > 0
}

// Cut ends all connections; new ones are accepted.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
}

func (l *Line) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.server)
		if err != nil {
			near.Close()
			continue
		}
		l.mu.Lock()
		l.conns[near], l.conns[far] = true, true
		if l.ended {
			near.Close()
			far.Close()
		}
		l.mu.Unlock()
		l.work.Go(func() { l.pass(near, far) })
		l.work.Go(func() { l.pass(far, near) })
	}
}

// pass hands on what one connection receives to another, and ends both when one ends.
func (l *Line) pass(from, to net.Conn) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, from)
		from.Close()
		to.Close()
	}()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		l.mu.Lock()
		if n > 0 {
			l.held++
		}
		for l.frozen && !l.ended {
			l.thawed.Wait()
		}
		if n > 0 {
			l.held--
		}
		l.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
