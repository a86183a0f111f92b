package remote

import (
	"math/rand/v2"
	"testing"
)

func TestAUIDSetHoldsWhatAMapHolds(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		a, b := &UIDSet{}, &UIDSet{}
		inA, inB := map[UID]bool{}, map[UID]bool{}
		for range 60 {
			first := UID(rnd.IntN(100))
			last := first + UID(rnd.IntN(4))
			s, m := a, inA
			if rnd.IntN(2) == 0 {
				s, m = b, inB
			}
			s.AddRange(first, last)
			for u := first; u <= last; u++ {
				m[u] = true
			}
		}
		d := a.Minus(b)
		n := 0
		for u := UID(0); u < 110; u++ {
			if a.Contains(u) != inA[u] {
				t.Fatalf("seed %d: Contains(%d) = %v, ranges %v", seed, u, a.Contains(u), a.ranges)
			}
			want := inA[u] && !inB[u]
			if d.Contains(u) != want {
				t.Fatalf("seed %d: Minus contains %d: %v, want %v", seed, u, !want, want)
			}
			if want {
				n++
			}
		}
		if d.Len() != n {
			t.Fatalf("seed %d: Len %d, want %d", seed, d.Len(), n)
		}
		for i := 1; i < len(a.ranges); i++ {
			if a.ranges[i-1].Last+1 >= a.ranges[i].First {
				t.Fatalf("seed %d: ranges touch: %v", seed, a.ranges)
			}
		}
	}
}
