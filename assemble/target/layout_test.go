package target

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/cairn-dev/cairn/assemble/image"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestNotALayout(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty", "x"), "")
	write(t, filepath.Join(dir, "old", "oci-layout"), `{"imageLayoutVersion":"0.9"}`)
	for name, c := range map[string]struct {
		is   error
		want string
	}{
		"absent": {ErrNotFound, "oci:DIR/absent: not found: stat DIR/absent/oci-layout: no such file or directory"},
		"empty":  {image.ErrNotALayout, "oci:DIR/empty: not an OCI layout: no file oci-layout in it"},
		"old":    {image.ErrNotALayout, `oci:DIR/old: not an OCI layout: oci-layout is "{\"imageLayoutVersion\":\"0.9\"}": expected version 1.0.0`},
	} {
		err := resolveError(t, filepath.Join(dir, name))
		if want := strings.ReplaceAll(c.want, "DIR", dir); !errors.Is(err, c.is) || err.Error() != want {
			t.Errorf("found %v\nwant %s", err, want)
		}
	}
}

func TestHostileLayouts(t *testing.T) {
	entry := func(digest string) string {
		return `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"` + digest + `","size":1}]}`
	}
	content := []byte(`{"schemaVersion":2,"manifests":[]}`)
	good := hashOf(content)
	for _, c := range []struct {
		name  string
		index string
		blob  string
		is    error
		want  string
	}{
		{"no image", `{"schemaVersion":2,"manifests":[]}`, "", ErrNotFound, "no image in the layout: not found"},
		{"no JSON", `{`, "", ErrMalformed, "index.json: malformed: unexpected EOF"},
		{"path in a digest", entry("sha256:../../../../etc/passwd"), "", ErrMalformed, ""},
		{"another algorithm", entry("sha512:" + strings.Repeat("a", 128)), "", ErrMalformed, ""},
		{"blob missing", entry(good.String()), "", ErrNotFound, ""},
		{"blob changed", entry(good.String()), `{"schemaVersion":3,"manifests":[]}`, ErrMismatch,
			"manifest " + good.String() + ": found " + hashOf([]byte(`{"schemaVersion":3,"manifests":[]}`)).String() + ": bytes are not those of the digest"},
		{"blob no JSON", entry(good.String()), `abc`, ErrMalformed, ""},
		{"huge index.json", strings.Repeat(" ", 8<<20+1), "", ErrLimit, "index.json: more than 8388608 bytes: over the limit"},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "oci-layout"), `{"imageLayoutVersion":"1.0.0"}`)
		write(t, filepath.Join(dir, "index.json"), c.index)
		if c.blob != "" {
			write(t, filepath.Join(dir, blobFile(good)), c.blob)
		}
		err := resolveError(t, dir)
		if !errors.Is(err, c.is) {
			t.Errorf("%s: %v: want %v", c.name, err, c.is)
		} else if want := "oci:" + dir + ": " + c.want; c.want != "" && err.Error() != want {
			t.Errorf("%s: found %s\nwant %s", c.name, err, want)
		}
	}
}

// A pipe in the place of a blob does not make the reader wait.
func TestPipeInALayout(t *testing.T) {
	x := layoutImage(t)
	path := filepath.Join(x.ref, blobFile(x.hash))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o644); err != nil {
		t.Skipf("no pipes here: %v", err)
	}
	if err := resolveError(t, x.ref+"@"+x.hash.String()); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestTooManyReferrersInALayout(t *testing.T) {
	x := layoutImage(t)
	o := mustOpen(t, x.ref)
	subject := mustResolve(t, o)
	refer(t, o, subject, "a")
	refer(t, o, subject, "b")
	r, _ := Parse(x.ref)
	small, err := Open(t.Context(), r, Options{Limits: Limits{Referrers: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := small.Referrers(t.Context(), x.hash); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
}

// cosign's form of a signed layout: the first signed image and its signatures
// are marked, others and images inside an index are not.
func TestLayoutMarksForCosign(t *testing.T) {
	x := layoutImage(t)
	other := newIndex(t)
	if err := layout.Path(x.ref).AppendIndex(other); err != nil {
		t.Fatal(err)
	}
	o := mustOpen(t, x.ref+"@"+x.hash.String())
	children, err := o.Children(t.Context(), mustResolve(t, o))
	if err != nil {
		t.Fatal(err)
	}
	otherHash, err := other.Digest()
	if err != nil {
		t.Fatal(err)
	}
	tags := []string{referrersTag(children[0].Digest) + ".sig", referrersTag(x.hash) + ".sig", referrersTag(otherHash) + ".sig",
		referrersTag(x.hash) + ".att", referrersTag(x.hash) + ".sbom", "v1"}
	for i, tag := range append(tags, tags[1]) { // the last one replaces
		m := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[],"annotations":{"n":"%d"}}`, i)
		if _, err := o.Push(t.Context(), Artifact{Manifest: []byte(m), MediaType: "application/vnd.oci.image.manifest.v1+json", Tag: tag}); err != nil {
			t.Fatal(err)
		}
	}
	top, err := layout.ImageIndexFromPath(x.ref)
	if err != nil {
		t.Fatal(err)
	}
	m, err := top.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, d := range m.Manifests {
		if kind := d.Annotations["kind"]; kind != "" {
			name := d.Annotations[refName]
			got[name] = strings.TrimPrefix(kind, "dev.cosignproject.cosign/")
		}
	}
	want := map[string]string{"1": "imageIndex", tags[1]: "sigs", tags[3]: "atts"}
	if diff := cmp.Diff(want, got); diff != "" || len(m.Manifests) != 8 {
		t.Errorf("%d entries: %s", len(m.Manifests), diff)
	}
}
