package sbom

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	packageurl "github.com/package-url/packageurl-go"

	"github.com/cairn-dev/cairn/packages/apk"
)

func TestSafeID(t *testing.T) {
	for in, want := range map[string]string{
		"abc-1.2.3": "abc-1.2.3", "a_b+c~d": "a-b-c-d", "ä": "-", "": "", "files[0]": "files-0-", "a b\x00": "a-b-",
	} {
		if got := safeID(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestUUID5(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"a"}, {"b"}, {"a", "b"}, {"ab"}, {"", "ab"}, {"ab", ""}, {"1:a"}, {"a1:b"}} {
		u, name := uuid5(parts...), strings.Join(parts, "|")
		if !form.MatchString(u) {
			t.Errorf("%q: %s is no UUID of version 5", name, u)
		}
		if other, ok := seen[u]; ok {
			t.Errorf("%q and %q give %s", name, other, u)
		}
		seen[u] = name
		if again := uuid5(parts...); again != u {
			t.Errorf("%q: %s, then %s", name, u, again)
		}
	}
}

func TestPackagePURL(t *testing.T) {
	alpine := system{id: "alpine", version: "3.19.1"}
	for _, test := range []struct {
		p    apk.Package
		s    system
		want string
	}{
		{apk.Package{Name: "musl", Version: "1.2.4_git20230717-r4", Arch: "x86_64"}, alpine, "pkg:apk/alpine/musl@1.2.4_git20230717-r4?arch=x86_64&distro=alpine-3.19.1&origin=musl"},
		{apk.Package{Name: "libstdc++", Version: "13.2.1-r0", Arch: "aarch64", Origin: "gcc"}, alpine, "pkg:apk/alpine/libstdc%2B%2B@13.2.1-r0?arch=aarch64&distro=alpine-3.19.1&origin=gcc"},
		{apk.Package{Name: "glibc", Version: "2.40-r1", Arch: "x86_64"}, system{id: "wolfi"}, "pkg:apk/wolfi/glibc@2.40-r1?arch=x86_64&distro=wolfi&origin=glibc"},
		{apk.Package{Name: "x", Version: "1"}, system{}, "pkg:apk/x@1?origin=x"},
	} {
		got := packagePURL(&test.p, &test.s)
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.p.Name, got, test.want)
		}
		back, err := packageurl.FromString(got)
		if err != nil || back.Name != test.p.Name || back.Version != test.p.Version || back.Namespace != test.s.id {
			t.Errorf("%s reads back as %+v, %v", got, back, err)
		}
	}
}

func TestOCIPURL(t *testing.T) {
	d := hashOf("x")
	for _, test := range []struct {
		name, arch string
		qualifiers map[string]string
	}{
		{"hello", "amd64", map[string]string{"arch": "amd64"}},
		{"docker.io/library/Hello", "", map[string]string{"repository_url": "docker.io/library/hello"}},
		{"localhost:5000/a/hello", "arm", map[string]string{"arch": "arm", "repository_url": "localhost:5000/a/hello"}},
	} {
		got, err := packageurl.FromString(ociPURL(test.name, d, test.arch))
		if err != nil || got.Type != "oci" || got.Name != "hello" || got.Version != d.String() || !cmp.Equal(got.Qualifiers.Map(), test.qualifiers) {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
}

func TestDocumentName(t *testing.T) {
	for _, test := range []struct {
		img  Image
		want string
	}{
		{Image{Name: "docker.io/library/hello"}, "sbom-hello-x86_64"},
		{Image{Annotations: map[string]string{annotationTitle: "My Image"}}, "sbom-My-Image-x86_64"},
		{Image{}, "sbom-image-x86_64"},
	} {
		if got := documentName(&test.img, "x86_64"); got != test.want {
			t.Errorf("%+v: %s, want %s", test.img, got, test.want)
		}
	}
}

func TestPurpose(t *testing.T) {
	for in, want := range map[string]string{"": "", "OPERATING-SYSTEM": "OPERATING_SYSTEM", "SOURCE": "SOURCE", "source": "OTHER", "NEW": "OTHER"} {
		if got := purpose(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	if got := cut("short"); got != "short" {
		t.Error(got)
	}
	if got := cut(strings.Repeat("ä", 100)); len(got) > 90 || !strings.HasSuffix(got, "…") || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("%q", got)
	}
}

// A stream is one JSON object, with every element of an array on a line.
func TestStream(t *testing.T) {
	var b bytes.Buffer
	s := newStream(&b, sha256.New())
	s.field("a", "<&>")
	s.array("empty", func() {})
	s.array("list", func() {
		s.element(1)
		s.element(map[string]int{"y": 2, "x": 1})
	})
	s.field("z", nil)
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	want := "{\n\"a\":\"<&>\",\n\"empty\":[\n],\n\"list\":[\n1,\n{\"x\":1,\"y\":2}\n],\n\"z\":null\n}\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	if !json.Valid(b.Bytes()) {
		t.Error("no JSON")
	}
	if d := digestOf(b.Bytes()); hexSum(s.sum) != d.sha256.Hex() {
		t.Error("the digest is not that of what was written")
	}
	s = newStream(io.Discard, sha256.New())
	s.field("a", func() {})
	s.field("b", 1)
	if err := s.end(); err == nil || !strings.Contains(err.Error(), "unsupported type") {
		t.Errorf("a value that is no JSON: %v", err)
	}
}

func TestComponentTypes(t *testing.T) {
	for _, test := range []struct {
		c    Component
		want string
	}{
		{Component{Kind: KindImage}, "container"}, {Component{Kind: KindIndex}, "container"}, {Component{Kind: KindOS}, "operating-system"},
		{Component{Kind: KindLayer}, "file"}, {Component{Kind: KindSource}, "file"}, {Component{Kind: KindConfig}, "data"},
		{Component{Kind: KindGenerator}, "data"}, {Component{Kind: KindPackage, Purpose: "INSTALL"}, "library"},
		{Component{Kind: KindUpstream}, "library"}, {Component{Kind: KindUpstream, Purpose: "APPLICATION"}, "application"},
		{Component{Kind: KindUpstream, Purpose: "OPERATING_SYSTEM"}, "operating-system"}, {Component{Kind: KindUpstream, Purpose: "ARCHIVE"}, "file"},
		{Component{Kind: KindUpstream, Purpose: "SOURCE"}, "library"},
	} {
		got := test.c.cdx()
		if string(got.Type) != test.want {
			t.Errorf("%s %s: %s, want %s", test.c.Kind, test.c.Purpose, got.Type, test.want)
		}
		if excluded := got.Scope == "excluded"; excluded != (test.c.Kind == KindSource || test.c.Purpose == "SOURCE") {
			t.Errorf("%s %s: excluded %v", test.c.Kind, test.c.Purpose, excluded)
		}
	}
}
