package remote

import "slices"

// UIDSet is a set of UIDs, kept as ranges, which is compact where UIDs are dense, as they are in most mailboxes. The zero
// UIDSet is empty. A set that one goroutine changes must not be used by others meanwhile.
type UIDSet struct {
	ranges []UIDRange // sorted, disjoint, not touching
}

// UIDRange is the UIDs from First to Last, both included.
type UIDRange struct{ First, Last UID }

// NewUIDSet returns the set of the given UIDs, in any order.
func NewUIDSet(uids ...UID) *UIDSet {
	s := &UIDSet{}
	sorted := slices.IsSorted(uids)
	if !sorted {
		uids = slices.Clone(uids)
		slices.Sort(uids)
	}
	for _, u := range uids {
		s.AddRange(u, u)
	}
	return s
}

// find returns the index of the first range that ends at uid or later.
func (s *UIDSet) find(uid UID) int {
	i, _ := slices.BinarySearchFunc(s.ranges, uid, func(r UIDRange, u UID) int {
		if r.Last < u {
			return -1
		}
		return 1
	})
	return i
}

// Add adds one UID. Adding in ascending order costs O(1) each.
func (s *UIDSet) Add(uid UID) { s.AddRange(uid, uid) }

// AddRange adds all UIDs from first to last, both included.
func (s *UIDSet) AddRange(first, last UID) {
	if first > last {
		return
	}
	if n := len(s.ranges); n > 0 && s.ranges[n-1].Last+1 == first { // UIDs in order and dense, as usual
		s.ranges[n-1].Last = last
		return
	} else if n == 0 || s.ranges[n-1].Last+1 < first {
		s.ranges = append(s.ranges, UIDRange{first, last})
		return
	}
	i := s.find(max(first, 1) - 1) // a range that ends at first-1 is joined
	j := i
	for j < len(s.ranges) && s.ranges[j].First <= last+1 {
		first, last = min(first, s.ranges[j].First), max(last, s.ranges[j].Last)
		j++
	}
	s.ranges = slices.Replace(s.ranges, i, j, UIDRange{first, last})
}

// Contains tells whether uid is in the set. A nil set is empty.
func (s *UIDSet) Contains(uid UID) bool {
	if s == nil {
		return false
	}
	i := s.find(uid)
	return i < len(s.ranges) && s.ranges[i].First <= uid
}

// Last returns the highest UID in the set, 0 if it is empty.
func (s *UIDSet) Last() UID {
	if s == nil || len(s.ranges) == 0 {
		return 0
	}
	return s.ranges[len(s.ranges)-1].Last
}

// Len returns the number of UIDs in the set.
func (s *UIDSet) Len() int {
	if s == nil {
		return 0
	}
	n := 0
	for _, r := range s.ranges {
		n += int(r.Last - r.First + 1)
	}
	return n
}

// Ranges returns the ranges of the set in ascending order. The caller must not change them.
func (s *UIDSet) Ranges() []UIDRange {
	if s == nil {
		return nil
	}
	return s.ranges
}

// Minus returns the UIDs of s that are not in t.
func (s *UIDSet) Minus(t *UIDSet) *UIDSet {
	out := &UIDSet{}
	cut := t.Ranges()
	for _, r := range s.Ranges() {
		first := r.First
		for len(cut) > 0 && cut[0].Last < first {
			cut = cut[1:]
		}
		rest := cut
		for ; len(rest) > 0 && rest[0].First <= r.Last; rest = rest[1:] {
			if rest[0].First > first {
				out.AddRange(first, rest[0].First-1)
			}
			first = rest[0].Last + 1
		}
		if first <= r.Last {
			out.AddRange(first, r.Last)
		}
	}
	return out
}

// Overlaps tells whether two sets have a UID in common. A nil set has none.
func (s *UIDSet) Overlaps(t *UIDSet) bool {
	x, y := s.Ranges(), t.Ranges()
	for len(x) > 0 && len(y) > 0 {
		switch {
		case x[0].Last < y[0].First:
			x = x[1:]
		case y[0].Last < x[0].First:
			y = y[1:]
		default:
			return true
		}
	}
	return false
}
