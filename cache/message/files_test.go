package message

import (
	"fmt"
	"testing"

	"github.com/mailfs/mailfs/remote"
)

// The number of files is the largest possible one: a quadratic time would be noticed.
func TestManyEqualNamesAreMadeUnique(t *testing.T) {
	root := &remote.Part{Type: "multipart/mixed"}
	for range remote.MaxParts - 1 {
		root.Parts = append(root.Parts, &remote.Part{Type: "application/pdf", Disposition: "attachment",
			DispositionParams: map[string]string{"filename": "a.pdf"}})
	}
	if err := root.Enumerate(); err != nil {
		t.Fatal(err)
	}
	files := Files(root)
	if len(files) != remote.MaxParts {
		t.Fatalf("%d files, want %d", len(files), remote.MaxParts)
	}
	if last := files[len(files)-1].Name; last != fmt.Sprintf("a-%d.pdf", remote.MaxParts-1) {
		t.Errorf("the last is called %s", last)
	}
}

func TestAPartWithoutANameHasTheExtensionOfItsType(t *testing.T) {
	for mediaType, want := range map[string]string{
		"application/postscript": ".ps", "application/pdf": ".pdf", "image/jpeg": ".jpg", "image/avif": ".avif", "image/x-foo": ".foo",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx", "application/octet-stream": ".bin",
		"application/x-unheard-of": ".bin", "application/foo": ".bin", "text/x-unheard-of": ".txt", "text/enriched": ".txt", "message/partial": ".txt",
		"message/feedback-report": ".txt", "application/foo+xml": ".xml", "application/vnd.foo+json": ".json", "video/x-msvideo": ".avi",
		"audio/x-wav": ".wav", "image/../x": ".bin", "image/": ".bin", "": ".bin", "x": ".bin", "application/zip": ".zip", "message/rfc822": ".eml",
		"image/vnd.fastbidsheet": ".bin", "message/delivery-status": ".txt",
		// These were in the table of the first version.
		"application/rtf": ".rtf", "application/ms-tnef": ".dat", "application/pgp-encrypted": ".txt", "text/x-diff": ".diff",
		"application/pkcs7-mime": ".p7m", "application/x-pkcs7-signature": ".p7s", "image/tiff": ".tiff", "video/quicktime": ".mov",
	} {
		root := &remote.Part{Type: mediaType, Disposition: "attachment"}
		if err := root.Enumerate(); err != nil {
			t.Fatal(err)
		}
		if name := Files(root)[1].Name; name != "part-1"+want {
			t.Errorf("%s: %s, want %s", mediaType, name, want)
		}
	}
}
