package imap

import (
	"errors"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailfs/mailfs/remote"
)

// compress is the capability of RFC 4978.
const compress = goimap.Cap("COMPRESS=DEFLATE")

// compress begins compression on a connection on which no command is under way and none begins meanwhile. A server that
// refuses goes on without.
func (s *session) compress() error {
	err := s.conn.Compress()
	if err == nil || errors.Is(err, remote.ErrServer) {
		return err
	}
	return s.fault(err)
}
