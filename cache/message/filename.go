package message

import (
	"fmt"
	"path"
	"strings"

	"github.com/mailfs/mailfs/remote"
)

// fileName returns the file name that a part has in its header (RFC 2183, section 2.3), decoded; "" if it has none.
func fileName(p *remote.Part) string {
	if name := decodeParameter(p.DispositionParams, "filename"); name != "" {
		return name
	}
	return decodeParameter(p.Params, "name")
}

// extensions are for the names of parts without a name of their own, by media type.
var extensions = map[string]string{
	"text/plain": ".txt", "text/html": ".html", "text/csv": ".csv", "text/calendar": ".ics", "text/vcard": ".vcf",
	"text/x-patch": ".patch", "text/x-diff": ".diff", "text/xml": ".xml", "text/rtf": ".rtf", "text/markdown": ".md",
	"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp", "image/svg+xml": ".svg",
	"image/tiff": ".tiff", "image/heic": ".heic", "image/bmp": ".bmp", "audio/mpeg": ".mp3", "audio/wav": ".wav",
	"audio/ogg": ".ogg", "video/mp4": ".mp4", "video/quicktime": ".mov", "application/pdf": ".pdf",
	"application/zip": ".zip", "application/gzip": ".gz", "application/json": ".json", "application/xml": ".xml",
	"application/rtf": ".rtf", "application/msword": ".doc", "application/ics": ".ics",
	"application/pgp-signature": ".asc", "application/pgp-encrypted": ".txt", "application/pkcs7-signature": ".p7s",
	"application/x-pkcs7-signature": ".p7s", "application/pkcs7-mime": ".p7m", "application/ms-tnef": ".dat",
	"message/rfc822": ".eml", "message/global": ".eml", "message/delivery-status": ".txt",
	"message/disposition-notification": ".txt",
}

// maxExtension is the longest extension, in bytes with its dot, that is kept when a name is cut.
const maxExtension = 16

// safeName makes a name fit for a file by the rules for the names of messages; "" if nothing is left. The result does not
// begin with "." or "-", so that the file is not hidden and does not look like an option.
func safeName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:] // some mail programs write whole paths
	ext := path.Ext(name)
	if len(ext) > maxExtension || ext == name {
		ext = ""
	}
	base := component(strings.TrimSuffix(name, ext), "", maxName-maxExtension)
	if ext != "" {
		ext = component(ext, "", maxExtension)
	}
	if strings.Trim(base, "-.") == "" && strings.Trim(ext, "-.") == "" {
		return ""
	}
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "-") || base == "" {
		base = "file" + base
	}
	return base + ext
}

// names makes the names of the files in one directory unique.
type names struct {
	next map[string]int // by name in lower case: the number for the next file of that name; 0 before the first
}

// unique returns the wished name, or where a file has it already, in any case of letters, the name with a number.
func (n *names) unique(wish string) string {
	if n.next == nil {
		n.next = map[string]int{}
	}
	key := strings.ToLower(wish)
	if n.next[key] == 0 {
		n.next[key] = 2
		return wish
	}
	ext := path.Ext(wish)
	for {
		name := fmt.Sprintf("%s-%d%s", strings.TrimSuffix(wish, ext), n.next[key], ext)
		n.next[key]++
		if lower := strings.ToLower(name); n.next[lower] == 0 {
			n.next[lower] = 2
			return name
		}
	}
}
