//go:build linux

package harness

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// fatal is a test that notes why it was ended in place of ending.
type fatal struct {
	testing.TB
	why string
}

func (f *fatal) Helper() {}

func (f *fatal) Fatalf(format string, args ...any) { f.why = fmt.Sprintf(format, args...) }

func TestCommandThatHangsIsKilledWithAllThatItHasStarted(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 1000 & echo $!; sleep 1001")
	var stdout Output
	cmd.Stdout = &stdout
	f := &fatal{TB: t}
	Finish(f, 2*time.Second, cmd)
	for _, want := range []string{"not done after 2s", "sleep 1000", "sleep 1001"} {
		if !strings.Contains(f.why, want) {
			t.Errorf("it fails with %q, nothing of %s", f.why, want)
		}
	}
	var background int
	if _, err := fmt.Sscan(stdout.String(), &background); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "what ran in the background ends", func() bool { return !Alive(background) })
}

func TestWhatACommandLeavesRunningIsKilled(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!")
	var stdout Output
	cmd.Stdout = &stdout
	if err := Finish(t, Patience, cmd); err != nil {
		t.Fatal(err)
	}
	var background int
	if _, err := fmt.Sscan(stdout.String(), &background); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "what ran in the background ends", func() bool { return !Alive(background) })
}
