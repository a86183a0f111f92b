package walk

import "iter"

const (
	// PieceSize is how long the pieces of a large message are, in bytes. What the kernel asks for at a time lies within one.
	PieceSize = 256 << 10
	// runPieces is how many pieces are fetched with one command at most.
	runPieces = 4
	// stepsToFar is how many steps from one piece to the next make a reader one that is taken to read the message to its end.
	stepsToFar = 3
)

// piecesAhead is how many pieces ahead of a reader are fetched after so many steps from one piece to the next.
func piecesAhead(steps int) uint32 {
	switch {
	case steps < 1:
		return 0
	case steps < stepsToFar:
		return runPieces
	default:
		return 4 * runPieces
	}
}

// Pieces is a reader's way through a large message, piece by piece. The pieces are numbered from 1.
type Pieces struct {
	last  uint32 // number of the piece that was read last; 0 before the first
	steps int    // from one piece to the next, without a break
}

// NewPieces returns the way of a reader that begins. walking: the reader walks through the mailbox, so it will read the
// message to its end, as cp -r does.
func NewPieces(walking bool) Pieces {
	if walking {
		return Pieces{steps: stepsToFar}
	}
	return Pieces{}
}

// Run is a run of pieces that are to be fetched with one command.
type Run struct {
	From, To uint32 // numbers of the first piece, and of the one after the last
	Ahead    bool   // nobody waits for it yet
}

// Step notes that a piece is read and returns what is to be fetched now, of a message whose last piece has the number last.
// missing tells whether a piece is neither here nor on its way; between two calls of it what was returned must be sent for.
func (p *Pieces) Step(number, last uint32, missing func(uint32) bool) iter.Seq[Run] {
	switch number {
	case p.last:
	case p.last + 1:
		if p.last > 0 {
			p.steps++
		}
	default:
		p.steps = 0
	}
	p.last = number
	end := min(number+piecesAhead(p.steps), last) + 1
	return func(yield func(Run) bool) {
		for from := number; from < end; {
			to := from
			for to < end && to < from+runPieces && missing(to) {
				to++
			}
			if to == from {
				from++
				continue
			}
			// What is ahead is fetched once it is a whole run, or the message ends with it.
			ahead := from > number
			if !ahead || to == from+runPieces || to == last+1 {
				if !yield(Run{from, to, ahead}) {
					return
				}
			}
			from = to
		}
	}
}
