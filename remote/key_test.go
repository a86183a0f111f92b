package remote

import (
	"slices"
	"strings"
	"testing"
)

func TestTheKeyOfAUIDLLeadsBackToItsUID(t *testing.T) {
	for _, c := range []struct{ uidl, key string }{
		{"000000016561b2c4", "000000016561b2c4"},
		{"a", "a"},
		{"1700000000.M1P2.host", "1700000000.M1P2.host"},
		{"1700.M1P2,S=3", "1700.M1P2,S=3"},
		{"under_score", ""},
		{"sl/ash", ""},
		{"sp ace", ""},
		{"Ünicode", ""},
		{"0123456789ab", ""},               // would be taken for a hash
		{"0123456789AB", ""},               // likewise
		{"0123456789ag", "0123456789ag"},   // not hex
		{"0123456789abc", "0123456789abc"}, // 13 digits
		{strings.Repeat("x", 24), strings.Repeat("x", 24)},
		{strings.Repeat("x", 25), ""},
		{"", ""},
		{"twin\x002", ""},
	} {
		uid, key := KeyOfUIDL(c.uidl)
		if uid == 0 || uid>>48 != 0 {
			t.Errorf("%q: UID %x does not fit 48 bits", c.uidl, uid)
		}
		if c.key != "" && key != c.key {
			t.Errorf("%q: key %q, want %q", c.uidl, key, c.key)
		}
		if c.key == "" && !(len(key) == 12 && hashed(key)) {
			t.Errorf("%q: key %q, want 12 hex digits", c.uidl, key)
		}
		if !slices.Contains(UIDOfKey(key), uid) {
			t.Errorf("%q: key %q leads to %x, not to %x", c.uidl, key, UIDOfKey(key), uid)
		}
	}
}

func TestTheUIDOfAUIDLIsTheBeginningOfItsSHA256(t *testing.T) {
	// printf %s under_score | sha256sum
	uid, key := KeyOfUIDL("under_score")
	if key != "d8071166bbe6" || uid != 0xd8071166bbe6 {
		t.Errorf("got %x %q", uid, key)
	}
}

func TestAKeyLeadsToEveryUIDItMayStandFor(t *testing.T) {
	abc, _ := KeyOfUIDL("abc")
	long, _ := KeyOfUIDL("4711")
	for _, c := range []struct {
		key  string
		want []UID
	}{
		{"4711", []UID{4711, long}}, // IMAP, or a unique-id that is a number
		{"4294967296", []UID{func() UID { u, _ := KeyOfUIDL("4294967296"); return u }()}},
		{"abc", []UID{abc}},
		{"00000000002a", []UID{42}},
		{"000000000042", []UID{42, 0x42}},
		{"000000000000", nil},
		{"", nil},
		{"a_b", nil},
		{strings.Repeat("x", 25), nil},
	} {
		if got := UIDOfKey(c.key); !slices.Equal(got, c.want) {
			t.Errorf("%q: %v, want %v", c.key, got, c.want)
		}
	}
}
