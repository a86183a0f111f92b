package wire

import "github.com/mailfs/mailfs/remote"

// rangesAtOnce keeps a command within the 8,000 bytes that servers must accept (RFC 7162, section 4).
const rangesAtOnce = 300

// Chunks cuts the set want into parts for one FETCH each, the last UIDs first. A part holds at most n UIDs of want, in few
// ranges: a range also covers UIDs that are neither in want nor in have, since asking for a message that does not exist
// costs nothing.
func Chunks(want, have *remote.UIDSet, n int) []*remote.UIDSet {
	var (
		parts []*remote.UIDSet
		part  []remote.UIDRange // descending
		room  = n
	)
	cut := func() {
		set := &remote.UIDSet{}
		for i := len(part) - 1; i >= 0; i-- {
			set.AddRange(part[i].First, part[i].Last)
		}
		parts = append(parts, set)
		part, room = nil, n
	}
	ranges := want.Ranges()
	for i := len(ranges) - 1; i >= 0; i-- {
		for rest := ranges[i]; ; {
			r := rest
			if count := r.Last - r.First + 1; count > remote.UID(room) {
				r.First = r.Last - remote.UID(room) + 1
			}
			room -= int(r.Last - r.First + 1)
			if k := len(part) - 1; k >= 0 && !between(r.Last, part[k].First).Overlaps(have) {
				part[k].First = r.First
			} else {
				part = append(part, r)
			}
			if room == 0 || len(part) == rangesAtOnce {
				cut()
			}
			if r.First == rest.First {
				break
			}
			rest.Last = r.First - 1
		}
	}
	if len(part) > 0 {
		cut()
	}
	return parts
}

// between returns the UIDs above a and below b.
func between(a, b remote.UID) *remote.UIDSet {
	set := &remote.UIDSet{}
	set.AddRange(a+1, b-1)
	return set
}
