//go:build linux

// Command bench measures mailfs against mbsync, against the limit of the network, and against files on the disk. It makes
// its own mail, serves it with Dovecot through networks of several lengths, and prints a table. docs/benchmarks.md says
// what the figures mean and which bounds they must keep.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// account is the name of the user whose mail is read.
const account = "bench"

// bench is one run of the benchmarks.
type bench struct {
	run        *harness.Run
	corpus     *corpus
	dovecot    *harness.Dovecot
	n          int    // how often each figure is measured
	mailfs     string // path of the program
	mountFlags string // further flags of mailfs mount
	who        string // names of the contestants to measure, with commas between them; "": all
	compress   bool   // the server offers COMPRESS=DEFLATE
	profiles   string // directory for profiles; "": none are made
	local      string // directory with copies of INBOX and Tiny on the disk; see [bench.disk]
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context) (err error) {
	b := &bench{}
	corpusDir := flag.String("corpus", filepath.Join(os.TempDir(), "mailfs-bench"),
		"`DIR` in which the mail is kept between runs")
	messages := flag.Int("messages", 3000, "messages in INBOX")
	tiny := flag.Int("tiny", 10_000, "short messages in Tiny")
	packs := flag.Bool("packs", false, "attachments of text, which packs well; random ones do not")
	flag.BoolVar(&b.compress, "compress", true, "the server offers COMPRESS=DEFLATE")
	only := flag.String("only", "*", "rows to measure, `PATTERNS` with commas between them (see -list)")
	list := flag.Bool("list", false, "list the rows and exit")
	flag.IntVar(&b.n, "n", 3, "how often each figure is measured")
	flag.StringVar(&b.mailfs, "mailfs", "", "measure this `BINARY` in place of one that is built")
	flag.StringVar(&b.mountFlags, "mount", "", "further `FLAGS` of mailfs mount")
	flag.StringVar(&b.who, "who", "", "measure only these `CONTESTANTS`, with commas between them, as the columns are called")
	flag.StringVar(&b.profiles, "perf", "", "keep a profile by perf(1) of mailfs for each row in `DIR`")
	flag.Parse()
	if flag.NArg() > 0 || b.n < 1 {
		flag.Usage()
		return errors.New("wrong usage")
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if *list {
		for _, r := range chosen {
			fmt.Printf("%-16s %s\n", r.name, r.what)
		}
		return nil
	}
	if _, err := exec.LookPath("mbsync"); err != nil {
		return fmt.Errorf("%w (Debian: apt-get install isync)", err)
	}
	if b.corpus, err = openCorpus(*corpusDir, *messages, *tiny, *packs); err != nil {
		return err
	}
	if b.run, err = harness.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.run.Close()) }()
	if b.mailfs == "" {
		b.mailfs = b.run.Binary
	}
	if b.dovecot, err = b.serve(); err != nil {
		return err
	}
	defer b.dovecot.Stop()
	if err := b.warmUp(ctx); err != nil {
		return err
	}
	printHead(b)
	var failed []string
	for _, r := range chosen {
		start := time.Now()
		got, err := r.measure(ctx, b, r)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", r.name, err)
			failed = append(failed, r.name)
			r.printFailed()
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: %.0f s\n", r.name, time.Since(start).Seconds())
		r.print(b, got)
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

// choose returns the rows whose name matches one of the patterns, which have commas between them.
func choose(patterns string) ([]row, error) {
	var chosen []row
	for _, r := range rows() {
		for p := range strings.SplitSeq(patterns, ",") {
			ok, err := path.Match(p, r.name)
			if err != nil {
				return nil, fmt.Errorf("-only %s: %w", p, err)
			}
			if ok {
				chosen = append(chosen, r)
				break
			}
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-only %s: there is no such row (see -list)", patterns)
	}
	return chosen, nil
}

// serve starts a Dovecot whose account has the corpus as its mail.
func (b *bench) serve() (*harness.Dovecot, error) {
	o := harness.DovecotOptions{}
	if b.compress {
		o.Settings = "protocol imap {\n  mail_plugins = $mail_plugins imap_zlib\n}"
	}
	d, err := b.run.StartDovecot(o)
	if err != nil {
		return nil, err
	}
	if err := os.Symlink(b.corpus.home, filepath.Dir(d.Maildir(account))); err != nil {
		d.Stop()
		return nil, err
	}
	return d, nil
}

// warmUp reads all mail once, so that the caches of Dovecot and of the kernel are full before anything is measured.
func (b *bench) warmUp(ctx context.Context) error {
	for _, f := range []folder{b.corpus.mixed, b.corpus.tiny, b.corpus.huge} {
		for range 2 {
			if _, err := rawListing(ctx, b.dovecot.IMAP, f.name); err != nil {
				return fmt.Errorf("warming up: %w", err)
			}
		}
		got, err := rawBodies(ctx, b.dovecot.IMAP, f.name)
		if err != nil {
			return fmt.Errorf("warming up: %w", err)
		}
		if got.down < f.bytes {
			return fmt.Errorf("warming up: %s comes as %d bytes, but its messages have %d", f.name, got.down, f.bytes)
		}
	}
	return nil
}
