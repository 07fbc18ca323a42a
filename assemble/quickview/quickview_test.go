package quickview

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/advisory"
)

const feed = `{"urlprefix": "https://packages.wolfi.dev", "reponame": "os", "packages": [
	{"pkg": {"name": "openssl", "secfixes": {"3.1-r0": ["CVE-2026-1"], "3.2-r0": ["CVE-2026-2"]}}},
	{"pkg": {"name": "zlib", "secfixes": {"1.3-r0": ["CVE-2026-3"]}}}]}`

func feeds(t testing.TB) advisory.Feeds {
	t.Helper()
	name := filepath.Join(t.TempDir(), "feed.json")
	if err := os.WriteFile(name, []byte(feed), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := advisory.Open(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return advisory.Feeds{f}
}

func inventory(distro string, packages ...string) *Inventory {
	inv := &Inventory{Name: "image", Distro: distro, Unowned: -1}
	for _, p := range packages {
		name, version, _ := strings.Cut(p, "=")
		name, origin, _ := strings.Cut(name, "<")
		inv.Packages = append(inv.Packages, advisory.Package{Name: name, Version: version, Origin: origin, Arch: "x86_64"})
	}
	return inv
}

// names lists the findings, as "ID PACKAGE".
func names(v *View) (out []string) {
	for _, f := range v.Findings {
		out = append(out, f.ID+" "+f.Package.Name)
	}
	return out
}

// Packages are looked up by name and by origin; what is fixed in the version that is
// there is no finding.
func TestNew(t *testing.T) {
	f := feeds(t)
	for _, c := range []struct {
		what   string
		target *Inventory
		found  string
		status advisory.Status
	}{
		{"by name", inventory("wolfi", "openssl=3.1-r0"), "CVE-2026-2 openssl", advisory.Found},
		{"by origin", inventory("wolfi", "libssl3<openssl=3.0-r9"), "CVE-2026-1 libssl3, CVE-2026-2 libssl3", advisory.Found},
		{"fixed", inventory("wolfi", "openssl=3.2-r0", "zlib=1.3.1-r4"), "", advisory.Clean},
		{"of another distribution", inventory("debian", "openssl=1.0-r0"), "", advisory.Inconclusive},
		{"of none that is known", inventory("", "openssl=1.0-r0"), "", advisory.Inconclusive},
		{"nothing in it", inventory("wolfi"), "", advisory.Inconclusive},
	} {
		v := New(c.target, f, advisory.Options{})
		if got := strings.Join(names(v), ", "); got != c.found || v.Status != c.status {
			t.Errorf("%s: found %q, %s, expected %q, %s", c.what, got, v.Status, c.found, c.status)
		}
		if r := v.Rows[0]; r.Name != "Target" || r.Packages != len(c.target.Packages) {
			t.Errorf("%s: row %+v", c.what, r)
		}
	}
	// A program that is no package's was not looked at, so nothing found is not clean.
	own := inventory("wolfi", "zlib=1.3.1-r4")
	own.Executables = 1
	if v := New(own, f, advisory.Options{}); v.Status != advisory.Inconclusive {
		t.Errorf("a program that is no package's: %s", v.Status)
	}
}

// Another side says what it has and what it has not, and why it has no counts.
func TestAdd(t *testing.T) {
	f := feeds(t)
	v := New(inventory("wolfi", "openssl=3.1-r0"), f, advisory.Options{})
	v.Add("Refreshed", inventory("wolfi", "openssl=3.2-r0", "zlib=1.2-r0"), f, advisory.Options{})
	v.Add("Base", inventory("debian", "openssl=1.0-r0"), f, advisory.Options{})
	v.Without("Other", "nobody knows")
	if r := v.Rows[1]; !slices.Equal(r.Gone, []string{"CVE-2026-2 openssl"}) || !slices.Equal(r.Came, []string{"CVE-2026-3 zlib"}) {
		t.Errorf("refreshed: gone %q, came %q", r.Gone, r.Came)
	}
	if r := v.Rows[2]; r.Counts != nil || r.Why == "" {
		t.Errorf("base: %+v", r)
	}
	var out bytes.Buffer
	if err := v.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Refreshed has not: CVE-2026-2 openssl\n", "not known: nobody knows\n", "findings\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// Both kinds of documents give the packages, once each, and the distribution.
func TestOfSBOM(t *testing.T) {
	const purl = "pkg:apk/alpine/busybox@1.36.1-r15?arch=x86_64\\u0026distro=alpine-3.19.1\\u0026origin=busybox-origin"
	for _, raw := range []string{
		`{"spdxVersion": "SPDX-2.3", "packages": [{"externalRefs": [{"referenceType": "purl", "referenceLocator": "` + purl + `"}, {"referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a:b"}]},
			{"externalRefs": [{"referenceType": "purl", "referenceLocator": "` + purl + `"}, {"referenceType": "purl", "referenceLocator": "pkg:pypi/flask@3.1.0"}]}]}`,
		`{"bomFormat": "CycloneDX", "components": [{"components": [{"purl": "` + purl + `"}]}, {"purl": "pkg:pypi/flask@3.1.0"}, {"purl": "pkg:oci/image@sha256:0"}]}`,
	} {
		inv, err := OfSBOM("x.json", []byte(raw), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if inv.Distro != "alpine:v3.19" || len(inv.Packages) != 1 || inv.Packages[0].Name != "busybox" || inv.Packages[0].Origin != "busybox-origin" || inv.Packages[0].Version != "1.36.1-r15" {
			t.Errorf("%+v", inv)
		}
		if len(inv.NotLookedAt) != 1 || !strings.HasPrefix(inv.NotLookedAt[0], "1 components of other kinds") {
			t.Errorf("not looked at: %q", inv.NotLookedAt)
		}
		if inv, err = OfSBOM("x.json", []byte(raw), Options{Distro: "wolfi"}); err != nil || inv.Distro != "wolfi" {
			t.Errorf("with a distribution: %v, %v", inv, err)
		}
	}
	for _, raw := range []string{"", "[]", `{"spdxVersion": "SPDX-3.0"}`, `{"bomFormat": "other"}`} {
		if _, err := OfSBOM("x.json", []byte(raw), Options{}); !errors.Is(err, ErrSBOM) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func FuzzOfSBOM(f *testing.F) {
	f.Add([]byte(`{"spdxVersion": "SPDX-2.3", "packages": [{"externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:apk/wolfi/a@1-r0"}]}]}`))
	f.Add([]byte(`{"bomFormat": "CycloneDX", "components": [{"purl": "pkg:apk/a", "components": [{}]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		inv, err := OfSBOM("x", raw, Options{})
		if (inv == nil) == (err == nil) {
			t.Errorf("%v, %v", inv, err)
		}
	})
}

func TestOnBase(t *testing.T) {
	hash := func(s string) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: s} }
	image := &Inventory{DiffIDs: []v1.Hash{hash("a"), hash("b")}}
	for _, c := range []struct {
		base []v1.Hash
		want bool
	}{{[]v1.Hash{hash("a")}, true}, {[]v1.Hash{hash("a"), hash("b")}, true}, {[]v1.Hash{hash("b")}, false}, {[]v1.Hash{hash("a"), hash("b"), hash("c")}, false}, {nil, false}} {
		if got := OnBase(image, &Inventory{DiffIDs: c.base}); got != c.want {
			t.Errorf("%v: %v", c.base, got)
		}
	}
}
