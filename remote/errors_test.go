package remote_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/mailfs/mailfs/remote"
)

func TestClassifyLeavesEveryErrorOfThePackageAsItIs(t *testing.T) {
	for _, kind := range remote.Errors() {
		err := fmt.Errorf("reading: %w", kind)
		if got := remote.Classify(err); got != err {
			t.Errorf("%v becomes %v", err, got)
		}
	}
}

func TestNoErrorOfThePackageIsAnother(t *testing.T) {
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
