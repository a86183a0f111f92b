package dial_test

import (
	"strings"
	"testing"

	"github.com/mailfs/mailfs/remote/dial"
)

func TestTheHostOfAURLIsAsDNSAndCertificatesHaveIt(t *testing.T) {
	for _, c := range []struct{ url, host, err string }{
		{"imaps://u@mail.example.org", "mail.example.org", ""},
		{"imaps://u@Bücher.example:1993", "xn--bcher-kva.example", ""},
		{"imaps://u@b%C3%BCcher.example", "xn--bcher-kva.example", ""},
		{"imap://u@my_server", "my_server", ""},
		{"imap://u@[::1]", "::1", ""},
		{"imaps://u@bü_cher", "", "no domain name"},
		{"imaps:u@mail.example.org", "", "SCHEME://USER@HOST"},
	} {
		s, err := dial.ParseURL(c.url)
		if s.Host != c.host || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: host %q (%v), want %q (%q)", c.url, s.Host, err, c.host, c.err)
		}
	}
}
