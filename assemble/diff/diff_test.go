package diff_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/diff"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/assemble/subject/subjecttest"
	"github.com/cairn-dev/cairn/packages/apk"
)

type (
	layer = subjecttest.Layer
	img   = subjecttest.Image
)

func compare(t *testing.T, a, b string, o diff.Options) *diff.Result {
	t.Helper()
	r, err := compareErr(t, a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func compareErr(t *testing.T, a, b string, o diff.Options) (*diff.Result, error) {
	t.Helper()
	var sides []*subject.Subject
	for _, name := range []string{a, b} {
		s, err := subject.Open(t.Context(), name, subject.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		s.Name = map[string]string{a: "A", b: "B"}[name]
		sides = append(sides, s)
	}
	return diff.Compare(t.Context(), sides[0], sides[1], o)
}

func layoutOf(t *testing.T, images ...img) string { return subjecttest.Layout(t, images...) + "/" }

// pkg is a package layer as cairn writes it, and its entry in the database.
func pkg(name, version string, files ...string) (layer, apk.InstalledPackage) {
	l := layer{Comment: name + "-" + version}
	seen := map[string]bool{}
	for _, f := range files {
		parts := strings.Split(f, "/")
		for i := 1; i < len(parts); i++ {
			if d := strings.Join(parts[:i], "/"); !seen[d] {
				seen[d] = true
				l.Members = append(l.Members, "d "+d)
			}
		}
		l.Members = append(l.Members, "f "+f+" 0644 "+name+version)
	}
	p := subjecttest.Package(name, version, files...)
	return l, p
}

// built is an image of package layers with a top layer.
func built(config v1.Config, top []string, layers []layer, installed ...apk.InstalledPackage) img {
	return img{Arch: "amd64", Config: config, Layers: append(slices.Clone(layers), layer{Comment: "top", Members: top, Installed: installed})}
}

func pair(t *testing.T) (a, b string) {
	t.Helper()
	musl, muslDB := pkg("musl", "1.2-r0", "lib/libc.so")
	ssl1, ssl1DB := pkg("ssl", "3.0-r9", "usr/lib/ssl.so", "usr/lib/old.so")
	ssl2, ssl2DB := pkg("ssl", "3.0-r10", "usr/lib/ssl.so", "usr/lib/new.so")
	zlib, zlibDB := pkg("zlib", "1.3-r0", "lib/libz.so")
	gone, goneDB := pkg("gone", "1-r0", "usr/bin/gone")
	ssl2DB.License = "Apache-2.0"
	a = layoutOf(t, built(v1.Config{Entrypoint: []string{"/a"}, Env: []string{"X=1"}, User: "0"}, []string{"f etc/conf 0644 one"},
		[]layer{musl, gone, ssl1}, muslDB, goneDB, ssl1DB))
	b = layoutOf(t, built(v1.Config{Entrypoint: []string{"/a"}, Env: []string{"X=2", "Y=3"}, Labels: map[string]string{"l": "v"}}, []string{"f etc/conf 0600 two"},
		[]layer{musl, ssl2, zlib}, muslDB, ssl2DB, zlibDB))
	return a, b
}

func TestSameDigest(t *testing.T) {
	a, _ := pair(t)
	r := compare(t, a, a, diff.Options{})
	if !r.Same || r.Differs() || len(r.Platforms) != 0 {
		t.Errorf("%+v", r)
	}
	if got := text(t, r); got != "same digest: "+r.A.Digest+"\n" {
		t.Error(got)
	}
}

func text(t *testing.T, r *diff.Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteText(&b, diff.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// normal takes out of a text what depends on compression.
func normal(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		fields := strings.Fields(line)
		for _, f := range fields {
			if strings.HasPrefix(f, "sha256:") {
				line = strings.ReplaceAll(line, f, "DIGEST")
			}
		}
		out = append(out, strings.TrimRight(line, "\n"))
	}
	return strings.Join(out, "\n") + "\n"
}

func TestText(t *testing.T) {
	a, b := pair(t)
	got := normal(text(t, compare(t, a, b, diff.Options{})))
	for _, part := range []string{
		"PACKAGES\n  upgraded  ssl   3.0-r9 -> 3.0-r10\n  added     zlib  1.3-r0\n  removed   gone  1-r0\n",
		"  of ssl   1 changed, 1 added, 1 removed\n  of zlib  1 added\n  of gone  ",
		"  changed  /etc/conf                  0644 -> 0600, content\n",
		"LICENCES\n  added  Apache-2.0  ssl\n",
		"CONFIGURATION\n  changed  env X    1 -> 2\n  added    env Y    3\n  added    label l  v\n  removed  user     0\n",
		"LAYERS, 1 shared\n  added    2 DIGEST  ",
		"not compared: advisories: no feed was given\n",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("not there: %q in\n%s", part, got)
		}
	}
}

// paths spells the changes of files.
func paths(p *diff.Platform) []string {
	var out []string
	for _, f := range p.Files {
		line := f.Kind + " " + f.Path
		if len(f.What) > 0 {
			line += " (" + strings.Join(f.What, ", ") + ")"
		}
		out = append(out, line)
	}
	return out
}

// What is read makes no difference to what is found, and a layer that both have
// is not read.
func TestSharedLayersAreNotRead(t *testing.T) {
	a, b := pair(t)
	r := compare(t, a, b, diff.Options{})
	p := &r.Platforms[0]
	want := []string{"changed etc/conf (mode, content)", "removed usr/bin", "removed usr/bin/gone", "changed usr/lib/apk/db/installed (size, content)",
		"added usr/lib/new.so", "removed usr/lib/old.so", "changed usr/lib/ssl.so (size, content)"}
	for _, f := range want {
		if !slices.Contains(paths(p), f) {
			t.Errorf("not there: %s in %q", f, paths(p))
		}
	}
	if p.Read.Skipped != 1 || p.Read.Layers != 6 {
		t.Errorf("read %+v, expected 6 layers and 1 skipped", p.Read)
	}
	full := compare(t, a, b, diff.Options{ReadAll: true})
	q := &full.Platforms[0]
	if !slices.Equal(paths(p), paths(q)) {
		t.Errorf("found %q with all read, %q without", paths(q), paths(p))
	}
	if q.Read.Skipped != 0 || q.Read.Layers != 7 {
		t.Errorf("read %+v, expected 7 layers", q.Read)
	}
}

// A shared layer is read when a path of it is what differs.
func TestSharedLayerIsReadWhenItMatters(t *testing.T) {
	one, oneDB := pkg("one", "1-r0", "etc/x")
	two, twoDB := pkg("two", "1-r0", "etc/y")
	a := layoutOf(t, built(v1.Config{}, nil, []layer{one, two}, oneDB, twoDB))
	for _, c := range []struct {
		top  []string
		want string
	}{
		{[]string{"w etc/x"}, "removed etc/x"},
		{[]string{"f etc/x 0600 other"}, "changed etc/x (mode, size, content)"},
		{[]string{"h etc/z etc/x"}, "added etc/z"},
		{[]string{"l etc/x y"}, "changed etc/x (type, mode, size, content, link)"},
	} {
		b := layoutOf(t, built(v1.Config{}, c.top, []layer{one, two}, oneDB, twoDB))
		p := compare(t, a, b, diff.Options{}).Platforms[0]
		full := compare(t, a, b, diff.Options{ReadAll: true}).Platforms[0]
		if !slices.Contains(paths(&p), c.want) || !slices.Equal(paths(&p), paths(&full)) {
			t.Errorf("%s: found %q, with all read %q", c.top, paths(&p), paths(&full))
		}
		for _, f := range p.Files {
			if f.A != nil && f.A.Type == "unread" || f.B != nil && f.B.Type == "unread" {
				t.Errorf("%s: %s was not read", c.top, f.Path)
			}
		}
	}
}

// A database that does not say the same on both sides vouches for no layer.
func TestDatabasesThatDisagree(t *testing.T) {
	one, oneDB := pkg("one", "1-r0", "etc/x")
	other := subjecttest.Package("one", "1-r0", "etc/other")
	a := layoutOf(t, built(v1.Config{}, nil, []layer{one}, oneDB))
	b := layoutOf(t, built(v1.Config{}, nil, []layer{one}, other))
	p := compare(t, a, b, diff.Options{}).Platforms[0]
	if p.Read.Skipped != 0 {
		t.Errorf("skipped %d", p.Read.Skipped)
	}
}

func TestFilesOfEveryKind(t *testing.T) {
	a := layoutOf(t, img{Arch: "amd64", Layers: []layer{{Members: []string{
		"f same 0644 x", "f content 0644 aa", "f size 0644 a", "f mode 0644 a", "l link one", "f type 0644 a", "x attr user.a 1", "f hard 0644 h", "h alias hard", "f dev 0644 a", "d dir 0755", "f gone 0644 a",
	}}}})
	b := layoutOf(t, img{Arch: "amd64", Layers: []layer{{Members: []string{
		"f same 0644 x", "f content 0644 bb", "f size 0644 ab", "f mode 4755 a", "l link two", "d type", "x attr user.a 2", "f hard 0644 h", "f alias 0644 h", "c dev", "d dir 0700", "f new 0644 a",
	}}}})
	p := compare(t, a, b, diff.Options{}).Platforms[0]
	want := []string{
		"changed alias (hard link)", "changed attr (xattrs)", "changed content (content)", "changed dev (type, size, content, device)",
		"changed dir (mode)", "removed gone", "changed link (link)", "changed mode (mode)", "added new", "changed size (size, content)",
		"changed type (type, mode, size, content)",
	}
	got := paths(&p)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if p.Unchanged.Files != 2 {
		t.Errorf("%d unchanged, expected 2", p.Unchanged.Files)
	}
	if !slices.Contains(p.NotCompared, "packages: A has no installed database") {
		t.Errorf("not compared: %q", p.NotCompared)
	}
}

func TestPackages(t *testing.T) {
	rebuilt := subjecttest.Package("rebuilt", "1-r0")
	rebuilt.Checksum[0] ^= 1
	a := layoutOf(t, built(v1.Config{}, nil, nil, subjecttest.Package("down", "2-r0"), subjecttest.Package("rebuilt", "1-r0"), subjecttest.Package("same", "1-r0"), subjecttest.Package("up", "1.9-r0")))
	b := layoutOf(t, built(v1.Config{}, nil, nil, subjecttest.Package("down", "1-r0"), rebuilt, subjecttest.Package("same", "1-r0"), subjecttest.Package("up", "1.10-r0")))
	p := compare(t, a, b, diff.Options{}).Platforms[0]
	var got []string
	for _, c := range p.Packages {
		got = append(got, c.Kind+" "+c.Name)
	}
	if want := []string{"upgraded up", "downgraded down", "rebuilt rebuilt"}; !slices.Equal(got, want) || p.Unchanged.Packages != 1 {
		t.Errorf("found %q, %d unchanged", got, p.Unchanged.Packages)
	}
}

func TestPlatforms(t *testing.T) {
	one := func(arch, content string) img {
		return img{Arch: arch, Layers: []layer{{Members: []string{"f x 0644 " + content}}}}
	}
	a := layoutOf(t, one("amd64", "same"), one("arm64", "a"))
	b := layoutOf(t, one("amd64", "same"), one("arm64", "b"), one("s390x", "c"))
	r := compare(t, a, b, diff.Options{})
	var got []string
	for _, p := range r.Platforms {
		got = append(got, fmt.Sprintf("%s same=%v %d files %q", p.Platform, p.Same, len(p.Files), p.NotCompared))
	}
	if len(r.Platforms) != 3 || !r.Platforms[0].Same || r.Platforms[1].Same || r.Platforms[2].NotCompared[0] != "only one side has this platform" {
		t.Errorf("found %q", got)
	}
	if r := compare(t, a, b, diff.Options{Platforms: []string{"aarch64"}}); len(r.Platforms) != 1 || r.Platforms[0].Platform != "arm64" {
		t.Errorf("%+v", r.Platforms)
	}
	if _, err := compareErr(t, a, b, diff.Options{Platforms: []string{"riscv64"}}); !errors.Is(err, diff.ErrPlatform) ||
		err.Error() != "riscv64: no such platform: found [amd64 arm64] and [amd64 arm64 s390x]" {
		t.Errorf("found %v", err)
	}
	if got := text(t, r); !strings.Contains(got, "\namd64: the same image\n") {
		t.Error(got)
	}
}

func TestLayersMoved(t *testing.T) {
	l := func(s string) layer { return layer{Members: []string{"f " + s + " 0644 " + s}} }
	a := layoutOf(t, img{Arch: "amd64", Layers: []layer{l("1"), l("2"), l("3"), l("4")}})
	b := layoutOf(t, img{Arch: "amd64", Layers: []layer{l("2"), l("3"), l("1"), l("5")}})
	p := compare(t, a, b, diff.Options{}).Platforms[0]
	if p.Layers.Shared != 3 || len(p.Layers.Moved) != 1 || p.Layers.Moved[0].A != 1 || p.Layers.Moved[0].B != 3 ||
		len(p.Layers.Added) != 1 || p.Layers.Added[0].Position != 4 || len(p.Layers.Removed) != 1 {
		t.Errorf("%+v", p.Layers)
	}
	if p.Pull.Layers != 1 || p.Pull.Bytes <= p.Layers.Added[0].Size || p.Pull.Total <= p.Pull.Bytes {
		t.Errorf("%+v", p.Pull)
	}
}

// The bytes to pull are those of the blobs, counted one by one.
func TestPull(t *testing.T) {
	a, b := pair(t)
	r := compare(t, a, b, diff.Options{})
	size := func(dir string) map[string]int64 {
		out := map[string]int64{}
		files, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			fi, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			out[filepath.Base(f)] = fi.Size()
		}
		return out
	}
	has, total, missing := size(a), int64(0), int64(0)
	for name, n := range size(b) {
		total += n
		if _, ok := has[name]; !ok {
			missing += n
		}
	}
	if p := r.Platforms[0].Pull; p.Bytes != missing || p.Total != total {
		t.Errorf("%+v, expected %d of %d", p, missing, total)
	}
}

const spdx = `{"spdxVersion":"SPDX-2.3","packages":[
 {"name":"lib","versionInfo":"%s","licenseDeclared":"%s","externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:apk/x/lib@1"}]},
 {"name":"other","licenseDeclared":"NOASSERTION","licenseConcluded":"MIT"}]}`

func TestAttachedSBOM(t *testing.T) {
	a, b := pair(t)
	r := compare(t, a, b, diff.Options{Documents: func(_ context.Context, s *subject.Subject, _ v1.Hash) ([]diff.Document, error) {
		raw := fmt.Sprintf(spdx, "1", "MIT")
		if s.Name == "B" {
			raw = fmt.Sprintf(spdx, "2", "ISC")
		}
		d, err := diff.ParseDocument([]byte(raw))
		return []diff.Document{*d}, err
	}})
	s := r.Platforms[0].SBOM
	if s.From != "attached SPDX-2.3 documents (signatures not checked)" || len(s.Components) != 1 || s.Components[0].Kind != "changed" ||
		s.Components[0].A.Version != "1" || s.Components[0].B.License != "ISC" {
		t.Errorf("%+v", s)
	}
	if len(s.Licenses) != 1 || s.Licenses[0].License != "ISC" || s.Licenses[0].Kind != "added" {
		t.Errorf("%+v", s.Licenses)
	}
	if got := text(t, r); !strings.Contains(got, "COMPONENTS, by attached SPDX-2.3 documents (signatures not checked)\n  changed  lib  1 MIT -> 2 ISC\n") {
		t.Error(got)
	}
	failed := errors.New("registry is gone")
	if _, err := compareErr(t, a, b, diff.Options{Documents: func(context.Context, *subject.Subject, v1.Hash) ([]diff.Document, error) {
		return nil, failed
	}}); !errors.Is(err, failed) {
		t.Errorf("found %v", err)
	}
}

// What comes from an image reaches a terminal as text and nothing else.
func TestTextIsPrintable(t *testing.T) {
	evil := "x\x1b[2Jy\u202ez"
	a := layoutOf(t, img{Arch: "amd64", Layers: []layer{{Comment: evil, Members: []string{"f a"}}}, Config: v1.Config{User: evil}})
	b := layoutOf(t, img{Arch: "amd64", Layers: []layer{{Comment: evil, Members: []string{"f a 0644 x", "f a" + strings.ReplaceAll(evil, " ", "")}}},
		Config: v1.Config{Labels: map[string]string{evil: strings.Repeat("long", 500)}}})
	got := text(t, compare(t, a, b, diff.Options{}))
	if strings.ContainsAny(got, "\x1b\u202e") || !strings.Contains(got, `x\u001b[2Jy\u202ez`) {
		t.Errorf("%q", got)
	}
	for line := range strings.Lines(got) {
		if len(line) > 1000 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

// The same two images give the same bytes, and lists are never null.
func TestJSON(t *testing.T) {
	a, b := pair(t)
	var all []string
	for range 3 {
		raw, err := json.Marshal(compare(t, a, b, diff.Options{}))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(raw))
	}
	if all[0] != all[1] || all[1] != all[2] {
		t.Error("not the same every time")
	}
	raw, err := json.Marshal(compare(t, a, a, diff.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(all, string(raw)) {
		if strings.Contains(s, "null") {
			t.Errorf("null in %s", s)
		}
	}
}

func TestCancelled(t *testing.T) {
	a, b := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x, err := subject.Open(t.Context(), a, subject.Options{})
	if err != nil {
		t.Fatal(err)
	}
	y, err := subject.Open(t.Context(), b, subject.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := diff.Compare(ctx, x, y, diff.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("found %v", err)
	}
}
