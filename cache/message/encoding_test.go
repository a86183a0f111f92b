package message

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

func TestBrokenEncodingsAreDecodedAsFarAsPossible(t *testing.T) {
	data := []byte("any bytes: \x00\xff\xfe and so on, of a length that leaves a rest")
	for n := range data {
		code := base64.StdEncoding.EncodeToString(data[:n])
		for _, c := range []string{code, strings.TrimRight(code, "="), strings.Join(strings.Split(code, ""), "\r\n"), " " + code + "!"} {
			if got := decodeContent("base64", []byte(c)); !bytes.Equal(got, data[:n]) {
				t.Errorf("base64 %q is %q, want %q", c, got, data[:n])
			}
		}
	}
	for coded, want := range map[string]string{
		"a=20b=\r\nc": "a bc", "=3d=3D==": "===", "=ZZ=4": "=ZZ=4", "a=": "a", "line=\nend=0A": "lineend\n",
	} {
		if got := decodeContent("quoted-printable", []byte(coded)); string(got) != want {
			t.Errorf("quoted-printable %q is %q, want %q", coded, got, want)
		}
	}
	if got := decodeContent("unheard-of", data); !bytes.Equal(got, data) {
		t.Errorf("data in an unknown encoding became %q", got)
	}
}
