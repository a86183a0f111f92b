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

// extensionOf returns the extension for the name of a part without a name of its own. It follows from the media type alone: a
// name is the same on every machine, and package mime reads tables of the machine.
func extensionOf(mediaType string) string {
	if ext := extensions[mediaType]; ext != "" {
		return ext
	}
	kind, subtype, _ := strings.Cut(mediaType, "/")
	for _, suffix := range []string{"+xml", "+json", "+zip", "+yaml"} { // RFC 6839
		if strings.HasSuffix(subtype, suffix) {
			return "." + suffix[1:]
		}
	}
	subtype = strings.TrimPrefix(subtype, "x-")
	plain := subtype != "" && strings.IndexFunc(subtype, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) < 0
	switch {
	case kind == "text" || kind == "message":
		return ".txt"
	case plain && len(subtype) <= 4 && (kind == "image" || kind == "audio" || kind == "video" || kind == "font" || kind == "model"):
		return "." + subtype
	default:
		return ".bin"
	}
}

// extensions are the extensions of files by media type: those that are seen in mail, and that do not follow from the type.
var extensions = func() map[string]string {
	m := map[string]string{}
	for kind, subtypes := range extensionTable {
		for pair := range strings.SplitSeq(subtypes, ",") {
			if fields := strings.Fields(pair); len(fields) == 2 {
				m[kind+"/"+fields[0]] = fields[1]
			}
		}
	}
	return m
}()

// extensionTable has subtypes and extensions by the type before the slash.
var extensionTable = map[string]string{
	"text": `plain .txt, html .html, csv .csv, calendar .ics, vcard .vcf, x-vcard .vcf, directory .vcf, x-patch .patch,
		x-diff .diff, xml .xml, rtf .rtf, richtext .rtx, enriched .txt, markdown .md, css .css, javascript .js,
		tab-separated-values .tsv, x-c .c, x-python .py, x-shellscript .sh, x-log .log, x-tex .tex, x-amp-html .html,
		watch-html .html, rfc822-headers .txt, troff .txt, x-vcalendar .vcs`,
	"image": `jpeg .jpg, jpg .jpg, pjpeg .jpg, png .png, x-png .png, gif .gif, webp .webp, svg+xml .svg, tiff .tiff, heic .heic,
		heif .heif, avif .avif, bmp .bmp, x-ms-bmp .bmp, x-icon .ico, vnd.microsoft.icon .ico, jp2 .jp2, x-pcx .pcx,
		g3fax .g3, vnd.djvu .djvu, vnd.adobe.photoshop .psd, x-wmf .wmf, x-emf .emf, vnd.dwg .dwg, x-xbitmap .xbm,
		x-portable-pixmap .ppm, x-xpixmap .xpm`,
	"audio": `mpeg .mp3, mp3 .mp3, wav .wav, x-wav .wav, vnd.wave .wav, ogg .ogg, opus .opus, mp4 .m4a, x-m4a .m4a, aac .aac,
		flac .flac, midi .mid, basic .au, amr .amr, 3gpp .3gp, x-aiff .aiff, aiff .aiff, webm .weba, x-ms-wma .wma,
		l16 .l16`,
	"video": `mp4 .mp4, quicktime .mov, mpeg .mpg, webm .webm, ogg .ogv, 3gpp .3gp, 3gpp2 .3g2, x-msvideo .avi, avi .avi,
		x-ms-wmv .wmv, x-flv .flv, x-matroska .mkv, x-m4v .m4v, mp2t .ts`,
	"application": `pdf .pdf, x-pdf .pdf, zip .zip, x-zip-compressed .zip, x-zip .zip, gzip .gz, x-gzip .gz, x-bzip2 .bz2, x-xz .xz,
		zstd .zst, x-tar .tar, x-gtar .tar, x-compressed-tar .tgz, x-gzip-compressed .gz, x-7z-compressed .7z,
		vnd.rar .rar, x-rar-compressed .rar, x-rar .rar, java-archive .jar, json .json, ld+json .json, xml .xml, rtf .rtf,
		msword .doc, ics .ics, javascript .js, x-javascript .js, x-sh .sh, x-shellscript .sh, x-perl .pl,
		x-python-code .pyc, sql .sql, x-sql .sql, postscript .ps, eps .eps, x-dvi .dvi, x-tex .tex, x-latex .tex,
		x-bibtex .bib, vnd.ms-excel .xls, vnd.ms-powerpoint .ppt, vnd.ms-outlook .msg, vnd.ms-project .mpp,
		vnd.visio .vsd, x-msaccess .mdb, vnd.ms-access .mdb, vnd.ms-word.document.macroenabled.12 .docm,
		vnd.ms-excel.sheet.macroenabled.12 .xlsm, vnd.ms-xpsdocument .xps, oxps .oxps,
		vnd.openxmlformats-officedocument.wordprocessingml.document .docx,
		vnd.openxmlformats-officedocument.wordprocessingml.template .dotx,
		vnd.openxmlformats-officedocument.spreadsheetml.sheet .xlsx,
		vnd.openxmlformats-officedocument.presentationml.presentation .pptx,
		vnd.openxmlformats-officedocument.presentationml.slideshow .ppsx, vnd.oasis.opendocument.text .odt,
		vnd.oasis.opendocument.spreadsheet .ods, vnd.oasis.opendocument.presentation .odp,
		vnd.oasis.opendocument.graphics .odg, vnd.apple.pages .pages, vnd.apple.numbers .numbers, vnd.apple.keynote .key,
		vnd.apple.pkpass .pkpass, vnd.google-earth.kml+xml .kml, vnd.google-earth.kmz .kmz, epub+zip .epub,
		x-mobipocket-ebook .mobi, gpx+xml .gpx, geo+json .geojson, pgp-signature .asc, pgp-encrypted .txt, pgp-keys .asc,
		pgp .asc, pkcs7-signature .p7s, x-pkcs7-signature .p7s, pkcs7-mime .p7m, x-pkcs7-mime .p7m, pkcs10 .p10,
		x-pkcs12 .p12, pkix-cert .cer, x-x509-ca-cert .crt, x-x509-user-cert .crt, pkix-crl .crl, x-pem-file .pem,
		ms-tnef .dat, vnd.ms-tnef .dat, mac-binhex40 .hqx, applefile .bin, x-stuffit .sit, x-shockwave-flash .swf,
		x-iso9660-image .iso, x-msdownload .exe, x-ms-dos-executable .exe, vnd.android.package-archive .apk,
		x-debian-package .deb, vnd.debian.binary-package .deb, x-rpm .rpm, x-apple-diskimage .dmg, mbox .mbox,
		vnd.tcpdump.pcap .pcap, smil .smil, x-troff .txt, x-empty .txt, yaml .yaml, x-yaml .yaml, toml .toml,
		xhtml+xml .xhtml, rss+xml .rss, atom+xml .atom, wasm .wasm, emergencycalldata.comment+xml .xml,
		vnd.wolfram.mathematica .nb, x-subrip .srt, x-bittorrent .torrent`,
	"message":  `rfc822 .eml, global .eml, news .eml`,
	"font":     `ttf .ttf, otf .otf, woff .woff, woff2 .woff2`,
	"model":    `stl .stl, obj .obj, gltf+json .gltf, gltf-binary .glb, step .step`,
	"chemical": `x-pdb .pdb`,
	"drawing":  `dwf .dwf`,
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
