//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Contestants do the same job in turns.
const (
	mailfs      = "mailfs"
	mbsync      = "mbsync"
	mbsyncPlain = "mbsync without COMPRESS"
	raw         = "raw limit"
	disk        = "local disk"
	allowed     = "allowed" // the bound itself, not a measurement
)

// sample is what one contestant needed for the job once. Zero: not measured.
type sample struct {
	value float64 // bytes where row.bytes is set, else seconds
	cpu   time.Duration
	peak  int64   // bytes resident at most, from the start of the process
	down  int64   // bytes from the server
	aside float64 // a second figure, see row.aside
}

// row is a line of the table.
type row struct {
	name, what string
	bytes      bool   // the figures are bytes, not seconds
	bars       []bar  // bounds that must hold
	aside      string // format that prints sample.aside; "": there is none
	rtt        time.Duration
	narrow     bool // the network has a rate though rtt is 0
	measure    func(context.Context, *bench, row) (map[string][]sample, error)
}

// bar is a bound: mailfs needs at most factor times what the contestant needs.
type bar struct {
	against string
	factor  float64
}

// rate of all networks that have a length, in bits per second.
const rate = 100e6

func rows() []row {
	var all []row
	lengths := []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond}
	for _, rtt := range lengths {
		bars := []bar{{mbsync, 1}, {mbsyncPlain, 1}}
		switch rtt.Milliseconds() {
		case 20:
			bars = []bar{{mbsync, 0.8}, {mbsyncPlain, 1}, {raw, 1.05}}
		case 100:
			bars = []bar{{mbsync, 0.8}, {mbsyncPlain, 1}, {raw, 1.1}}
		}
		all = append(all, row{
			name: "cp", what: "cp -r of INBOX, nothing cached", bars: bars, rtt: rtt, measure: coldCopy,
			aside: "mounting took %.2f s",
		})
	}
	for _, rtt := range lengths {
		all = append(all, row{
			name: "boxes", what: fmt.Sprintf("cp -r of %d mailboxes with %d messages each, nothing cached", manyBoxes, inEach),
			bars: []bar{{mbsync, 1}, {mbsyncPlain, 1}}, rtt: rtt, measure: manyCopy, aside: "mounting took %.2f s",
		})
	}
	for _, rtt := range lengths[:2] {
		all = append(all,
			row{name: "grep", what: "grep -r in INBOX, nothing cached", rtt: rtt, measure: coldGrep},
			row{name: "tar", what: "tar of INBOX, nothing cached", rtt: rtt, measure: coldTar})
	}
	for _, rtt := range lengths {
		all = append(all, row{name: "ls", what: "ls -l of 10,000 messages, nothing cached", rtt: rtt, measure: coldList})
	}
	for _, rtt := range lengths {
		all = append(all, row{
			name: "pop3", what: "cp -r of a maildrop, nothing cached", bars: []bar{{raw, 1.1}}, rtt: rtt, measure: coldPOP3,
			aside: "mounting took %.2f s",
		})
	}
	for i := range all {
		all[i].name += fmt.Sprintf("-%dms", all[i].rtt.Milliseconds())
	}
	all = append(all, row{
		name: "cp-0ms-narrow", what: "cp -r of INBOX, nothing cached, at 100 Mbit/s", narrow: true, measure: coldCopy,
		bars: []bar{{mbsync, 1}, {mbsyncPlain, 1}, {raw, 1}}, aside: "mounting took %.2f s",
	})
	all = append(all,
		row{name: "cp-warm", what: "cp -r of INBOX, once more", bars: []bar{{disk, 1.2}}, measure: warmCopy},
		row{name: "grep-warm", what: "grep -r in INBOX, once more", bars: []bar{{disk, 1.6}}, measure: warmGrep},
		row{name: "tar-warm", what: "tar of INBOX, once more", measure: warmTar},
		row{name: "ls-warm", what: "ls -l of 10,000 messages, once more", bars: []bar{{disk, 1}}, measure: warmList},
	)
	for _, rtt := range lengths[1:] {
		for _, where := range []struct{ name, what, mailbox string }{
			{"busy", "slowest of 20 small cat in INBOX while cp -r runs there", "INBOX"},
			{"busy-other", "slowest of 20 small cat in another mailbox while cp -r runs in INBOX", "Tiny"},
		} {
			all = append(all, row{
				name: fmt.Sprintf("%s-%dms", where.name, rtt.Milliseconds()), what: where.what, rtt: rtt,
				bars: []bar{{allowed, 1}}, aside: "half of them within %.3f s",
				measure: func(ctx context.Context, b *bench, r row) (map[string][]sample, error) {
					return busyCat(ctx, b, r, where.mailbox)
				},
			})
		}
	}
	near := lengths[1]
	return append(all,
		row{name: "cat-bytes", what: "bytes from the server for the first cat of a mount, 40 to 80 KB", bytes: true,
			rtt: near, bars: []bar{{allowed, 1}}, measure: catBytes},
		row{name: "find-bytes", what: "bytes from the server for find -size in INBOX", bytes: true, rtt: near,
			bars: []bar{{raw, 1.05}}, measure: findBytes},
		row{name: "head-bytes", what: "bytes from the server for head -c 4096 of 50 MB", bytes: true, rtt: near,
			bars: []bar{{allowed, 1}}, measure: headBytes, aside: "the answer took %.3f s"},
		row{name: "overshoot", what: "bytes from the server beyond 10 messages read in a row", bytes: true, rtt: near,
			bars: []bar{{allowed, 1}}, measure: overshoot},
	)
}

// contestant is one way to do the job of a row.
type contestant struct {
	name string
	run  func() (sample, error)
}

// interleave measures the contestants in turns, b.n times.
func (b *bench) interleave(contestants ...contestant) (map[string][]sample, error) {
	got := map[string][]sample{}
	for range b.n {
		for _, c := range contestants {
			if b.who != "" && !slices.Contains(strings.Split(b.who, ","), c.name) {
				continue
			}
			s, err := c.run()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			got[c.name] = append(got[c.name], s)
		}
	}
	return got, nil
}

// network starts a network of the row's length before a port and returns the port of the network, which ends with done. A
// row of length 0 has no network, and l is nil: nothing is counted.
func (r row) network(port int) (at int, l *link, done func(), err error) {
	if r.rtt == 0 && !r.narrow {
		return port, nil, func() {}, nil
	}
	if l, err = newLink(port, r.rtt, rate); err != nil {
		return 0, nil, nil, err
	}
	return l.port, l, l.close, nil
}
