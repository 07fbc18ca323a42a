package assemble

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

var (
	randomDirs  = []string{"etc", "bin", "lib", "usr", "usr/bin", "usr/lib", "usr/share", "opt", "opt/a", "var/lib"}
	randomNames = []string{"a", "b", "c", "d", "e"}
)

// randomSpec is a package with what makes stacking hard: links in place of
// directories, files of others, hard links, odd modes.
func randomSpec(r *rand.Rand, name string, built int64) apktest.Spec {
	s := spec(name, "1-r0", built)
	seen := map[string]bool{}
	add := func(f apktest.File) {
		if !seen[f.Path] {
			seen[f.Path] = true
			f.MTime = built
			s.Files = append(s.Files, f)
			slices.SortStableFunc(s.Files, directoriesFirst)
		}
	}
	if name == "p0" && r.IntN(2) == 0 {
		add(apktest.File{Path: "usr/lib", Type: apk.TypeDir})
		add(apktest.File{Path: "lib", Type: apk.TypeSymlink, Link: "usr/lib"})
	}
	for range 2 + r.IntN(6) {
		dir := randomDirs[r.IntN(len(randomDirs))]
		p := dir + "/" + randomNames[r.IntN(len(randomNames))]
		switch r.IntN(8) {
		case 0:
			add(apktest.File{Path: dir, Type: apk.TypeDir, Mode: []int64{0o755, 0o700, 0o1777}[r.IntN(3)]})
		case 1:
			add(apktest.File{Path: p + "-to", Type: apk.TypeSymlink, Link: "/" + randomDirs[r.IntN(len(randomDirs))]})
		case 2:
			add(apktest.File{Path: p, Content: strings.Repeat(name, 1+r.IntN(4))})
			add(apktest.File{Path: p + "-link", Type: apk.TypeHardlink, Link: p})
		default:
			add(apktest.File{Path: p, Content: strings.Repeat(name, r.IntN(60000)), Mode: []int64{0o644, 0o755, 0o4755}[r.IntN(3)]})
		}
	}
	s.Package.ReplacesPriority = int64(r.IntN(2))
	for other := range 6 {
		if r.IntN(30) > 0 {
			s.Package.Replaces = append(s.Package.Replaces, apk.Dependency{Name: fmt.Sprintf("p%d", other)})
		}
	}
	return s
}

// directoriesFirst orders directories by depth, before all else.
func directoriesFirst(a, b apktest.File) int {
	rank := func(f apktest.File) int {
		if f.Type == apk.TypeDir {
			return strings.Count(f.Path, "/")
		}
		return 1 << 10
	}
	return rank(a) - rank(b)
}

// TestRandomOnBase: whatever the packages, installing some on top of an image of
// the others leaves what installing all does, times apart.
func TestRandomOnBase(t *testing.T) {
	built := 0
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 7))
		f := newFixture(t)
		var specs []apktest.Spec
		for i := range 6 {
			specs = append(specs, randomSpec(r, fmt.Sprintf("p%d", i), int64(100+i)))
		}
		f.packages([]string{"x86_64"}, specs...)
		whole, err := Build(t.Context(), f.ws, f.config("  packages: [p0, p1, p2, p3, p4, p5]\narchs: [x86_64]\n"), Options{})
		var conflict *rootfs.ConflictError
		if errors.As(err, &conflict) || err != nil && strings.Contains(err.Error(), "package p") {
			continue // no image in either way
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		built++
		f.base("base", "  packages: [p0, p1, p2]\narchs: [x86_64]\n")
		on := f.build(f.onBase("p3, p4, p5", "archs: [x86_64]\n"), Options{})
		got, want := f.files(on.Index.Images()[0]), f.files(whole.Index.Images()[0])
		for _, p := range slices.Sorted(maps.Keys(want)) {
			g, w := got[p], want[p]
			g.MTime, w.MTime = 0, 0
			if diff := cmp.Diff(w, g); diff != "" {
				t.Errorf("seed %d: %s:\n%s", seed, p, diff)
			}
			delete(got, p)
		}
		for p := range got {
			t.Errorf("seed %d: %s: not in the image of everything", seed, p)
		}
	}
	if built < 10 {
		t.Errorf("only %d of the images can be built", built)
	}
	t.Logf("%d images", built)
}
