//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// columns are the contestants that have a column after those of the row and of mailfs.
var columns = []string{mbsync, mbsyncPlain, raw, disk, allowed}

// memoryBar bounds the resident memory of mailfs, in bytes: the default of --memory, and 64 MiB.
const memoryBar = 128 << 20

func printHead(b *bench) {
	c := b.corpus
	fmt.Printf("%s, %s; medians of %d runs, in turns; in brackets what mailfs needs in proportion.\n\n",
		time.Now().Format("2006-01-02"), machine(), b.n)
	fmt.Printf("INBOX: %d messages, %.1f MB. Tiny: %d messages, %.1f MB. %s\n\n",
		c.mixed.messages, float64(c.mixed.bytes)/1e6, c.tiny.messages, float64(c.tiny.bytes)/1e6, versions())
	fmt.Printf("| row | mailfs | %s | must hold | CPU s | peak MiB | MB from the server | |\n",
		strings.Join(columns, " | "))
	fmt.Println("|" + strings.Repeat("---|", len(columns)+7))
}

// print prints the line of a row.
func (r row) print(b *bench, got map[string][]sample) {
	of := func(who string, f func(sample) float64) float64 {
		var all []float64
		for _, s := range got[who] {
			all = append(all, f(s))
		}
		return median(all)
	}
	value := func(s sample) float64 { return s.value }
	ours := of(mailfs, value)
	cells := []string{r.name, r.format(ours)}
	for _, who := range columns {
		if len(got[who]) == 0 {
			cells = append(cells, "")
			continue
		}
		theirs := of(who, value)
		cells = append(cells, fmt.Sprintf("%s (%.2f)", r.format(theirs), ours/theirs))
	}
	var verdicts []string
	verdict := func(what string, holds bool) {
		if !holds {
			what += " **NO**"
		}
		verdicts = append(verdicts, what)
	}
	for _, bar := range r.bars {
		if len(got[bar.against]) == 0 { // it was not to be measured
			continue
		}
		verdict(fmt.Sprintf("≤ %g %s", bar.factor, bar.against), ours <= bar.factor*of(bar.against, value))
	}
	peak := func(s sample) float64 { return float64(s.peak) }
	if p := of(mailfs, peak); p > 0 {
		verdict("memory", p <= memoryBar)
	}
	cells = append(cells, strings.Join(verdicts, ", "))
	for _, column := range []struct {
		format string
		f      func(sample) float64
	}{
		{"%.2f", func(s sample) float64 { return s.cpu.Seconds() }},
		{"%.0f", func(s sample) float64 { return peak(s) / (1 << 20) }},
		{"%.1f", func(s sample) float64 { return float64(s.down) / 1e6 }},
	} {
		var parts []string
		for _, who := range []string{mailfs, mbsync, mbsyncPlain, raw} {
			if v := of(who, column.f); v > 0 {
				parts = append(parts, fmt.Sprintf(column.format, v))
			}
		}
		cells = append(cells, strings.Join(parts, " / "))
	}
	note := r.what
	if r.aside != "" {
		note += "; " + fmt.Sprintf(r.aside, of(mailfs, func(s sample) float64 { return s.aside }))
	}
	fmt.Printf("| %s | %s |\n", strings.Join(cells, " | "), note)
	if b.n > 1 {
		fmt.Fprintf(os.Stderr, "%s: single runs of mailfs:", r.name)
		for _, s := range got[mailfs] {
			fmt.Fprint(os.Stderr, " ", r.format(s.value))
		}
		fmt.Fprintln(os.Stderr)
	}
}

// printFailed prints the line of a row that could not be measured.
func (r row) printFailed() {
	fmt.Printf("| %s | failed |%s %s |\n", r.name, strings.Repeat(" |", len(columns)+4), r.what)
}

func (r row) format(v float64) string {
	switch {
	case !r.bytes && v < 1:
		return fmt.Sprintf("%.3f s", v)
	case !r.bytes:
		return fmt.Sprintf("%.2f s", v)
	case v < 1e6:
		return fmt.Sprintf("%.1f KB", v/1e3)
	default:
		return fmt.Sprintf("%.2f MB", v/1e6)
	}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// machine says what the figures were measured on.
func machine() string {
	model := runtime.GOARCH
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d × %s, Linux %s", runtime.NumCPU(), model, strings.TrimSpace(string(release)))
}

// versions names the programs that took part.
func versions() string {
	said := []string{runtime.Version()}
	for _, c := range [][]string{{"dovecot", "--version"}, {"mbsync", "--version"}, {"cp", "--version"}} {
		path, err := exec.LookPath(c[0])
		if err != nil {
			path = "/usr/sbin/" + c[0]
		}
		out, err := exec.Command(path, c[1:]...).Output()
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(out), "\n")
		if c[0] == "dovecot" {
			first = "dovecot " + strings.Fields(first)[0]
		}
		said = append(said, first)
	}
	return strings.Join(said, ", ") + "."
}
