package message

import (
	"testing"
)

func TestTheLinesOfAFlowedParagraphAreJoined(t *testing.T) {
	for flowed, want := range map[string]string{
		"a \nb\n":                   "a b\n",
		"> a \n> b\nc\n":            "> a b\nc\n",
		"> a \n>> b\n":              "> a \n>> b\n",
		"text \n-- \nJ\n":           "text \n-- \nJ\n",
		" From stuffed\n >no quote": "From stuffed\n>no quote\n",
	} {
		if got := unflow(flowed, false); got != want {
			t.Errorf("%q is %q, want %q", flowed, got, want)
		}
	}
	if got := unflow("日 \n本\n", true); got != "日本\n" {
		t.Errorf("DelSp: %q", got)
	}
}
