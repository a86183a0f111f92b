package table

import "slices"

// Order is the order of a table's messages by the names of their files, in which shells sort.
type Order struct {
	sorted []uint32 // index in the table, by rank
	rank   []uint32 // rank, by index in the table
}

// Rank returns the place of the message with an index in the table.
func (o *Order) Rank(i int) int { return int(o.rank[i]) }

// Index returns the index in the table of the message in a place.
func (o *Order) Index(rank int) int { return int(o.sorted[rank]) }

// ByName returns the table's order by names, which is made when it is first asked for.
func (t *Table) ByName() *Order {
	t.ordering.Do(func() {
		o := &Order{sorted: make([]uint32, t.Len()), rank: make([]uint32, t.Len())}
		for i := range o.sorted {
			o.sorted[i] = uint32(i)
		}
		slices.SortFunc(o.sorted, func(a, b uint32) int { return slices.Compare(t.name(int(a)), t.name(int(b))) })
		for rank, i := range o.sorted {
			o.rank[i] = uint32(rank)
		}
		t.byName = o
	})
	return t.byName
}
