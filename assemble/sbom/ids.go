package sbom

import (
	"cmp"
	"crypto/sha1"
	"fmt"
	"net/url"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	packageurl "github.com/package-url/packageurl-go"

	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/packages/apk"
)

// safeID replaces what SPDX identifiers may not hold by dashes.
func safeID(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '-'
	}, s)
}

// cairnNamespace is the UUID under which cairn derives names: version 5 of
// the DNS namespace and "cairn.dev".
var cairnNamespace = [16]byte{0x63, 0xc7, 0xf2, 0x07, 0x3b, 0x82, 0x5c, 0x7c, 0x8a, 0x24, 0xd4, 0x3a, 0xbf, 0x75, 0x54, 0xb5}

// uuid5 derives a version 5 UUID (RFC 9562) from parts. Each part is preceded
// by its length, so that different parts never read the same.
func uuid5(parts ...string) string {
	h := sha1.New()
	h.Write(cairnNamespace[:])
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	u := h.Sum(nil)[:16]
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// documentUUID names one document. Everything that makes two documents about
// the same image differ is part of it.
func (g *Graph) documentUUID(format string) string {
	in := &g.input
	parts := []string{format, "image", in.Image.Digest.String(), in.Image.Name, in.Author, in.ToolVersion, fmt.Sprint(in.OmitFiles, in.AllowUnreadable)}
	for _, s := range in.Sources {
		parts = append(parts, s.Name, s.SHA256.String())
	}
	for _, c := range g.Components {
		parts = append(parts, c.ID)
	}
	return uuid5(parts...)
}

func purl(typ, namespace, name, version string, qualifiers map[string]string) string {
	return packageurl.NewPackageURL(typ, namespace, name, version, packageurl.QualifiersFromMap(qualifiers), "").ToString()
}

// packagePURL is pkg:apk/<distro>/<name>@<version>; the qualifiers are those
// that scanners match by.
func packagePURL(p *apk.Package, s *system) string {
	q := map[string]string{"arch": p.Arch, "origin": p.SourceName()}
	if s.id != "" {
		q["distro"] = s.id
		if s.version != "" {
			q["distro"] += "-" + s.version
		}
	}
	for k, v := range q {
		if v == "" {
			delete(q, k)
		}
	}
	return purl("apk", s.id, p.Name, p.Version, q)
}

// imagePURL names an image.
func imagePURL(img *Image) string {
	return ociPURL(imageName(img, "image"), img.Digest, img.Arch.ToOCIPlatform().Architecture)
}

// ociPURL follows the oci type of the purl specification: the last part of the
// repository's name, the digest as version, the repository as qualifier.
func ociPURL(name string, digest v1.Hash, arch string) string {
	name = strings.ToLower(name)
	q := map[string]string{}
	if arch != "" {
		q["arch"] = arch
	}
	if strings.Contains(name, "/") {
		q["repository_url"] = name
	}
	return purl("oci", "", path.Base(name), digest.String(), q)
}

func layerPURL(img *Image, l *layer.Layer) string {
	q := map[string]string{"mediaType": string(cmp.Or(l.MediaType, types.OCILayer))}
	return purl("oci", "", path.Base(strings.ToLower(imageName(img, "layer"))), l.Digest.String(), q)
}

func sourcePURL(s Source) string {
	return purl("generic", "", s.Name, "", map[string]string{"checksum": s.SHA256.String()})
}

// redact takes user name and password out of a URL.
func redact(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	u.User = nil
	return u.String()
}

// webURL returns an http or https URL without credentials; anything else,
// which formats would refuse, becomes empty.
func webURL(s string) string {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	u.User = nil
	return u.String()
}
