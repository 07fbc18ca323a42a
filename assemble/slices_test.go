package assemble

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/lint"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

const opensslSlices = `libcrypto3:
  libs:
    paths: [lib/libcrypto.so.3, usr/lib/libcrypto.so.3]
    needs: [config]
  config: {paths: [etc/ssl/openssl.cnf, etc/ssl/certs/]}
tzdata:
  utc: {paths: [usr/share/zoneinfo/UTC]}
  europe: {paths: ["usr/share/zoneinfo/Europe/**"], needs: [utc]}
`

// realSlices loads a configuration of Alpine's packages.
func realSlices(t *testing.T, f *fixture, packages string) string {
	t.Helper()
	boot, err := filepath.Abs(apktest.Data(t, "alpine-3.19-boot"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(filepath.Join(filepath.Dir(boot), "alpine-3.19", "keys", "*.pub"))
	if err != nil {
		t.Fatal(err)
	}
	f.write("slices.yaml", opensslSlices)
	return "slices: " + f.dir + "/slices.yaml\ncontents:\n  repositories: [" + boot + "]\n  keyring: [" +
		strings.Join(keys, ", ") + "]\n  packages: [" + packages + "]\narchs: [x86_64]\n"
}

// A layer of slices has exactly the package's own members that are kept, as they
// are, in their order, and is the same in every image.
func TestSliceOfRealPackages(t *testing.T) {
	f := newFixture(t)
	text := realSlices(t, f, "openssl, {name: libcrypto3, slice: libs}, {name: tzdata, slice: europe}")
	res := f.build(f.load("image.yaml", text), Options{})
	other := f.build(f.load("other.yaml", realSlices(t, f, "{name: tzdata, slice: europe}")), Options{})
	tree, found := res.jobs[0].tree, 0
	for i, l := range res.jobs[0].written {
		if l.Kind != layer.Rewritten {
			continue
		}
		found++
		p := &tree.Packages[l.Packages[0]]
		if p.Slice == nil {
			t.Errorf("layer %d: %s is no slice", i, p.Receipt.Package.ID())
			continue
		}
		sameMembers(t, f, p, l)
		if p.Receipt.Package.Name == "tzdata" && !slices.ContainsFunc(other.jobs[0].written, func(o layer.Layer) bool { return o.Digest == l.Digest }) {
			t.Errorf("%s is not in the other image", l.Digest)
		}
	}
	if found != 2 {
		t.Errorf("%d layers, expected 2", found)
	}
	db := f.installed(res.Index.Images()[0])
	for _, want := range []string{"T:Crypto library from openssl (only config, libs)\n", "R:libcrypto.so.3\n", "o:openssl\n", "T:Timezone data (only europe, utc)\n"} {
		if !strings.Contains(db, want) {
			t.Errorf("the database has no %q", want)
		}
	}
	for _, gone := range []string{"R:legacy.so\n", "R:CA.pl\n", "R:New_York\n"} {
		if strings.Contains(db, gone) {
			t.Errorf("the database has %q", gone)
		}
	}
	all, err := apk.ParseInstalled(strings.NewReader(db))
	if err != nil || len(all) != len(tree.Packages) {
		t.Errorf("%d packages, %v", len(all), err)
	}
}

// sameMembers compares a layer with the data section of its package.
func sameMembers(t *testing.T, f *fixture, p *rootfs.Package, l layer.Layer) {
	t.Helper()
	want := membersOf(t, f.ws.Store().BlobPath(p.Receipt))
	var kept []member
	for i, m := range want {
		if p.Slice.Keep[i] {
			kept = append(kept, m)
		}
	}
	got := membersOf(t, l.Path)
	if slices.ContainsFunc(kept, func(m member) bool { return m.Header.Typeflag == tar.TypeLink }) {
		// A link to a name that is left out is a file in the layer: contents count.
		kept, got = resolved(want, kept), resolved(got, got)
	}
	if diff := cmp.Diff(kept, got); diff != "" {
		t.Errorf("%s: members (-package's +layer's):\n%s", p.Receipt.Package.ID(), diff)
	}
	if len(kept) == 0 || len(kept) == len(want) {
		t.Errorf("%s: %d of %d members kept", p.Receipt.Package.ID(), len(kept), len(want))
	}
}

// resolved gives hard links among list the content of what they point to, and leaves
// of each header what both have. The result is sorted by name.
func resolved(all, list []member) []member {
	bodies := map[string]string{}
	for _, m := range all {
		bodies[m.Header.Name] = m.Body
		if m.Header.Typeflag == tar.TypeLink {
			bodies[m.Header.Name] = bodies[m.Header.Linkname]
		}
	}
	var out []member
	for _, m := range list {
		h := tar.Header{Name: strings.TrimSuffix(m.Header.Name, "/"), Mode: m.Header.Mode, Uid: m.Header.Uid, Gid: m.Header.Gid, ModTime: m.Header.ModTime}
		out = append(out, member{h, bodies[m.Header.Name]})
	}
	slices.SortFunc(out, func(a, b member) int { return strings.Compare(a.Header.Name, b.Header.Name) })
	return out
}

type member struct {
	Header tar.Header
	Body   string
}

func membersOf(t *testing.T, blob string) []member {
	t.Helper()
	f, err := os.Open(blob)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []member
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		var body bytes.Buffer
		if err == nil {
			_, err = io.Copy(&body, tr)
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, member{*h, body.String()})
	}
}

// What slices came to is in the lock; a lock that says something else is stale.
func TestSlicesAreLocked(t *testing.T) {
	f := newFixture(t)
	cfg := f.load("image.yaml", realSlices(t, f, "{name: libcrypto3, slice: libs}"))
	l := f.throughFile(f.lock(cfg, LockOptions{}))
	if s := l.Cairn.Slices; len(s) != 1 || s[0].Package != "libcrypto3" || !slices.Equal(s[0].Slices, []string{"config", "libs"}) || s[0].Kept != 9 || s[0].Total <= s[0].Kept {
		t.Errorf("found %+v", s)
	}
	f.build(cfg, Options{Lock: l})
	l.Cairn.Slices[0].Files[0] ^= 1
	err := f.fail(cfg, Options{Lock: l}, "slices of libcrypto3 (x86_64): locked 9 entries")
	var stale *StaleError
	if !errors.As(err, &stale) {
		t.Errorf("found %T", err)
	}
}

// A slice that is too small is what lint finds: libraries that nothing has.
func TestLintFindsSlicesThatAreTooSmall(t *testing.T) {
	f := newFixture(t)
	for slice, want := range map[string]string{"libs": "", "config": "unresolved-library /lib/libssl.so.3 needs libcrypto.so.3, which is nowhere in the image"} {
		text := strings.Replace(realSlices(t, f, "libssl3, {name: libcrypto3, slice: "+slice+"}"), "slices.yaml", "small.yaml", 1)
		f.write("small.yaml", strings.Replace(opensslSlices, "    needs: [config]\n", "", 1))
		cfg := f.load("image.yaml", text)
		planned, err := Plan(t.Context(), f.ws, cfg, Options{})
		if err != nil {
			t.Fatal(err)
		}
		in, err := lint.OfPlan(t.Context(), cfg, lint.Planned{Arch: planned[0].Arch, Tree: planned[0].Tree}, f.ws.Store(), nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := lint.Run(t.Context(), in, lint.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range res.Findings {
			if n.Rule == "unresolved-library" {
				got = append(got, strings.TrimSpace(n.Rule+" "+n.Path+" "+n.Message))
			}
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("slice %s: found %q, expected %q", slice, got, want)
		}
	}
}
