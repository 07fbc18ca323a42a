package config

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sliceDefinitions = `openssl:
  libs: {paths: [usr/lib/*], needs: [config]}
  config: {paths: [etc/ssl/**]}
zlib:
  libs: {paths: [usr/lib/libz.so.1]}
`

func TestSliced(t *testing.T) {
	c, err := LoadBytes("image.yaml", []byte(`slices: etc/slices.yaml
contents:
  packages:
    - busybox
    - {name: openssl>=3, slice: libs}
    - name: zlib
      slice: [libs]
`), in(map[string]string{"etc/slices.yaml": sliceDefinitions}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"busybox", "openssl>=3", "zlib"}, c.Contents.Packages); diff != "" {
		t.Error(diff)
	}
	want := []Sliced{{1, "openssl", []string{"libs"}}, {2, "zlib", []string{"libs"}}}
	if diff := cmp.Diff(want, c.Sliced()); diff != "" {
		t.Error(diff)
	}
	if at := c.SlicedAt("zlib"); at != "image.yaml:6:7" {
		t.Errorf("found %s", at)
	}
	if f := c.SliceFiles(); len(f) != 1 || f[0].Path != "etc/slices.yaml" || string(f[0].Bytes) != sliceDefinitions {
		t.Errorf("found %v", f)
	}
	if names := c.SliceDefinitions().Names("openssl"); len(names) != 2 {
		t.Errorf("found %v", names)
	}
}

// A configuration that is rendered asks for the same slices.
func TestSlicedIsRendered(t *testing.T) {
	files := in(map[string]string{"slices.yaml": sliceDefinitions, "base.yaml": `slices: [slices.yaml]
contents:
  packages: [{name: zlib, slice: libs}, busybox]
`})
	c, err := LoadBytes("image.yaml", []byte(`include: base.yaml
contents:
  packages: [curl, {name: openssl, slice: [libs, config]}]
`), files)
	if err != nil {
		t.Fatal(err)
	}
	want := []Sliced{{0, "zlib", []string{"libs"}}, {3, "openssl", []string{"libs", "config"}}}
	if diff := cmp.Diff(want, c.Sliced()); diff != "" {
		t.Fatal(diff)
	}
	for name, render := range map[string]func() ([]byte, error){"yaml": c.YAML, "json": c.JSON} {
		text, err := render()
		if err != nil {
			t.Fatal(err)
		}
		again, err := LoadBytes("again.yaml", text, files)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if diff := cmp.Diff(c.Sliced(), again.Sliced()); diff != "" {
			t.Errorf("%s: %s\n%s", name, diff, text)
		}
		if diff := cmp.Diff(c.Contents, again.Contents); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	text, err := c.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Contents struct{ Packages []any } }
	if err := json.Unmarshal(text, &all); err != nil || len(all.Contents.Packages) != 4 {
		t.Errorf("%v: found %v", err, all)
	}
}

func TestSlicedMistakes(t *testing.T) {
	for _, tc := range []struct{ config, slices, want string }{
		{"contents: {packages: [{name: openssl, slice: lib}]}", sliceDefinitions,
			"image.yaml:2:46: contents.packages[0].slice[0]: unknown slice: found \"lib\", expected one of config, libs\n  hint: did you mean libs?"},
		{"contents: {packages: [{name: opensl, slice: libs}]}", sliceDefinitions,
			"image.yaml:2:45: contents.packages[0].slice[0]: unknown slice: found \"opensl\", which has no slices, expected one of openssl, zlib\n  hint: did you mean openssl?"},
		{"contents: {packages: [{name: openssl, slice: libs}, 'openssl<4']}", sliceDefinitions,
			"image.yaml:2:53: contents.packages[1]: contradiction: found all of openssl, but only slices of it at image.yaml:2:23"},
		{"contents: {packages: [a]}", "curl: {b: {paths: [x], needs: [zlib/d]}}",
			"slices.yaml:1:1: slice zlib/d: unknown slice: found \"zlib\", which has no slices, expected one of curl"},
		{"contents: {packages: [a]}", "a: {b: {path: [x]}}",
			"slices.yaml:1:8: a.b.paths: missing: expected paths here\nslices.yaml:1:9: a.b.path: unknown key: expected one of paths, exclude, needs\n  hint: did you mean paths?"},
		{"contents: {packages: [{name: a, slice: x}, {name: b, slice: x}]}", "a:\n  x: {paths: [usr/bin/x]}\nb:\n  x: {paths: [usr/bin/x]}",
			"slices.yaml:4:1: slice b/x: conflict: usr/bin/x is a file of a/x too, at slices.yaml:2"},
		{"contents: {packages: [{name: a, slice: }]}", sliceDefinitions,
			"image.yaml:2:23: contents.packages[0].slice: missing: expected a list"},
	} {
		_, err := LoadBytes("image.yaml", []byte("slices: slices.yaml\n"+tc.config), in(map[string]string{"slices.yaml": tc.slices}))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s:\nfound    %v\nexpected %s", tc.config, err, tc.want)
		}
	}
	_, err := LoadBytes("image.yaml", []byte("slices: [a.yaml, b.yaml]\ncontents: {packages: [a]}"),
		in(map[string]string{"a.yaml": sliceDefinitions, "b.yaml": sliceDefinitions}))
	if err == nil || !strings.HasPrefix(err.Error(), "b.yaml:3:1: slice openssl/config: defined twice: first at a.yaml:3") {
		t.Errorf("found %v", err)
	}
}

// An entry that an alias repeats is read twice and changed once.
func TestSlicedAlias(t *testing.T) {
	c, err := LoadBytes("image.yaml", []byte("slices: &f slices.yaml\nannotations: {a: *f}\ncontents: {packages: [&a {name: zlib, slice: &l libs}, *a, {name: openssl, slice: *l}]}"),
		in(map[string]string{"slices.yaml": sliceDefinitions}))
	if err != nil {
		t.Fatal(err)
	}
	want := []Sliced{{0, "zlib", []string{"libs"}}, {1, "zlib", []string{"libs"}}, {2, "openssl", []string{"libs"}}}
	if diff := cmp.Diff(want, c.Sliced()); diff != "" {
		t.Error(diff)
	}
}
