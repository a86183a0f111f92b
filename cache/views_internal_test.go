package cache

import (
	"encoding/json"
	"testing"

	"github.com/mailfs/mailfs/cache/message"
	"github.com/mailfs/mailfs/remote"
)

func TestStoresOfOlderVersionsHoldWithTheNamesOfViews(t *testing.T) {
	part := &remote.Part{Number: "1.2"}
	for want, v := range map[string]view{
		"anatomy": structureView, "text": textView, "size of text": sizeView + textView,
		"headers":          PartFile{}.view(),
		"part 1.2":         PartFile{file: message.File{Part: part}}.view(),
		"size of body 1.2": sizeView + PartFile{file: message.File{Part: part, Body: true}}.view(),
	} {
		if string(v) != want {
			t.Errorf("a view is called %q, want %q", v, want)
		}
	}
	v, err := json.Marshal(&message.Structure{Root: &remote.Part{Number: "1", Type: "text/plain", Size: 5}, Header: []byte("a"), Parsed: true})
	want := `{"Root":{"Number":"1","Type":"text/plain","Params":null,"Encoding":"","Size":5,"Disposition":"",` +
		`"DispositionParams":null,"Subject":"","Parts":null},"Header":"YQ==","Whole":true}`
	if err != nil || string(v) != want {
		t.Errorf("a structure is %s, %v, want %s", v, err, want)
	}
}
