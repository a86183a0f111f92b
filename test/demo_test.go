package test

import (
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailfs/mailfs/test/harness"
)

// demoLimit is how long a demo may take with its servers and its mail, on a busy machine.
const demoLimit = 3 * time.Minute

func TestDemoRunsACommandAndLeavesNothing(t *testing.T) {
	t.Parallel()
	point := run.TempDir(t)
	env := []string{"TMPDIR=" + run.TempDir(t)}
	for _, try := range []struct {
		script string
		code   int
	}{
		{`true`, 0}, {`exit 7`, 7}, {`kill -TERM $$`, 128 + 15},
	} {
		args := []string{"demo", point, "--", "sh", "-c", try.script}
		res := run.Run(t, harness.Command{Args: args, Env: env, Limit: demoLimit})
		if res.Code != try.code {
			t.Errorf("%s: exit status %d, want %d\n%s", try.script, res.Code, try.code, res.Stderr)
		}
		if harness.Mounted(point) != 0 {
			t.Errorf("%s: the demo has left its mount", try.script)
		}
	}
	res := run.Run(t, harness.Command{Args: []string{"demo", "--", "sh", "-euc", `
		pwd; ls
		ls pop
		find imap -name '*.eml' | wc -l
		find pop -name '*.eml' | wc -l
		find imap -mindepth 2 -type d | wc -l
		ls imap/INBOX | cut -c -4 | sort -u | wc -l
		find . -type f -printf '%s\n' | awk '{ n += $1 } END { print n }'
		find . -type f -exec cat {} + | wc -c
	`}, Env: env, Limit: demoLimit})
	lines := strings.Split(strings.TrimSpace(res.Stdout), "\n")
	if res.Code != 0 || len(lines) != 10 {
		t.Fatalf("exit status %d\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
	if got := strings.Join(lines[1:4], " "); got != "imap pop INBOX" {
		t.Errorf("the demo holds %s", got)
	}
	if harness.Mounted(lines[0]) != 0 {
		t.Errorf("the demo has left its mount at %s", lines[0])
	}
	if len(lines[4]) < 3 || lines[4] < "200" || lines[5] == "0" || lines[6] == "0" || lines[7] == "1" {
		t.Errorf("the demo's mail: %q", lines[4:])
	}
	if lines[8] != lines[9] {
		t.Errorf("sizes add up to %s, the bytes are %s", lines[8], lines[9])
	}
	harness.Eventually(t, "the demo removes its directory", func() bool {
		return len(names(strings.TrimPrefix(env[0], "TMPDIR="))) == 0
	})
}

func TestDemoRunsUntilASignal(t *testing.T) {
	t.Parallel()
	proposal := regexp.MustCompile(`(?m)^\s*\$? ?(ls|grep|cp|find|cat|tar|rsync)\b.*$`)
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		point := run.TempDir(t)
		cmd, stdout, stderr := run.Start(t, harness.Command{Args: []string{"demo", point}})
		harness.Eventually(t, "the demo says where it is", func() bool {
			return strings.Count(stdout.String(), point) > 0 && len(names(filepath.Join(point, "imap", "INBOX"))) > 0
		})
		if n := len(proposal.FindAllString(stdout.String(), -1)); n < 3 {
			t.Errorf("it proposes %d commands to try: %s", n, stdout)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		if strings.Contains(stdout.String()+stderr.String(), "goroutine") {
			t.Errorf("after %v it says %s%s", signal, stdout, stderr)
		}
		harness.Eventually(t, "the demo unmounts", func() bool { return harness.Mounted(point) == 0 })
	}
}
