package config

//lint:file-ignore SA1019 apko deprecates include, cairn keeps it

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chainguard.dev/apko/pkg/build/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"
)

const fuzzSlices = "b: {c: {paths: [x]}}\nd: {c: {paths: [y], needs: [b/c]}}"

// FuzzLoadBytes: no panic; an error names its place; what loads can be rendered
// and loads again to the same.
func FuzzLoadBytes(f *testing.F) {
	f.Add([]byte(wholeBase))
	f.Add([]byte(withSecrets))
	f.Add([]byte("files: [{path: /a, source: x, sha256: " + digestX + "}]"))
	f.Add([]byte("\xef\xbb\xbfa: &a {<<: *a}\r\n---\n"))
	f.Add([]byte("paths: [{path: /a, type: symlink, source: b, permissions: 0x1ff}]"))
	f.Add([]byte("contents: {packages: [a<b, 'c~1@d', !!binary YQ==]}"))
	if archive, err := txtar.ParseFile("testdata/bad.txtar"); err == nil {
		for _, file := range archive.Files {
			f.Add(file.Data)
		}
	}
	o := in(map[string]string{"x": "x", "base/grand.yaml": "cmd: x", "image.yaml": "include: image.yaml", "1": "include: x",
		"s": fuzzSlices})
	file := filepath.Join(f.TempDir(), "apko.yaml")
	f.Add([]byte("contents: {packages: [a, &x {name: b, slice: &y c}, *x, {name: d, slice: [*y]}]}\nslices: s\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := LoadBytes("fuzz.yaml", data, o)
		var e *Errors
		switch {
		case errors.As(err, &e):
			checkProblems(t, err)
			_ = err.Error()
			return
		case err != nil:
			t.Fatalf("%T: %v", err, err)
		}
		_, _ = c.World()
		_, _ = c.RepositoryKeys()
		_, _, _, _ = c.EntrypointArgs(), c.Env(), c.Users(), c.Architectures()
		again(t, c)
		asApko(t, file, data, c)
	})
}

// asApko compares with what apko makes of a configuration that it understands.
func asApko(t *testing.T, file string, data []byte, c *Config) {
	if c.Include != "" || len(c.Files) > 0 || c.Keyrings != nil || c.Format != "" || c.Contents.BaseImage != nil || len(c.Slices)+len(c.Sliced()) > 0 {
		return
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	want, sum, err := apkoLoad(file, nil)
	if err != nil {
		if strings.Contains(err.Error(), "not found in type") { // own keys without values
			return
		}
		t.Fatalf("apko refuses it: %v", err)
	}
	opts := cmp.Options{cmpopts.IgnoreFields(types.ImageConfiguration{}, "Archs")} // apko keeps duplicates and all
	if c.Entrypoint.Type == serviceBundle || len(want.Contents.Repositories)+len(want.Contents.BuildRepositories)+len(want.Contents.RuntimeOnlyRepositories) > 0 {
		return // s6 twice; apko trims "/" to nothing
	}
	if diff := cmp.Diff(want, &c.ImageConfiguration, opts); diff != "" {
		t.Fatalf("-apko +cairn:\n%s", diff)
	}
	if sum != c.ApkoChecksum {
		t.Fatalf("checksum %s, apko has %s", c.ApkoChecksum, sum)
	}
}

// again renders a configuration and loads that.
func again(t *testing.T, c *Config) {
	if hasCredentials(c) {
		return
	}
	text, err := c.YAML()
	if err != nil {
		t.Fatalf("%v", err)
	}
	next, err := LoadBytes("again.yaml", text, in(map[string]string{"x": "x", "s": fuzzSlices}))
	if err != nil {
		t.Fatalf("own YAML does not load: %v\n%s", err, text)
	}
	want := c.ImageConfiguration
	want.Include = ""
	opts := cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreFields(File{}, "Opened")}
	if diff := cmp.Diff(want, next.ImageConfiguration, opts); diff != "" {
		t.Fatalf("own YAML loads differently (-before +after):\n%s%s", diff, text)
	}
	if diff := cmp.Diff(c.Sliced(), next.Sliced(), opts); diff != "" {
		t.Fatalf("own YAML asks for other slices (-before +after):\n%s%s", diff, text)
	}
	if diff := cmp.Diff(c.Files, next.Files, opts); diff != "" {
		t.Fatalf("own YAML loads other files (-before +after):\n%s%s", diff, text)
	}
}

// hasCredentials tells whether rendering hides something.
func hasCredentials(c *Config) bool {
	r := c.redacted()
	a, b := c.ImageConfiguration, r.ImageConfiguration
	a.Include = ""
	return !cmp.Equal(a, b) || !cmp.Equal(c.Keyrings, r.Keyrings, cmpopts.EquateEmpty())
}
