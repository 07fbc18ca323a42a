package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/target"
)

// The media types of what is collected.
const (
	mediaSimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	mediaDSSE          = "application/vnd.dsse.envelope.v1+json"
	mediaBundlePrefix  = "application/vnd.dev.sigstore.bundle"
)

// Collect reads everything attached to the subject. The error says that the
// source could not be read; what is attached and bad is a finding.
func Collect(ctx context.Context, src Source, subject v1.Hash, limits Limits) (*Set, error) {
	c := &collector{src: src, limits: limits.withDefaults(), set: &Set{Subject: subject}}
	for _, read := range []struct {
		where string
		from  func(context.Context) error
	}{
		{"tag .sig", func(ctx context.Context) error { return c.tagged(ctx, "sig") }},
		{"tag .att", func(ctx context.Context) error { return c.tagged(ctx, "att") }},
		{"referrers", c.referrers},
	} {
		// Each place has limits of its own, so that none can crowd out another.
		c.looked, c.bytes, c.left = 0, 0, 0
		if err := read.from(ctx); err != nil {
			return nil, err
		}
		if c.left > 0 {
			c.finding(read.where, fmt.Sprintf("too many: %d were not looked at, the limit is %d", c.left, c.limits.Items))
		}
	}
	return c.set, nil
}

type collector struct {
	src    Source
	limits Limits
	set    *Set
	looked int   // at layers or referrers of the place being read
	bytes  int64 // read there so far
	left   int   // there, not looked at because of the limit
}

func (c *collector) finding(where, problem string) {
	c.set.Findings = append(c.set.Findings, Finding{Where: where, Problem: problem})
}

// fatal tells errors of the connection, which end everything, from those of one
// piece of evidence.
func fatal(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, target.ErrUnreachable) {
		return err
	}
	return nil
}

// unlisted handles a place that cannot be listed: too long a list or a malformed
// one is a finding, like anything that somebody with push access can cause.
func (c *collector) unlisted(ctx context.Context, where string, err error) error {
	if err := fatal(ctx, err); err != nil {
		return fmt.Errorf("%s of %s: %w", where, c.set.Subject, err)
	}
	c.finding(where, "cannot be listed: "+err.Error())
	return nil
}

// tagged reads the manifest at cosign's tag for the subject.
func (c *collector) tagged(ctx context.Context, suffix string) error {
	tag := c.set.Subject.Algorithm + "-" + c.set.Subject.Hex + "." + suffix
	where := shortTag(c.set.Subject) + "." + suffix
	d, err := c.src.Tagged(ctx, tag)
	if errors.Is(err, target.ErrNotFound) {
		return nil
	}
	if err != nil {
		return c.unlisted(ctx, where, err)
	}
	return c.manifest(ctx, where, d, false)
}

func shortTag(h v1.Hash) string {
	return h.Algorithm + "-" + shortHex(h) + "…"
}

func shortHex(h v1.Hash) string { return h.Hex[:min(12, len(h.Hex))] }

// referrers reads what refers to the subject and may be evidence. Other
// referrers (SBOMs as plain artifacts, foreign signatures) are none.
func (c *collector) referrers(ctx context.Context) error {
	list, err := c.src.Referrers(ctx, c.set.Subject)
	if errors.Is(err, target.ErrNotFound) {
		return nil
	}
	if err != nil {
		return c.unlisted(ctx, "referrers", err)
	}
	for _, d := range list {
		if !maybeEvidence(d.ArtifactType) {
			continue
		}
		if c.looked >= c.limits.Items {
			c.left++
			continue
		}
		if err := c.manifest(ctx, "referrer "+d.Digest.Algorithm+":"+shortHex(d.Digest)+"…", d, true); err != nil {
			return err
		}
	}
	return nil
}

// maybeEvidence goes by the artifact type of a listing. Writers and registries
// that put the type of the empty configuration there are common, so such
// referrers are looked at too.
func maybeEvidence(artifactType string) bool {
	switch artifactType {
	case "", "application/vnd.oci.empty.v1+json", "application/vnd.oci.image.config.v1+json":
		return true
	}
	return strings.HasPrefix(artifactType, mediaBundlePrefix) || strings.HasPrefix(artifactType, "application/vnd.dev.cosign.")
}

// manifest reads one manifest and the layers of it that are evidence.
func (c *collector) manifest(ctx context.Context, where string, d v1.Descriptor, referrer bool) error {
	if referrer {
		c.looked++
	}
	raw, _, err := c.src.Manifest(ctx, d.Digest)
	if err != nil {
		if err := fatal(ctx, err); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		c.finding(where, "manifest cannot be read: "+err.Error())
		return nil
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		c.finding(where, "not a manifest: "+err.Error())
		return nil
	}
	if referrer && (m.Subject == nil || m.Subject.Digest != c.set.Subject) {
		c.finding(where, "its subject is "+subjectText(m.Subject)+", not this image")
		return nil
	}
	for i, layer := range m.Layers {
		if !isEvidence(string(layer.MediaType)) {
			continue
		}
		at := where
		if !referrer {
			at = fmt.Sprintf("%s layer %d", where, i+1)
		}
		if err := c.layer(ctx, Item{Where: at, Manifest: d.Digest}, layer, referrer && i == 0); err != nil {
			return err
		}
	}
	return nil
}

func subjectText(d *v1.Descriptor) string {
	if d == nil {
		return "missing"
	}
	return d.Digest.String()
}

func isEvidence(mediaType string) bool {
	return mediaType == mediaSimpleSigning || mediaType == mediaDSSE || strings.HasPrefix(mediaType, mediaBundlePrefix)
}

// layer reads one layer. A referrer's first layer was counted with it.
func (c *collector) layer(ctx context.Context, item Item, d v1.Descriptor, counted bool) error {
	if !counted {
		if c.looked >= c.limits.Items {
			c.left++
			return nil
		}
		c.looked++
	}
	if d.Size < 0 || d.Size > c.limits.ItemBytes || c.bytes+d.Size > c.limits.TotalBytes {
		c.finding(item.Where, fmt.Sprintf("too large: found %d bytes, expected at most %d, and %d for all together",
			d.Size, c.limits.ItemBytes, c.limits.TotalBytes))
		return nil
	}
	raw, err := c.src.Blob(ctx, d, c.limits.ItemBytes)
	if err != nil {
		if err := fatal(ctx, err); err != nil {
			return fmt.Errorf("%s: %w", item.Where, err)
		}
		c.finding(item.Where, "cannot be read: "+err.Error())
		return nil
	}
	c.bytes += int64(len(raw))
	if err := item.parse(string(d.MediaType), raw, d.Annotations); err != nil {
		c.finding(item.Where, err.Error())
		return nil
	}
	c.set.Items = append(c.set.Items, item)
	return nil
}

func (it *Item) parse(mediaType string, raw []byte, annotations map[string]string) (err error) {
	if strings.HasPrefix(mediaType, mediaBundlePrefix) {
		it.Format = FormatBundle
		it.Bundle, err = ParseBundle(raw)
		return err
	}
	it.Format = FormatLegacy
	it.Legacy, err = ParseLegacy(raw, mediaType == mediaDSSE, annotations)
	return err
}
