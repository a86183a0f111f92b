package wire

import (
	"testing"
	"testing/synctest"
	"time"
)

// A line nearby is a slow one when it is so evenly, one far away after two samples, and neither when it was faster between.
func TestOnlyAnEvenlySlowLineCountsAsSlowNearby(t *testing.T) {
	const ms = time.Millisecond
	rated := []time.Duration{10 * ms, 11 * ms, 10 * ms, 9 * ms, 10 * ms, 11 * ms, 10 * ms, 10 * ms}
	for _, c := range []struct {
		name  string
		trip  time.Duration
		takes []time.Duration // for a sample each
		slow  bool
	}{
		{"near and even", ms / 10, rated, true},
		{"near and not long enough", ms / 10, rated[1:], false},
		{"near and uneven", ms / 10, []time.Duration{10 * ms, 30 * ms, 9 * ms, 50 * ms, 10 * ms, 8 * ms, 40 * ms, 10 * ms, 20 * ms, 9 * ms}, false},
		{"near and even at last", ms / 10, append([]time.Duration{10 * ms, 30 * ms, 50 * ms}, rated...), true},
		{"near and fast between", ms / 10, append(append(rated[:4:4], ms), rated[4:]...), false},
		{"far", 20 * ms, []time.Duration{10 * ms, 50 * ms}, true},
		{"far and not long enough", 20 * ms, []time.Duration{10 * ms}, false},
		{"far and fast between", 20 * ms, []time.Duration{10 * ms, ms, 10 * ms}, false},
	} {
		synctest.Test(t, func(t *testing.T) { // time passes at once
			slow := false
			p := pace{slow: func(bool, float64) { slow = true }, trip: &Trip{}}
			for _, d := range []time.Duration{c.trip, 40 * ms} { // the second answer had the server think
				p.begin()
				time.Sleep(d)
				p.note(100)
			}
			for _, d := range c.takes {
				for range 4 {
					time.Sleep(d / 4)
					p.note(paceSample / 4)
				}
			}
			if slow != c.slow {
				t.Errorf("%s: the line is slow: %v, want %v", c.name, slow, c.slow)
			}
		})
	}
}
