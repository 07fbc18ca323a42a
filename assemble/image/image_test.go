package image

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"chainguard.dev/apko/pkg/build/types"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	ocitypes "github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/layer"
)

// indent gives JSON a form in which differences can be read.
func indent(t testing.TB, raw []byte, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	b, _ := json.MarshalIndent(v, "", " ")
	return string(b)
}

func TestImageIsValid(t *testing.T) {
	for _, arch := range types.AllArchs {
		img := testImage(t, arch.String())
		if err := validate.Image(img); err != nil {
			t.Errorf("%s: %v", arch, err)
		}
	}
}

func TestImageConfig(t *testing.T) {
	img := testImage(t, "arm/v7")
	raw, err := img.RawConfigFile()
	layers, _ := img.Layers()
	d0, _ := layers[0].DiffID()
	d1, _ := layers[1].DiffID()
	want := strings.NewReplacer("D0", d0.String(), "D1", d1.String()).Replace(`{
 "architecture": "arm",
 "author": "tests",
 "config": {
  "Entrypoint": ["/usr/bin/hello", "-v"],
  "Env": ["PATH=/usr/bin"],
  "Labels": {
   "org.opencontainers.image.created": "2024-02-03T04:05:06Z",
   "org.opencontainers.image.revision": "c0ffee",
   "org.opencontainers.image.source": "https://example.org/hello.git",
   "org.opencontainers.image.title": "hello"
  },
  "StopSignal": "SIGTERM",
  "User": "65532",
  "Volumes": {"/data": {}},
  "WorkingDir": "/home"
 },
 "created": "2024-02-03T04:05:06Z",
 "history": [
  {"author": "tests", "comment": "hello-1.0-r0", "created": "2024-02-03T04:05:06Z", "created_by": "cairn"},
  {"author": "tests", "comment": "top layer", "created": "2024-02-03T04:05:06Z", "created_by": "cairn"}
 ],
 "os": "linux",
 "rootfs": {"diff_ids": ["D0", "D1"], "type": "layers"},
 "variant": "v7"
}`)
	if diff := cmp.Diff(indent(t, []byte(want), nil), indent(t, raw, err)); diff != "" {
		t.Error(diff)
	}
}

func TestImageManifest(t *testing.T) {
	m, err := testImage(t, "amd64").Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.SchemaVersion != 2 || m.MediaType != ocitypes.OCIManifestSchema1 || m.Config.MediaType != ocitypes.OCIConfigJSON || len(m.Layers) != 2 {
		t.Errorf("manifest %+v", m)
	}
	for _, l := range m.Layers {
		if l.MediaType != ocitypes.OCILayer {
			t.Errorf("layer of type %s", l.MediaType)
		}
	}
	want := map[string]string{
		AnnotationCreated: "2024-02-03T04:05:06Z", AnnotationRevision: "c0ffee",
		AnnotationSource: "https://example.org/hello.git", "org.opencontainers.image.title": "hello",
	}
	if diff := cmp.Diff(want, m.Annotations); diff != "" {
		t.Error(diff)
	}
}

// The digest of this image is fixed: no change of code may move it unnoticed.
func TestImageDigestIsStable(t *testing.T) {
	img, err := New(Input{
		Layers: []layer.Layer{{Digest: hashOf([]byte("l")), DiffID: hashOf([]byte("d")), Size: 1, Path: "/nowhere"}},
		Arch:   "amd64", Settings: testSettings, Created: testTime.In(time.FixedZone("x", 3600)).Add(999 * time.Millisecond), Author: "tests",
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = "sha256:98405d2f70bd6dfac1b8a58c69241f0f1ae8c1d8ab96276dde25331c0516989b"
	if got, _ := img.Digest(); got.String() != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func TestUnsafeChoicesAreRecorded(t *testing.T) {
	in := Input{
		Layers: []layer.Layer{memoryLayer(t, testFile{name: "a"})}, Arch: "amd64", Created: testTime,
		Unsafe:   []string{"no-signature", "corrupt-sbom", "no-signature"},
		Settings: Settings{Annotations: map[string]string{AnnotationUnsafe: "nothing at all"}},
	}
	img, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := img.Manifest()
	c, _ := img.ConfigFile()
	if got := m.Annotations[AnnotationUnsafe]; got != "corrupt-sbom,no-signature" || c.Config.Labels[AnnotationUnsafe] != got {
		t.Errorf("recorded: %q and %q", got, c.Config.Labels[AnnotationUnsafe])
	}
	in.Unsafe = nil
	img, _ = New(in)
	if m, _ := img.Manifest(); m.Annotations[AnnotationUnsafe] != "" {
		t.Error("a configuration may claim unsafe choices")
	}
	x, err := NewIndex([]*Image{img}, IndexInput{Created: testTime, Unsafe: []string{"b", "a"}})
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := x.IndexManifest(); m.Annotations[AnnotationUnsafe] != "a,b" {
		t.Errorf("index: %v", m.Annotations)
	}
}

func TestImageOnABase(t *testing.T) {
	base, err := random.Image(100, 2)
	if err != nil {
		t.Fatal(err)
	}
	base, err = mutate.Config(base, v1.Config{User: "base", WorkingDir: "/base", Entrypoint: []string{"/base"}, Env: []string{"BASE=1"}})
	if err != nil {
		t.Fatal(err)
	}
	s := testSettings
	s.User, s.Entrypoint, s.BaseName, s.BaseDigest = "", nil, "example.org/base:1", "sha256:1234"
	img, err := New(Input{Base: base, Layers: []layer.Layer{memoryLayer(t, testFile{name: "a"})}, Arch: "amd64", Settings: s, Created: testTime})
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Fatal(err)
	}
	m, _ := img.Manifest()
	c, _ := img.ConfigFile()
	if len(m.Layers) != 3 || m.Layers[0].MediaType != ocitypes.OCILayer {
		t.Errorf("layers %+v", m.Layers)
	}
	if c.Config.User != "base" || c.Config.WorkingDir != "/home" || c.Config.Entrypoint[0] != "/base" || !cmp.Equal(c.Config.Env, []string{"BASE=1", "PATH=/usr/bin"}) {
		t.Errorf("settings over a base: %+v", c.Config)
	}
	if m.Annotations[AnnotationBaseName] != "example.org/base:1" || m.Annotations[AnnotationBaseDigest] != "sha256:1234" {
		t.Errorf("annotations %v", m.Annotations)
	}
}

func TestNewRefuses(t *testing.T) {
	good := memoryLayer(t, testFile{name: "a"})
	many := make([]layer.Layer, MaxLayers+1)
	for i := range many {
		many[i] = good
	}
	edit := func(f func(*layer.Layer)) []layer.Layer {
		l := good
		f(&l)
		return []layer.Layer{l}
	}
	for _, test := range []struct {
		in   Input
		want string
	}{
		{Input{Arch: "amd64", Created: testTime}, "image amd64: no layers"},
		{Input{Layers: []layer.Layer{good}, Created: testTime}, "image : no architecture"},
		{Input{Layers: []layer.Layer{good}, Arch: "amd64"}, "image amd64: no creation time"},
		{Input{Layers: []layer.Layer{good}, Comments: []string{"a", "b"}, Arch: "amd64", Created: testTime}, "image amd64: 2 comments for 1 layers"},
		{Input{Layers: many, Arch: "amd64", Created: testTime}, "image amd64: 128 layers: expected at most 127"},
		{Input{Layers: edit(func(l *layer.Layer) { l.Digest = v1.Hash{} }), Arch: "amd64", Created: testTime}, `image amd64: layer 0: digest ":": expected a sha256 digest`},
		{Input{Layers: edit(func(l *layer.Layer) { l.DiffID.Algorithm = "sha512" }), Arch: "amd64", Created: testTime}, `image amd64: layer 0: diff ID "sha512:` + good.DiffID.Hex + `": expected a sha256 digest`},
		{Input{Layers: edit(func(l *layer.Layer) { l.Path = "x" }), Arch: "amd64", Created: testTime}, "image amd64: layer 0: its bytes are in more than one place: expected one of a file, memory and elsewhere"},
		{Input{Layers: edit(func(l *layer.Layer) { l.Size++ }), Arch: "amd64", Created: testTime}, "image amd64: layer 0: 112 bytes in memory: expected 113"},
		{Input{Layers: edit(func(l *layer.Layer) { l.Blob, l.Path, l.Size = nil, "x", 0 }), Arch: "amd64", Created: testTime}, "image amd64: layer 0: size 0: expected more than 0"},
	} {
		if _, err := New(test.in); err == nil || strings.Map(noDigits, err.Error()) != strings.Map(noDigits, test.want) {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
	bad, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{RootFS: v1.RootFS{DiffIDs: []v1.Hash{good.DiffID}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Input{Base: bad, Layers: []layer.Layer{good}, Arch: "amd64", Created: testTime}); err == nil || err.Error() != "image amd64: base: 0 layers, but 1 diff IDs" {
		t.Errorf("base: %v", err)
	}
}

// noDigits drops digits: the size of a test blob depends on the compressor.
func noDigits(r rune) rune {
	if r >= '0' && r <= '9' {
		return -1
	}
	return r
}

func TestLayerLookup(t *testing.T) {
	img := testImage(t, "amd64")
	if _, err := img.LayerByDigest(hashOf(nil)); err == nil || !strings.Contains(err.Error(), "no layer "+hashOf(nil).String()) {
		t.Errorf("unknown digest: %v", err)
	}
	if _, err := img.LayerByDiffID(hashOf(nil)); err == nil {
		t.Error("unknown diff ID found")
	}
}

// apko's platform of arm/v6 and arm/v7 must not become the same.
func TestIndexOrderAndVariants(t *testing.T) {
	x := testIndex(t, "s390x", "arm/v7", "amd64", "arm/v6", "386")
	if err := validate.Index(x); err != nil {
		t.Fatal(err)
	}
	m, err := x.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range m.Manifests {
		got = append(got, d.Platform.String())
	}
	want := []string{"linux/386", "linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/s390x"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if m.MediaType != ocitypes.OCIImageIndex || m.Annotations[AnnotationCreated] != "2024-02-03T04:05:06Z" || m.Annotations["org.opencontainers.image.title"] != "hello" {
		t.Errorf("index %+v", m)
	}
}

func TestIndexDoesNotDependOnOrder(t *testing.T) {
	a, b := testImage(t, "amd64"), testImage(t, "arm64")
	in := IndexInput{Settings: testSettings, Created: testTime}
	x, _ := NewIndex([]*Image{a, b}, in)
	y, _ := NewIndex([]*Image{b, a}, in)
	if dx, _ := x.Digest(); x.hash != y.hash || dx != x.hash {
		t.Errorf("%s and %s", x.hash, y.hash)
	}
}

func TestNewIndexRefuses(t *testing.T) {
	img := testImage(t, "amd64")
	for _, test := range []struct {
		images  []*Image
		created time.Time
		want    string
	}{
		{nil, testTime, "image index: no images"},
		{[]*Image{img}, time.Time{}, "image index: no creation time"},
		{[]*Image{img, img}, testTime, "image index: two images for linux/amd64"},
	} {
		if _, err := NewIndex(test.images, IndexInput{Created: test.created}); err == nil || err.Error() != test.want {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
	x := testIndex(t, "amd64")
	if _, err := x.Image(hashOf(nil)); err == nil {
		t.Error("found an image that is not there")
	}
	if _, err := x.ImageIndex(hashOf(nil)); err == nil {
		t.Error("found an index that is not there")
	}
}

func TestSettingsOf(t *testing.T) {

	for _, test := range []struct {
		name string
		c    types.ImageConfiguration
		want Settings
	}{
		{"empty", types.ImageConfiguration{}, Settings{}},
		{"command", types.ImageConfiguration{Entrypoint: types.ImageEntrypoint{Command: `/bin/x "a b" c`}, Cmd: "-v --x='y z'"},
			Settings{Entrypoint: []string{"/bin/x", "a b", "c"}, Cmd: []string{"-v", "--x=y z"}}},
		{"shell", types.ImageConfiguration{Entrypoint: types.ImageEntrypoint{ShellFragment: "echo $HOME | cat", Command: "ignored"}},
			Settings{Entrypoint: []string{"/bin/sh", "-c", "echo $HOME | cat"}}},
		{"services", types.ImageConfiguration{Entrypoint: types.ImageEntrypoint{Type: "service-bundle"}},
			Settings{Entrypoint: []string{"/bin/s6-svscan", "/sv"}}},
		{"the rest", types.ImageConfiguration{
			Accounts: types.ImageAccounts{RunAs: "nonroot"}, WorkDir: "/w", Volumes: []string{"/v"}, StopSignal: "SIGINT",
			Annotations: map[string]string{"a": "b"}, VCSUrl: "u@r",
		}, Settings{User: "nonroot", WorkDir: "/w", Volumes: []string{"/v"}, StopSignal: "SIGINT", Annotations: map[string]string{"a": "b"}, VCSURL: "u@r"}},
	} {
		got, err := SettingsOf(&config.Config{ImageConfiguration: test.c})
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if test.want.Env == nil {
			test.want.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/bin:/usr/sbin:/sbin:/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
	c := &config.Config{ImageConfiguration: types.ImageConfiguration{Environment: map[string]string{"PATH": "/p", "A": "1"}}}
	got, _ := SettingsOf(c)
	if diff := cmp.Diff([]string{"A=1", "PATH=/p", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"}, got.Env); diff != "" {
		t.Error(diff)
	}
	for want, c := range map[string]types.ImageConfiguration{
		`cmd: "\"open": EOF found when expecting closing quote`:                {Cmd: `"open`},
		`entrypoint: command: "'open": EOF found when expecting closing quote`: {Entrypoint: types.ImageEntrypoint{Command: "'open"}},
	} {
		if _, err := SettingsOf(&config.Config{ImageConfiguration: c}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestVCSURL(t *testing.T) {
	for in, want := range map[string][2]string{
		"https://example.org/a.git@c0ffee": {"https://example.org/a.git", "c0ffee"},
		"git@github.com:a/b@c0ffee":        {"git@github.com:a/b", "c0ffee"}, // apko: revision "github.com:a/b@c0ffee"
		"https://example.org/a.git":        {},
		"git@github.com:a/b":               {},
		"@c0ffee":                          {},
		"https://example.org/a@":           {},
		"":                                 {},
	} {
		s := Settings{VCSURL: in}
		url, revision, ok := s.source()
		if [2]string{url, revision} != want || ok != (want[0] != "") {
			t.Errorf("%q: %q %q %v, want %q", in, url, revision, ok, want)
		}
	}
}

// An empty SOURCE_DATE_EPOCH is the same as none; apko gives another digest
// (field.md §2 hole 4).
func TestApkoDefect_EmptySourceDateEpochIsUnset(t *testing.T) {
	if _, set, err := SourceDateEpoch(""); set || err != nil {
		t.Errorf("set %v, %v", set, err)
	}
}

func TestSourceDateEpoch(t *testing.T) {
	for in, want := range map[string]string{"0": "1970-01-01T00:00:00Z", "1706933106": "2024-02-03T04:05:06Z", "253402300799": "9999-12-31T23:59:59Z"} {
		got, set, err := SourceDateEpoch(in)
		if err != nil || !set || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %v %v %v, want %s", in, got, set, err, want)
		}
	}
	for _, in := range []string{" 1", "-1", "x", "1.5", "0x10", "253402300800", "99999999999999999999"} {
		_, set, err := SourceDateEpoch(in)
		want := `SOURCE_DATE_EPOCH: "` + in + `": expected seconds since 1970 between 0 and 253402300799`
		if err == nil || err.Error() != want || set {
			t.Errorf("%s: set %v, %v", in, set, err)
		}
	}
}
