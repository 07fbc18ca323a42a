package vex

import (
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func vexOf(statements ...string) Statements {
	doc := fmt.Sprintf(`{"timestamp": "2026-01-01T00:00:00Z", "statements": [%s]}`, strings.Join(statements, ", "))
	return Parse([]byte(doc))
}

// A statement excuses a finding only where it is about the image, or about the
// package that the finding is in.
func TestVEXProducts(t *testing.T) {
	hex := strings.Repeat("ab", 32)
	other := strings.Repeat("cd", 32)
	image := Image{"ghcr.io/acme/app", []v1.Hash{{Algorithm: "sha256", Hex: strings.Repeat("12", 32)}, {Algorithm: "sha256", Hex: hex}}}
	f := Finding{[]string{"CVE-1"}, "pkg:apk/wolfi/openssl@3.0.8-r0?arch=x86_64"}
	for _, c := range []struct {
		name, statement string
		want            bool
	}{
		{"no products", `{"vulnerability": {"name": "CVE-1"}, "status": "not_affected"}`, true},
		{"an alias", `{"vulnerability": {"name": "GHSA-1", "aliases": ["CVE-1"]}, "status": "fixed"}`, true},
		{"another vulnerability", `{"vulnerability": {"name": "CVE-2"}, "status": "not_affected"}`, false},
		{"under investigation", `{"vulnerability": {"name": "CVE-1"}, "status": "under_investigation"}`, false},
		{"the image by its hash", `{"vulnerability": {"name": "CVE-1"}, "status": "not_affected", "products": [{"@id": "x", "hashes": {"sha-256": "` + strings.ToUpper(hex) + `"}}]}`, true},
		{"another image by its hash", `{"vulnerability": {"name": "CVE-1"}, "status": "not_affected", "products": [{"@id": "x", "hashes": {"sha-256": "` + other + `"}}]}`, false},
		{"the image by its package URL", `{"vulnerability": "CVE-1", "status": "not_affected", "products": ["pkg:oci/app@sha256%3A` + hex + `"]}`, true},
		{"the image by its reference", `{"vulnerability": "CVE-1", "status": "not_affected", "products": ["ghcr.io/acme/app@sha256:` + hex + `"]}`, true},
		{"another image by its package URL", `{"vulnerability": "CVE-1", "status": "not_affected", "products": ["pkg:oci/app@sha256%3A` + other + `"]}`, false},
		{"every version of the image", `{"vulnerability": {"name": "CVE-1"}, "status": "fixed", "products": [{"identifiers": {"purl": "pkg:oci/app?repository_url=ghcr.io/acme/app"}}]}`, true},
		{"every version of another image", `{"vulnerability": {"name": "CVE-1"}, "status": "fixed", "products": [{"identifiers": {"purl": "pkg:oci/app?repository_url=ghcr.io/evil/app"}}]}`, false},
		{"an image without a repository", `{"vulnerability": {"name": "CVE-1"}, "status": "fixed", "products": [{"@id": "pkg:oci/app"}]}`, false},
		{"the package", `{"vulnerability": {"name": "CVE-1"}, "status": "not_affected", "products": [{"@id": "pkg:apk/wolfi/openssl"}]}`, true},
		{"the package's version", `{"vulnerability": {"name": "CVE-1"}, "status": "fixed", "products": [{"@id": "pkg:apk/wolfi/openssl@3.0.8-r0"}]}`, true},
		{"another version", `{"vulnerability": {"name": "CVE-1"}, "status": "fixed", "products": [{"@id": "pkg:apk/wolfi/openssl@3.0.9-r0"}]}`, false},
		{"another package", `{"vulnerability": {"name": "CVE-1"}, "status": "not_affected", "products": [{"@id": "pkg:apk/wolfi/zlib"}]}`, false},
		{"the package in the image", `{"vulnerability": {"name": "CVE-1"}, "status": "not_affected", "products": [{"@id": "pkg:oci/app@sha256:` + hex + `", "subcomponents": [{"@id": "pkg:apk/wolfi/openssl"}]}]}`, true},
		{"another package in the image", `{"vulnerability": {"name": "CVE-1"}, "status": "not_affected", "products": [{"@id": "pkg:oci/app@sha256:` + hex + `", "subcomponents": [{"@id": "pkg:apk/wolfi/zlib"}]}]}`, false},
		{"another package, in the first version", `{"vulnerability": "CVE-1", "status": "not_affected", "products": ["pkg:oci/app@sha256:` + hex + `"], "subcomponents": ["pkg:apk/wolfi/zlib"]}`, false},
		{"one of several", `{"vulnerability": "CVE-1", "status": "not_affected", "products": ["pkg:apk/wolfi/zlib", "pkg:apk/wolfi/openssl"]}`, true},
		{"products of another shape", `{"vulnerability": "CVE-1", "status": "not_affected", "products": [7]}`, false},
	} {
		if got := vexOf(c.statement).Excuse(f, image) != nil; got != c.want {
			t.Errorf("%s: found %v", c.name, got)
		}
	}
	known := `{"vulnerability": "CVE-1", "status": "not_affected", "products": ["pkg:apk/wolfi/openssl"]}`
	if vexOf(known).Excuse(Finding{[]string{"CVE-1"}, ""}, image) != nil {
		t.Error("a scan that does not say what has the finding is excused")
	}
}

// The latest statement that is about the finding decides, whatever its place and
// however its time is written.
func TestLatestVEXStatementDecides(t *testing.T) {
	f := Finding{[]string{"CVE-1"}, "pkg:apk/wolfi/openssl@3.0.8-r0"}
	affected := `{"vulnerability": "CVE-1", "status": "affected", "timestamp": "2026-02-01T00:00:00+09:00"}`
	earlier := `{"vulnerability": "CVE-1", "status": "not_affected", "timestamp": "2026-01-31T12:00:00Z"}`
	later := `{"vulnerability": "CVE-1", "status": "not_affected", "timestamp": "2026-01-31T16:00:00Z"}`
	elsewhere := `{"vulnerability": "CVE-1", "status": "affected", "timestamp": "2026-03-01T00:00:00Z", "products": ["pkg:apk/wolfi/zlib"]}`
	for _, c := range []struct {
		list []string
		want bool
	}{
		{[]string{affected, earlier}, false}, {[]string{earlier, affected}, false},
		{[]string{later, affected}, true}, {[]string{later, elsewhere}, true}, {nil, false},
	} {
		if got := vexOf(c.list...).Excuse(f, Image{}) != nil; got != c.want {
			t.Errorf("%v: found %v", c.list, got)
		}
	}
}

func FuzzVEX(f *testing.F) {
	f.Add(`{"timestamp": "2026-01-01T00:00:00Z", "statements": [{"vulnerability": {"name": "CVE-1"}, "status": "fixed", "products": [{"@id": "pkg:apk/wolfi/openssl"}]}]}`)
	f.Add(`{"statements": [{"vulnerability": "CVE-1", "products": ["x"], "subcomponents": [1]}]}`)
	f.Fuzz(func(t *testing.T, doc string) {
		list := Parse([]byte(doc))
		if list.Excuse(Finding{[]string{"CVE-unheard-of"}, "pkg:apk/wolfi/openssl@1"}, Image{}) != nil && !strings.Contains(strings.ToLower(doc), "unheard") && !strings.Contains(doc, `\u`) {
			t.Errorf("excused by %s", doc)
		}
	})
}
