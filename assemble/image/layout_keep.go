package image

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// attached returns those entries of the index.json that was there which are
// attached to something in the new content: by a tag with its digest, as
// cosign's signatures are, or by naming it as their subject, as signatures, kits
// and other referrers do. What is attached to those is kept too. Of an artifact
// type that is written anew the old ones go.
func (w *layoutWriter) attached(c *content, index []v1.Descriptor) []v1.Descriptor {
	there, renewed := map[string]bool{}, map[string]bool{}
	for i := range c.blobs {
		there[c.blobs[i].digest.Hex] = true
	}
	for i := range index {
		there[index[i].Digest.Hex] = true
		renewed[index[i].ArtifactType] = true
	}
	var left []attachment
	for _, d := range w.old {
		if a, ok := w.attachment(d); ok && !there[d.Digest.Hex] {
			left = append(left, a)
		}
	}
	w.dropped = len(left)
	keep := map[string]bool{}
	for again := true; again; {
		again = false
		for _, a := range left {
			hex := a.entry.Digest.Hex
			if keep[hex] || !there[a.to] || a.entry.ArtifactType != "" && renewed[a.entry.ArtifactType] {
				continue
			}
			keep[hex], there[hex], again = true, true, true
		}
	}
	var out []v1.Descriptor
	for _, a := range left {
		if keep[a.entry.Digest.Hex] && !slices.ContainsFunc(out, func(d v1.Descriptor) bool { return sameEntry(&d, &a.entry) }) {
			out = append(out, a.entry)
			w.dropped--
		}
	}
	return out
}

// attachment is an entry of index.json that belongs to another manifest.
type attachment struct {
	entry v1.Descriptor
	to    string // the other one's digest, in hex
}

func (w *layoutWriter) attachment(d v1.Descriptor) (attachment, bool) {
	if tag := d.Annotations[annotationRefName]; AttachedTag(tag) {
		hex, _, _ := strings.Cut(strings.TrimPrefix(tag, "sha256-"), ".")
		return attachment{d, hex}, true
	}
	raw, err := readLimited(filepath.Join(w.dir, blobsDir, filepath.Base(d.Digest.Hex)), maxManifest)
	if err != nil {
		return attachment{}, false
	}
	var m struct {
		Subject *v1.Descriptor `json:"subject"`
	}
	if json.Unmarshal(raw, &m) != nil || m.Subject == nil {
		return attachment{}, false
	}
	return attachment{d, m.Subject.Digest.Hex}, true
}

// sameEntry tells entries of one manifest under one name.
func sameEntry(a, b *v1.Descriptor) bool {
	return a.Digest == b.Digest && a.Annotations[annotationRefName] == b.Annotations[annotationRefName]
}
