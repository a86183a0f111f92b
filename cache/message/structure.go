package message

import "github.com/mailfs/mailfs/remote"

// Structure says which parts a message has. Stores have it as JSON.
type Structure struct {
	Root   *remote.Part
	Header []byte // as remote.Message.Header
	// Parsed: mailfs found the parts in the message, which was in memory or on disk, or of which the server told no parts or
	// parts that it can't have. Sections of the message are then not asked for.
	Parsed bool `json:"Whole"` // stores have it under this older name

	Message *Parsed `json:"-"` // what the message was parsed to; nil if it was not
}

// ParseStructure finds the structure of a message in its bytes. remote.ErrTooComplex, as Parse.
func ParseStructure(body []byte) (*Structure, error) {
	parsed, err := Parse(body)
	if err != nil {
		return nil, err
	}
	return &Structure{Root: parsed.Root, Header: parsed.Header(), Parsed: true, Message: parsed}, nil
}

// Unsplit tells whether the contents of sections show that the structure is wrong.
func (s *Structure) Unsplit(contents map[remote.Section][]byte) bool {
	for section, content := range contents {
		if section.Aspect == remote.Content && Unsplit(s.Root, section.Number, content) {
			return true
		}
	}
	return false
}

// SectionOf returns a section of the message with these bytes. remote.ErrTooComplex, as Parse.
func SectionOf(body []byte, s remote.Section) ([]byte, error) {
	parsed, err := Parse(body)
	if err != nil {
		return nil, err
	}
	return parsed.Section(s), nil
}
