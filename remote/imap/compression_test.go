package imap

import (
	"slices"
	"testing"
)

// Every event in every state: a state that is not named for an event stays.
func TestCompressionMovesAsItsTableSays(t *testing.T) {
	moves := map[compression]map[compressionEvent]compression{
		compressOff:      {lineIsSlow: compressDraining},
		compressDraining: {nobodyUsesIt: compressStarting},
		compressStarting: {compressAccepted: compressOn, compressFailed: compressRefused},
	}
	for c := compressNotOffered; c <= compressRefused; c++ {
		for e := lineIsSlow; e <= compressFailed; e++ {
			want, moves := moves[c][e]
			if !moves {
				want = c
			}
			if got := c.after(e); got != want {
				t.Errorf("event %d moves state %d to %d, want %d", e, c, got, want)
			}
		}
		if free := !slices.Contains([]compression{compressDraining, compressStarting}, c); c.mayUse() != free {
			t.Errorf("in state %d the session may be used: %v", c, c.mayUse())
		}
		if tried := c >= compressOn; c.wasTried() != tried {
			t.Errorf("in state %d COMPRESS was tried: %v", c, c.wasTried())
		}
	}
}
