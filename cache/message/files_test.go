package message

import (
	"fmt"
	"testing"

	"github.com/mailfs/mailfs/remote"
)

// The number of files is the largest possible one: a quadratic time would be noticed.
func TestManyEqualNamesAreMadeUnique(t *testing.T) {
	root := &remote.Part{Type: "multipart/mixed"}
	for range remote.MaxParts - 1 {
		root.Parts = append(root.Parts, &remote.Part{Type: "application/pdf", Disposition: "attachment",
			DispositionParams: map[string]string{"filename": "a.pdf"}})
	}
	if err := root.Enumerate(); err != nil {
		t.Fatal(err)
	}
	files := Files(root)
	if len(files) != remote.MaxParts {
		t.Fatalf("%d files, want %d", len(files), remote.MaxParts)
	}
	if last := files[len(files)-1].Name; last != fmt.Sprintf("a-%d.pdf", remote.MaxParts-1) {
		t.Errorf("the last is called %s", last)
	}
}
