package target

import (
	"errors"
	"strings"
	"testing"
)

const hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestParse(t *testing.T) {
	for in, want := range map[string]struct{ full, repo, tag, layout string }{
		"hello":                            {"index.docker.io/library/hello:latest", "index.docker.io/library/hello", "latest", ""},
		"registry.example:5000/a/b:1":      {"registry.example:5000/a/b:1", "registry.example:5000/a/b", "1", ""},
		"localhost:5000/bb":                {"localhost:5000/bb:latest", "localhost:5000/bb", "latest", ""},
		"r.example/bb@sha256:" + hexA:      {"r.example/bb@sha256:" + hexA, "r.example/bb", "", ""},
		"r.example/bb:2@sha256:" + hexA:    {"r.example/bb:2@sha256:" + hexA, "r.example/bb", "2", ""},
		"r.example:80/bb@sha256:" + hexA:   {"r.example:80/bb@sha256:" + hexA, "r.example:80/bb", "", ""},
		"dir/":                             {"oci:dir", "", "", "dir"},
		"./dir":                            {"oci:dir", "", "", "dir"},
		"../dir":                           {"oci:../dir", "", "", "../dir"},
		"/tmp/dir":                         {"oci:/tmp/dir", "", "", "/tmp/dir"},
		".":                                {"oci:.", "", "", "."},
		"oci:dir":                          {"oci:dir", "", "", "dir"},
		"oci:dir/@sha256:" + hexA:          {"oci:dir@sha256:" + hexA, "", "", "dir"},
		"dir/@sha256:" + hexA:              {"oci:dir@sha256:" + hexA, "", "", "dir"},
		"oci:/a/b/../c@sha256:" + hexA:     {"oci:/a/c@sha256:" + hexA, "", "", "/a/c"},
		"127.0.0.1:41000/team/app:v1.2_3-": {"127.0.0.1:41000/team/app:v1.2_3-", "127.0.0.1:41000/team/app", "v1.2_3-", ""},
	} {
		r, err := Parse(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if r.String() != want.full || r.Repository() != want.repo || r.Tag() != want.tag || r.Layout() != want.layout || r.IsLayout() != (want.layout != "") {
			t.Errorf("%s: %s, %s, %s, %s", in, r, r.Repository(), r.Tag(), r.Layout())
		}
		again, err := Parse(r.String())
		if err != nil || again != r {
			t.Errorf("%s: read back as %v, %v", in, again, err)
		}
		if _, ok := r.Digest(); ok != strings.Contains(in, "@") {
			t.Errorf("%s: digest %v", in, ok)
		}
	}
}

func TestParseErrors(t *testing.T) {
	const forms = ": expected host/repository:tag, host/repository@sha256:…, dir/ or oci:dir"
	for in, want := range map[string]string{
		"":                             `image "": not a reference: empty` + forms,
		"a b":                          `image "a b": not a reference: white space or a control character` + forms,
		"a\n":                          `image "a\n": not a reference: white space or a control character` + forms,
		"oci:":                         `image "oci:": not a reference: no directory after "oci:"`,
		"docker://hello":               `image "docker://hello": not a reference: "docker://" is no part of a reference` + forms,
		"app@sha256:abc":               `image "app@sha256:abc": not a reference: digest "sha256:abc": expected sha256: and 64 hexadecimal digits`,
		"app@":                         `image "app@": not a reference: digest "": expected sha256: and 64 hexadecimal digits`,
		"app@md5:" + hexA[:32]:         `image "app@md5:` + hexA[:32] + `": not a reference: digest "md5:` + hexA[:32] + `": expected sha256: and 64 hexadecimal digits`,
		"app@sha256:" + "A" + hexA[1:]: `image "app@sha256:A` + hexA[1:] + `": not a reference: digest "sha256:A` + hexA[1:] + `": expected sha256: and 64 hexadecimal digits`,
	} {
		_, err := Parse(in)
		if !errors.Is(err, ErrReference) || err.Error() != want {
			t.Errorf("%q: found %v\nwant %s", in, err, want)
		}
	}
	for _, in := range []string{"Upper/Case:1", "app:" + strings.Repeat("x", 200), "app@x@y", "http://r.example/app"} {
		if r, err := Parse(in); !errors.Is(err, ErrReference) {
			t.Errorf("%q: %v, %v", in, r, err)
		}
	}
}

func TestWithDigest(t *testing.T) {
	r, err := Parse("r.example/app:1")
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseDigest("sha256:" + hexA)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.WithDigest(h).String(); got != "r.example/app@sha256:"+hexA {
		t.Error(got)
	}
}

// Whatever is accepted reads back as itself.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"hello", "a/b:1", "oci:x@sha256:" + hexA, "./x", "r.example:5000/a@sha256:" + hexA} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(r.String())
		if err != nil || again != r {
			t.Errorf("%q is %q, which is %v, %v", s, r, again, err)
		}
	})
}

// No manifest makes the parsers panic, and what passes can be pushed: it has
// good digests only.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(many(2)))
	f.Add([]byte(`{"subject":{"digest":"sha256:` + hexA + `","size":3},"config":{"mediaType":"x"},"annotations":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := parseIndex(raw); err == nil {
			for _, d := range m.Manifests {
				if checkDigest(d.Digest) != nil || d.Size < 0 {
					t.Errorf("%+v", d)
				}
			}
		}
		c, err := Artifact{Manifest: raw, MediaType: "application/vnd.oci.image.manifest.v1+json"}.check()
		if err == nil && (c.desc.Digest != hashOf(raw) || c.subject != nil && checkDigest(c.subject.Digest) != nil) {
			t.Errorf("%+v", c)
		}
	})
}

func TestIn(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	for ref, want := range map[string]string{
		"out/": "oci:work/out", "oci:out": "oci:work/out", "./out": "oci:work/out", "../out": "oci:out", ".": "oci:work",
		"out/" + digest: "oci:work/out" + digest,
		"/out":          "/out", "app:1": "app:1", "r.example/app" + digest: "r.example/app" + digest, "oci:": "oci:",
	} {
		if got := In("work", ref); got != want {
			t.Errorf("%s: found %s, expected %s", ref, got, want)
		}
	}
	if got := In("", "out/"); got != "out/" {
		t.Errorf("without a directory: found %s", got)
	}
}
