//go:build linux

package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// counts is what happened.
type counts struct {
	tally   sync.Mutex // guards what follows
	events  map[string]int
	longest map[string]time.Duration // of each kind of call
	bytes   int64                    // read and compared
	reads   int
	faults  int
}

func (c *counts) count(what string) {
	c.tally.Lock()
	defer c.tally.Unlock()
	if c.events == nil {
		c.events = map[string]int{}
	}
	c.events[what]++
}

func (c *counts) took(what string, d time.Duration) {
	c.tally.Lock()
	defer c.tally.Unlock()
	if c.longest == nil {
		c.longest = map[string]time.Duration{}
	}
	c.longest[what] = max(c.longest[what], d)
}

func (c *counts) read(bytes int64) {
	c.tally.Lock()
	defer c.tally.Unlock()
	c.bytes += bytes
	c.reads++
}

// wrong notes a fault and prints the first few.
func (c *counts) wrong(format string, args ...any) {
	c.tally.Lock()
	defer c.tally.Unlock()
	if c.faults++; c.faults <= 20 {
		fmt.Printf("WRONG at %s: %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
	}
}

// usage is what a process has of the machine.
type usage struct {
	threads, descriptors int
	resident             int64 // bytes
}

// Threads that Go once started stay. Descriptors are those of the two connections and of the store; one or two more are a
// connection that has not ended yet. Memory is what --memory allows, and what Go has not given back.
const (
	moreThreads     = 16
	moreDescriptors = 4
	moreResident    = memory + 64<<20
)

// flat tells whether nothing has grown beyond what it may.
func (u usage) flat(before usage) bool {
	return u.threads <= before.threads+moreThreads && u.descriptors <= before.descriptors+moreDescriptors &&
		u.resident <= before.resident+moreResident
}

func (u usage) String() string {
	return fmt.Sprintf("%d threads, %d descriptors, %d MiB resident", u.threads, u.descriptors, u.resident>>20)
}

func usageOf(pid int) (u usage) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	tasks, _ := os.ReadDir(proc + "task")
	descriptors, _ := os.ReadDir(proc + "fd")
	u.threads, u.descriptors = len(tasks), len(descriptors)
	status, _ := os.ReadFile(proc + "status")
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			u.resident = kilobytes << 10
		}
	}
	return u
}

// report prints what happened and returns an error if something was wrong.
func (w *world) report(before, after usage, ghosts, missing int) error {
	w.tally.Lock()
	defer w.tally.Unlock()
	for _, what := range slices.Sorted(maps.Keys(w.events)) {
		fmt.Printf("  %6d %s\n", w.events[what], what)
	}
	slow := 0
	for _, what := range slices.Sorted(maps.Keys(w.longest)) {
		fmt.Printf("  longest %s: %v\n", what, w.longest[what].Round(time.Millisecond))
		if w.longest[what] > w.timeout+w.bound {
			slow++
		}
	}
	fmt.Printf("%d reads compared, %d MB; %d faults, %d ghosts, %d missing, %d kinds of calls longer than %v + %v\n",
		w.reads, w.bytes/1e6, w.faults, ghosts, missing, slow, w.timeout, w.bound)
	fmt.Printf("at the end %s\n", after)
	var err error
	if w.faults+ghosts+missing > 0 {
		err = errors.Join(err, errors.New("what was read or listed is wrong"))
	}
	if slow > 0 {
		err = errors.Join(err, errors.New("calls took too long"))
	}
	if !after.flat(before) {
		err = errors.Join(err, fmt.Errorf("mailfs has grown: %s, at the start %s", after, before))
	}
	return err
}
