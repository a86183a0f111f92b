package remote_test

import (
	"errors"
	"testing"

	"github.com/mailfs/mailfs/remote"
)

func TestTheErrorsOfThePackageAreDistinct(t *testing.T) {
	texts := map[string]bool{}
	for _, a := range remote.Errors() {
		if texts[a.Error()] {
			t.Errorf("two errors say %q", a)
		}
		texts[a.Error()] = true
		for _, b := range remote.Errors() {
			if a != b && errors.Is(a, b) {
				t.Errorf("%q is %q", a, b)
			}
		}
	}
	if len(texts) < 14 {
		t.Errorf("only %d errors", len(texts))
	}
}
