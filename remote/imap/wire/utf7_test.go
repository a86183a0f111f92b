package wire

import "testing"

func TestModifiedUTF7IsReadAndWrittenAsRFC3501SaysIt(t *testing.T) {
	for decoded, encoded := range map[string]string{
		"INBOX": "INBOX", "Entwürfe": "Entw&APw-rfe", "R&D": "R&-D", "台北": "&U,BTFw-",
		"~peter/mail/台北/日本語": "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
		"😀":                  "&2D3eAA-", "": "", "&&": "&-&-", "a\tb": "a&AAk-b",
	} {
		if got := encode(decoded); got != encoded {
			t.Errorf("%q is encoded as %q, want %q", decoded, got, encoded)
		}
		if got, ok := Decode(encoded); !ok || got != decoded {
			t.Errorf("%q is decoded as %q, %v", encoded, got, ok)
		}
	}
	for _, bad := range []string{"R&D", "&", "&!-", "&AOQ", "\xff", "&AO-"} {
		if got, ok := Decode(bad); ok {
			t.Errorf("%q is decoded as %q", bad, got)
		}
	}
}
