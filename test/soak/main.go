//go:build linux

// Command soak has programs read a mount for some time, while mail comes and goes and the network and the server fail, and
// compares every byte:
//
//	go run ./test/soak -for 60s -server imap|imap-compress|pop3
//
// It prints what happened, and ends with status 1 if a byte was wrong, a message missing or one too many in the end, a call
// took longer than it may, or descriptors, threads or memory of mailfs have grown.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// options are the flags of the command.
type options struct {
	server  string
	plain   bool // no TLS
	length  time.Duration
	timeout time.Duration // --timeout of mailfs
	bound   time.Duration // how much longer a call may take than timeout
	seed    uint64
}

const (
	user    = "soak"
	memory  = 64 << 20 // --memory of mailfs, bytes
	letters = 200      // in INBOX at the start
)

func main() {
	var o options
	flag.StringVar(&o.server, "server", "imap", "`kind` of server: imap, imap-compress or pop3")
	flag.BoolVar(&o.plain, "plain", false, "without TLS")
	flag.DurationVar(&o.length, "for", time.Minute, "how long mail comes and goes")
	flag.DurationVar(&o.timeout, "timeout", 4*time.Second, "--timeout of mailfs")
	flag.DurationVar(&o.bound, "bound", time.Second, "how much longer than --timeout a call may take")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64(), "of the events")
	flag.Parse()
	if !strings.Contains(" imap imap-compress pop3 ", " "+o.server+" ") {
		fmt.Fprintf(os.Stderr, "soak: no kind of server: %s\n", o.server)
		os.Exit(2)
	}
	if err := o.soak(); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// soak runs everything and returns an error if something was wrong.
func (o options) soak() (err error) {
	run, err := harness.Start()
	if err != nil {
		return err
	}
	defer func() {
		if e := run.Close(); err == nil {
			err = e
		}
	}()
	t := &outside{}
	defer t.end()
	defer func() {
		if r := recover(); r != nil {
			failed, ok := r.(failure)
			if !ok {
				panic(r)
			}
			err = failed
		}
	}()
	w, err := o.start(t, run)
	if err != nil {
		return err
	}
	defer w.dovecot.Stop()
	return w.soak(t)
}

// start starts the server, fills the account, and mounts it through a network that fails on demand.
func (o options) start(t *outside, run *harness.Run) (*world, error) {
	var settings string
	var network harness.ProxyOptions
	if o.server == "imap-compress" { // which mailfs asks for on a slow line only
		settings = "protocol imap {\n  mail_plugins = $mail_plugins imap_zlib\n}"
		network = harness.ProxyOptions{RTT: 10 * time.Millisecond, Rate: 8e6}
	}
	d, err := run.StartDovecot(harness.DovecotOptions{Settings: settings})
	if err != nil {
		return nil, err
	}
	w := &world{options: o, dovecot: d, held: map[string]map[int]uint32{"INBOX": {}}, inodes: map[string]uint64{}, random: rand.New(rand.NewPCG(o.seed, 1))}
	w.client(func(c *client) {
		for range letters {
			w.deliver(c, "INBOX")
		}
		if o.server != "pop3" {
			w.remake(c)
		}
	})
	port := map[string]int{"imap false": d.IMAPS, "imap true": d.IMAP, "pop3 false": d.POP3S, "pop3 true": d.POP3}
	protocol, _, _ := strings.Cut(o.server, "-")
	w.proxy = run.Proxy(t, port[fmt.Sprintf("%s %t", protocol, o.plain)], network)
	security, scheme := []string{"--ca-file", d.CA}, protocol+"s"
	if o.plain {
		security, scheme = []string{"--tls=off"}, protocol
	}
	args := append(security, "--timeout", o.timeout.String(), "--refresh", "1s", "--memory", fmt.Sprintf("%dMiB", memory>>20),
		fmt.Sprintf("%s://%s@localhost:%d", scheme, user, w.proxy.Port))
	w.mount = run.Mount(t, args...)
	return w, nil
}

// soak lets readers, walkers and events loose, and checks at the end that all is as it should be.
func (w *world) soak(t *outside) error {
	pid := w.mount.Process(t)
	w.walk(rand.New(rand.NewPCG(w.seed, 2)))
	time.Sleep(5 * time.Second) // connections that are not needed end
	before := usageOf(pid)
	fmt.Printf("%s, TLS %t, seed %d: at the start %s\n", w.server, !w.plain, w.seed, before)

	stop := make(chan struct{})
	var readers sync.WaitGroup
	for i, read := range []func(*rand.Rand){w.readOne, w.readOne, w.readPart, w.holdOpen, w.walk, w.copyAll} {
		random := rand.New(rand.NewPCG(w.seed, uint64(10+i)))
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					read(random)
				}
			}
		})
	}
	for deadline := time.Now().Add(w.length); time.Now().Before(deadline); {
		w.event()
	}
	close(stop)
	readers.Wait()

	ghosts, missing := w.settled(time.Minute)
	w.walk(rand.New(rand.NewPCG(w.seed, 3)))
	after := usageOf(pid)
	for range 30 { // connections that are not needed end, and memory is given back
		if after.flat(before) {
			break
		}
		time.Sleep(time.Second)
		after = usageOf(pid)
	}
	return w.report(before, after, ghosts, missing)
}
