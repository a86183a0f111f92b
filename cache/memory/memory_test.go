package memory

import "testing"

func TestBodiesKeepToTheirBudgetTheOldestFirstOut(t *testing.T) {
	b := New[int](3 * (1000 + perBody))
	for i := range 3 {
		b.Add(i, make([]byte, 1000))
	}
	b.Get(0)
	b.Has(1) // is no use of it
	b.Add(3, make([]byte, 1000))
	for i, want := range []bool{true, false, true, true} {
		if b.Has(i) != want {
			t.Errorf("body %d is there: %v, want %v", i, !want, want)
		}
	}
	b.Add(3, make([]byte, 500))
	if n, bytes := b.Usage(); n != 3 || bytes != 2*1000+500+3*perBody {
		t.Errorf("%d bodies take %d bytes", n, bytes)
	}
	b.Forget(func(i int) bool { return i != 2 })
	if n, bytes := b.Usage(); n != 1 || bytes != 1000+perBody || !b.Has(2) {
		t.Errorf("after all but one were dropped, %d bodies take %d bytes", n, bytes)
	}
}

func TestABodyLargerThanTheBudgetIsKeptAlone(t *testing.T) {
	b := New[int](1000)
	b.Add(1, make([]byte, 100))
	b.Add(2, make([]byte, 5000))
	if b.Has(1) || !b.Has(2) {
		t.Error("the body that is being read is not there, or not alone")
	}
	b.Add(3, make([]byte, 100))
	if b.Has(2) || !b.Has(3) {
		t.Error("a body that is too large stays when the next one comes")
	}
}
