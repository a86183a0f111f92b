package dial

import (
	"fmt"
	"testing"

	"github.com/mailfs/mailfs/remote"
)

func TestClassifyLeavesEveryErrorOfRemoteAsItIs(t *testing.T) {
	for _, kind := range remote.Errors() {
		err := fmt.Errorf("reading: %w", kind)
		if got := Classify(err); got != err {
			t.Errorf("%v becomes %v", err, got)
		}
	}
}
