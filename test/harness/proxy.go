//go:build linux

package harness

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy is the network between the program and a server. It records what is said in the clear, and breaks on demand. Its
// port stays the same when it is closed and opened again.
type Proxy struct {
	Port int

	target string                               // address of the server
	rtt    time.Duration                        // round trip of every exchange, and of connecting
	rate   float64                              // bytes a second from the server, of each connection; 0: no limit
	lie    func(state *Lie, line string) string // returns what the client sees in place of a line of the server; nil: the line

	mu       sync.Mutex   // guards what follows
	listener net.Listener // nil: closed
	conns    map[*proxyConn]bool
	said     []Line         // since Forget
	most     int            // connections at a time; 0: any number
	stalled  bool           // nothing passes, no connection ends
	cutAfter int            // bytes from the server until one connection is ended; 0: none is
	trap     *regexp.Regexp // a client's line that matches freezes its connection; nil: none does
	thawed   *sync.Cond     // signalled when frozen connections go on
	down     map[int]int64  // bytes from the server that were passed on since Forget, by connection
	dialled  int            // connections since Forget
}

// Line is one line that went through the proxy, without its line end. Literals, and all that TLS or compression hides, are
// not recorded.
type Line struct {
	Conn       int // number of the connection, from 1
	FromServer bool
	Text       string
}

// ProxyOptions describe the network and the lies of a proxy.
type ProxyOptions struct {
	RTT  time.Duration
	Rate float64                              // bytes a second from the server, of each connection; 0: no limit
	Lie  func(state *Lie, line string) string // returns what the client sees in place of a line of the server; see liar.go
}

// Proxy starts a proxy before a port of this machine. The proxy ends with the test.
func (r *Run) Proxy(t testing.TB, port int, o ProxyOptions) *Proxy {
	t.Helper()
	p := &Proxy{target: fmt.Sprintf("127.0.0.1:%d", port), rtt: o.RTT, rate: o.Rate, lie: o.Lie, conns: make(map[*proxyConn]bool),
		down: map[int]int64{}}
	p.thawed = sync.NewCond(&p.mu)
	p.Open(t)
	t.Cleanup(func() {
		p.Thaw()
		p.Close()
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			var b strings.Builder
			for _, l := range p.said[max(0, len(p.said)-60):] {
				side := "C"
				if l.FromServer {
					side = "S"
				}
				fmt.Fprintf(&b, "%d %s: %.200s\n", l.Conn, side, l.Text)
			}
			t.Logf("the last lines through the proxy (%d connections):\n%s", p.dialled, &b)
		}
	})
	return p
}

// Open listens for connections, after Close at the same port as before.
func (p *Proxy) Open(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var l net.Listener
	var err error
	// A port that was just closed may still be in use for a moment.
	if !poll(Patience, func() bool {
		l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p.Port))
		return err == nil
	}) {
		t.Fatal(err)
	}
	p.Port = l.Addr().(*net.TCPAddr).Port
	p.listener = l
	go p.accept(l)
}

// Close refuses new connections and ends all others.
func (p *Proxy) Close() {
	p.mu.Lock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	p.mu.Unlock()
	p.Cut()
}

// Cut ends all connections. New ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.end()
	}
}

// CutAfter ends one connection when n more bytes from the server have passed, in the middle of a line or literal too.
func (p *Proxy) CutAfter(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAfter = n
}

// Pending tells whether the end that CutAfter ordered is still to come.
func (p *Proxy) Pending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cutAfter > 0
}

// Freeze lets nothing pass any more, as when a cable is pulled. Connections stay, and new ones are accepted and silent.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = true
}

// FreezeWhen freezes a connection when a client sends a line that matches the pattern. The line does not pass any more.
// Other connections go on.
func (p *Proxy) FreezeWhen(pattern string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = regexp.MustCompile(pattern)
}

// Frozen tells whether a connection was frozen by FreezeWhen.
func (p *Proxy) Frozen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if c.frozen {
			return true
		}
	}
	return false
}

// Thaw ends Freeze and FreezeWhen. What was held back passes.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled, p.trap = false, nil
	for c := range p.conns {
		c.frozen = false
	}
	p.thawed.Broadcast()
}

// Limit accepts at most n connections at a time. Others are closed at once.
func (p *Proxy) Limit(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = n
}

// Said returns the lines since the last Forget.
func (p *Proxy) Said() []Line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Line(nil), p.said...)
}

// Commands returns the lines of clients since the last Forget that match the pattern.
func (p *Proxy) Commands(pattern string) []string {
	re := regexp.MustCompile(pattern)
	var found []string
	for _, l := range p.Said() {
		if !l.FromServer && re.MatchString(l.Text) {
			found = append(found, l.Text)
		}
	}
	return found
}

// Forget forgets all lines and counts.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said, p.down, p.dialled = nil, map[int]int64{}, 0
}

// Down returns how many bytes from the server have passed since the last Forget.
func (p *Proxy) Down() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := int64(0)
	for _, n := range p.down {
		sum += n
	}
	return sum
}

// DownEach returns the same for each connection, by its number.
func (p *Proxy) DownEach() map[int]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.down)
}

// Dialled returns how many connections were made since the last Forget.
func (p *Proxy) Dialled() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialled
}

type proxyConn struct {
	number         int
	client, server net.Conn
	frozen         bool // nothing passes; guarded by mu of the proxy

	mu       sync.Mutex // guards what follows
	compress string     // beginning of the answer after which the server compresses; empty: COMPRESS was not sent
}

func (c *proxyConn) end() {
	// Without lingering the end is a reset, as from a machine that fell over.
	if tcp, ok := c.client.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.client.Close()
	c.server.Close()
}

func (p *Proxy) accept(l net.Listener) {
	for number := 1; ; number++ {
		client, err := l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		full := p.most > 0 && len(p.conns) >= p.most
		p.mu.Unlock()
		if full {
			client.Close()
			continue
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		c := &proxyConn{number: number, client: client, server: server}
		p.mu.Lock()
		p.conns[c] = true
		p.dialled++
		p.mu.Unlock()
		go func() {
			time.Sleep(p.rtt) // the handshake of TCP
			var both sync.WaitGroup
			both.Go(func() { p.pass(c, client, server, false) })
			both.Go(func() { p.pass(c, server, client, true) })
			both.Wait()
			p.mu.Lock()
			delete(p.conns, c)
			p.mu.Unlock()
		}()
	}
}

// pass carries one direction, line by line, until either side ends it. A line of the server is recorded when it arrives at
// the client, so that lines are recorded in the order in which the client sends and receives them.
func (p *Proxy) pass(c *proxyConn, from, to net.Conn, fromServer bool) {
	type packet struct {
		data []byte
		text string
		line bool
		due  time.Time
	}
	packets := make(chan packet, 1<<16)
	var sending sync.WaitGroup
	sending.Go(func() {
		broken := false
		for k := range packets {
			if broken {
				continue
			}
			time.Sleep(time.Until(k.due))
			broken = !p.forward(c, to, k.data, k.text, k.line, fromServer)
		}
		if tcp, ok := to.(*net.TCPConn); ok && !broken {
			tcp.CloseWrite()
		}
	})
	r := bufio.NewReaderSize(from, 64<<10)
	lie := &Lie{proxy: p, conn: c.number}
	tls := false
	literal := 0
	var free time.Time // when the line has carried all that came before
	for {
		var data []byte
		var err error
		isLine := !tls && literal == 0
		switch {
		case isLine:
			if b, _ := r.Peek(1); len(b) == 1 && b[0] == 0x16 { // a TLS record: a handshake
				tls = true
				continue
			}
			data, err = r.ReadBytes('\n')
		default:
			n := 32 << 10
			if literal > 0 {
				n = min(n, literal)
			}
			data = make([]byte, n)
			n, err = r.Read(data)
			data = data[:n]
			if literal > 0 {
				literal -= n
			}
		}
		if len(data) > 0 {
			text := strings.TrimRight(string(data), "\r\n")
			if !isLine {
				text = ""
			} else {
				literal = literalSize(text)
				tls = c.opaque(text, fromServer)
				if fromServer && p.lie != nil {
					data = []byte(p.lie(lie, string(data)))
				}
			}
			if !fromServer {
				p.write(c, text, isLine, false)
			}
			if fromServer && p.rate > 0 {
				if now := time.Now(); free.Before(now) {
					free = now
				}
				free = free.Add(time.Duration(float64(len(data)) / p.rate * float64(time.Second)))
				time.Sleep(time.Until(free))
			}
			packets <- packet{data, text, isLine, time.Now().Add(p.rtt / 2)}
		}
		if err != nil {
			break
		}
	}
	close(packets)
	sending.Wait()
	if fromServer {
		c.client.Close() // a server that has closed its side has nothing to hear
	}
}

var compress = regexp.MustCompile(`^(\S+) COMPRESS DEFLATE$`)

// opaque tells whether all that follows a line in its direction is compressed (RFC 4978).
func (c *proxyConn) opaque(text string, fromServer bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !fromServer {
		if m := compress.FindStringSubmatch(text); m != nil {
			c.compress = m[1] + " OK"
			return true
		}
	}
	return fromServer && c.compress != "" && strings.HasPrefix(text, c.compress)
}

var literalEnd = regexp.MustCompile(`\{(\d+)\+?\}$`)

func literalSize(line string) int {
	m := literalEnd.FindStringSubmatch(line)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

func (p *Proxy) write(c *proxyConn, text string, line, fromServer bool) {
	if !line {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, Line{c.number, fromServer, text})
}

// forward sends data on, after a freeze if there is one. It returns false when the connection is over.
func (p *Proxy) forward(c *proxyConn, to io.Writer, data []byte, text string, line, fromServer bool) bool {
	p.mu.Lock()
	if !fromServer && p.trap != nil && p.trap.MatchString(text) {
		c.frozen = true
	}
	for p.stalled || c.frozen {
		p.thawed.Wait()
	}
	cut := false
	if fromServer {
		if p.cutAfter > 0 {
			if cut = len(data) >= p.cutAfter; cut {
				data = data[:p.cutAfter]
				p.cutAfter = 0
			} else {
				p.cutAfter -= len(data)
			}
		}
		p.down[c.number] += int64(len(data))
	}
	p.mu.Unlock()
	if fromServer && !cut {
		p.write(c, text, line, true)
	}
	_, err := to.Write(data)
	if cut {
		if tcp, ok := c.client.(*net.TCPConn); ok {
			tcp.CloseWrite() // what was passed on shall arrive; a reset could overtake it
		}
		c.server.Close()
		return false
	}
	return err == nil
}
