package imap

import (
	"errors"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailfs/mailfs/remote"
)

// compress is the capability of RFC 4978.
const compress = goimap.Cap("COMPRESS=DEFLATE")

// compression is how far compression is on a session. It moves by events only:
//
//	state       the line is slow   nobody uses it   server says OK   server refuses, or no answer
//	notOffered  -                  -                -                -
//	off         draining           -                -                -
//	draining    -                  starting         -                -
//	starting    -                  -                on               refused
//	on          -                  -                -                -
//	refused     -                  -                -                -
//
// So COMPRESS is sent at most once on a connection, and only while no other command is under way.
type compression uint8

const (
	compressNotOffered compression = iota // the server has no COMPRESS
	compressOff                           // the line has not been seen to be slow
	compressDraining                      // COMPRESS is sent as soon as nobody uses the session
	compressStarting                      // COMPRESS has been sent
	compressOn
	compressRefused // the server would not, or the connection ended
)

// compressionEvent is what moves a compression from one state to the next.
type compressionEvent uint8

const (
	lineIsSlow compressionEvent = iota
	nobodyUsesIt
	compressAccepted
	compressFailed
)

// after returns the state that follows an event.
func (c compression) after(e compressionEvent) compression {
	switch {
	case c == compressOff && e == lineIsSlow:
		return compressDraining
	case c == compressDraining && e == nobodyUsesIt:
		return compressStarting
	case c == compressStarting && e == compressAccepted:
		return compressOn
	case c == compressStarting && e == compressFailed:
		return compressRefused
	default:
		return c
	}
}

// mayUse tells whether the session may be given to requests: not from the decision to compress until COMPRESS is answered.
func (c compression) mayUse() bool { return c != compressDraining && c != compressStarting }

// wasTried tells whether COMPRESS has been answered.
func (c compression) wasTried() bool { return c == compressOn || c == compressRefused }

// slowLine has the connections compressed, since a session has turned out to be slow: by its own pace where it fetches
// bodies, or far says that the server is not nearby. rate is what the line carries, in bytes a second.
func (p *pool) slowLine(s *session, far bool, rate float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slow || p.closed || !far && s.usage.lane == listing {
		return
	}
	p.slow, p.lineRate = true, rate
	for _, s := range p.sessions {
		p.compressLocked(s)
	}
}

// compressLocked has compression begin on a session if it should: at once, or when its users are gone.
func (p *pool) compressLocked(s *session) {
	u := &s.usage
	if p.slow {
		u.compression = u.compression.after(lineIsSlow)
	}
	if u.compression == compressDraining && u.users == 0 && !p.closed {
		u.compression = u.compression.after(nobodyUsesIt)
		p.startCompressionLocked(s)
	}
}

// startCompressionLocked sends COMPRESS, from a goroutine of its own, on a session that nobody uses.
func (p *pool) startCompressionLocked(s *session) {
	if s.usage.idle != nil {
		s.usage.idle.Stop()
		s.usage.idle = nil
	}
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		s.conn.Begin()
		err := s.compress()
		s.conn.Done()
		p.log.Debug("the line is slow: compression was asked for", "error", err)
		event := compressAccepted
		if err != nil {
			event = compressFailed
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		s.usage.compression = s.usage.compression.after(event)
		p.unusedLocked(s)
		p.scheduleLocked()
	}()
}

// compress sends COMPRESS and waits for the answer. A server that refuses goes on without compression.
func (s *session) compress() error {
	err := s.conn.Compress()
	if err == nil || errors.Is(err, remote.ErrServer) {
		return err
	}
	return s.fault(err)
}
