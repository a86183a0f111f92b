package message

import (
	"strings"
	"testing"
)

func TestHTMLBecomesLinesOfText(t *testing.T) {
	for document, want := range map[string]string{
		"<p>a</p><p>b":                                "a\n\nb\n",
		"one<br>two<br/><br>three":                    "one\ntwo\n\nthree\n",
		"<td>a</td><td>b</td>":                        "a b\n",
		"spa<b>ced</b>   out &amp; &eacute;&nbsp;x":   "spaced out & é x\n",
		"<script>no</script><style>no</style>yes":     "yes\n",
		"<a href='https://x.org/'>https://x.org/</a>": "https://x.org/\n",
		"<a href='javascript:x'>no</a>":               "no\n",
		"<pre> as  it\n is</pre>":                     " as  it\n is\n",
		"a < b <!-- no --> c":                         "a < b c\n",
		"<img alt='a picture'>":                       "a picture\n",
	} {
		if got := textOfHTML(document); got != want {
			t.Errorf("%s is %q, want %q", document, got, want)
		}
	}
	// This takes longer than a test may where the time for an element grows with the number of elements around it.
	if got := textOfHTML(strings.Repeat("<div><b>", 500_000) + "deep"); got != "deep\n" {
		t.Errorf("in a million elements: %.50q", got)
	}
}
