package kit_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/kit"
)

// TestManifestOfAKit is what other tools see: an OCI 1.1 artifact with a subject.
func TestManifestOfAKit(t *testing.T) {
	k := made(t)
	a, err := k.Artifact()
	if err != nil {
		t.Fatal(err)
	}
	var m editable
	if err := json.Unmarshal(a.Manifest, &m); err != nil {
		t.Fatal(err)
	}
	if m.SchemaVersion != 2 || m.MediaType != string(types.OCIManifestSchema1) || m.ArtifactType != kit.ArtifactType || m.Subject.Digest != k.Subject.Digest {
		t.Errorf("manifest %s", a.Manifest)
	}
	if !kit.IsKit(a.Manifest) || kit.IsKit([]byte("{}")) || kit.IsKit([]byte("hello")) {
		t.Error("kits are not told from other manifests")
	}
	blobs := map[v1.Hash][]byte{}
	for _, b := range a.Blobs {
		if _, twice := blobs[b.Digest]; twice {
			t.Errorf("blob %s stands twice", b.Digest)
		}
		blobs[b.Digest] = b.Bytes
	}
	if c := m.Config; c.MediaType != kit.TypeEmpty || string(blobs[c.Digest]) != "{}" {
		t.Errorf("configuration %+v: %q", c, blobs[c.Digest])
	}
	var kinds []types.MediaType
	for _, d := range m.Layers {
		kinds = append(kinds, d.MediaType)
		if b := blobs[d.Digest]; int64(len(b)) != d.Size || len(b) == 0 {
			t.Errorf("part %s: %d bytes, expected %d", d.MediaType, len(b), d.Size)
		}
		if index := d.MediaType == kit.TypeIndex; index != (d.Annotations[kit.AnnotationIndexURL] != "") || index != (d.Annotations[kit.AnnotationIndexArch] != "") {
			t.Errorf("part %s: annotations %v", d.MediaType, d.Annotations)
		}
	}
	want := []types.MediaType{kit.TypeSettings, kit.TypeLock, kit.TypeFiles, kit.TypeKeys, kit.TypeHeads, kit.TypeReceipts, kit.TypeIndex, kit.TypeIndex}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error(diff)
	}
	again, err := k.Artifact()
	if err != nil || !bytes.Equal(again.Manifest, a.Manifest) {
		t.Errorf("made again it is another: %v", err)
	}
}

// TestPartsAreOrdinaryArchives, with the names that docs/provenance.md gives.
func TestPartsAreOrdinaryArchives(t *testing.T) {
	k, _ := based(t)
	s := store(t, k)
	var m editable
	if err := json.Unmarshal(s.blobs[s.manifest], &m); err != nil {
		t.Fatal(err)
	}
	part := func(kind types.MediaType) []byte { return s.blobs[m.Layers[at(&m, kind)].Digest] }
	for _, c := range []struct {
		kind types.MediaType
		tar  []byte
		want []string
	}{
		{kit.TypeFiles, part(kit.TypeFiles), []string{k.Files[0].SHA256.Hex()}},
		{kit.TypeKeys, part(kit.TypeKeys), []string{k.Keys[0].Fingerprint.Hex() + "/key.rsa.pub"}},
		{kit.TypeHeads, part(kit.TypeHeads), []string{"x86_64/app-1-r0.head", "aarch64/app-1-r0.head"}},
		{kit.TypeReceipts, unzipped(t, part(kit.TypeReceipts)), []string{"x86_64/app-1-r0.receipt", "aarch64/app-1-r0.receipt"}},
		{kit.TypeBase, unzipped(t, part(kit.TypeBase)), []string{
			"x86_64/manifest.json", "x86_64/config.json", "x86_64/APKINDEX", "x86_64/files",
			"aarch64/manifest.json", "aarch64/config.json", "aarch64/APKINDEX", "aarch64/files"}},
	} {
		var names []string
		for r := tar.NewReader(bytes.NewReader(c.tar)); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", c.kind, err)
			}
			if h.ModTime.Unix() != 0 || h.Mode != 0o644 || h.Uid != 0 || h.Uname != "" {
				t.Errorf("%s: %s: %+v", c.kind, h.Name, h)
			}
			names = append(names, h.Name)
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(c.want)), slices.Sorted(slices.Values(names))); diff != "" {
			t.Errorf("%s:\n%s", c.kind, diff)
		}
	}
}

// TestAnIndexThatIsUsedTwiceIsOneBlob: repositories can share one.
func TestAnIndexThatIsUsedTwiceIsOneBlob(t *testing.T) {
	k := made(t)
	before, err := k.Artifact()
	if err != nil {
		t.Fatal(err)
	}
	k.Indexes = append(k.Indexes, kit.Index{URL: "https://mirror.example/", Arch: "x86_64", Raw: k.Indexes[0].Raw})
	after, err := k.Artifact()
	if err != nil || len(after.Blobs) != len(before.Blobs) || after.Descriptor.Digest == before.Descriptor.Digest {
		t.Errorf("%d blobs, were %d (%v)", len(after.Blobs), len(before.Blobs), err)
	}
}

// TestSettingsAreReadBack, every one of them.
func TestSettingsAreReadBack(t *testing.T) {
	k := made(t)
	k.Settings.Created = time.Unix(1700000000, 0).UTC()
	k.Settings.Author, k.Settings.Compat, k.Settings.VCSURL = "someone", "apko", "https://example.org/x@"+strings.Repeat("a", 40)
	k.Settings.Weights = map[string]float64{"musl": 0.5}
	k.Settings.IncludePaths = []string{"/etc/cairn"}
	k.Settings.Unsafe = kit.Unsafe{UnsignedIndex: true, MissingDataHash: true, PackageSignature: true, BrokenSBOM: true}
	k.Settings.Overrides = []kit.Overrides{{Repositories: []string{"/r"}, BuildRepositories: []string{"/b"}, Keyring: []string{"/k"},
		Packages: []string{"app"}, Annotations: map[string]string{"c": "d"}, VCSURL: "https://example.org/y@" + strings.Repeat("b", 40)}}
	s := store(t, k)
	again, err := kit.Read(t.Context(), s, s.manifest, s.subject)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(k.Settings, again.Settings); diff != "" {
		t.Error(diff)
	}
	cfg, err := again.Load()
	if err != nil {
		t.Fatal(err)
	}
	c := &cfg.Contents
	if !slices.Contains(c.Repositories, "/r") || !slices.Contains(c.BuildRepositories, "/b") || !slices.Contains(c.Keyring, "/k") ||
		!slices.Contains(c.Packages, "app") || cfg.Annotations["c"] != "d" || cfg.VCSUrl != k.Settings.VCSURL {
		t.Errorf("configuration %+v", cfg.ImageConfiguration)
	}
}

// TestLoadReadsNothingButTheKit: a configuration in a kit is somebody else's.
func TestLoadReadsNothingButTheKit(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"include", "include: /etc/passwd\n", "/etc/passwd"},
		{"file", "files: [{path: /etc/x, source: /etc/passwd, sha256: " + strings.Repeat("0", 64) + "}]\n", "/etc/passwd"},
		{"not YAML", "contents: [", "image.yaml:1:"},
	} {
		k := &kit.Kit{Settings: kit.Settings{Config: "image.yaml", Architectures: []string{"x86_64"}},
			Files: []kit.File{{Name: kit.Name{Path: "image.yaml", Role: kit.RoleConfig}, Bytes: []byte(c.text)}}}
		cfg, err := k.Load()
		if err == nil || cfg != nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "configuration: ") {
			t.Errorf("%s: error %v, expected %s", c.name, err, c.want)
		}
		if c.name == "include" && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: error %v, expected none of it to exist", c.name, err)
		}
	}
	k := &kit.Kit{Settings: kit.Settings{Config: "image.yaml", Architectures: []string{"z80"}},
		Files: []kit.File{{Name: kit.Name{Path: "image.yaml", Role: kit.RoleConfig}, Bytes: []byte("contents: {packages: [a]}\n")}}}
	if _, err := k.Load(); err == nil || !strings.Contains(err.Error(), "z80") {
		t.Errorf("unknown architecture: %v", err)
	}
	if d := k.ConfigDigest(); !d.IsZero() {
		t.Errorf("digest %s", d)
	}
	if d := (&kit.Kit{}).ConfigDigest(); !d.IsZero() {
		t.Errorf("no configuration: digest %s", d)
	}
}
