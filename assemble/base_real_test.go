package assemble

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// TestRealPackagesOnBase: Alpine's packages, some in a base, some on top, and all
// at once: the same files, and every line of the database.
func TestRealPackagesOnBase(t *testing.T) {
	boot, err := filepath.Abs(apktest.Data(t, "alpine-3.19-boot"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(filepath.Join(filepath.Dir(boot), "alpine-3.19", "keys", "*.pub"))
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	contents := func(pkgs string) string {
		return "contents:\n  repositories: [" + boot + "]\n  keyring: [" + strings.Join(keys, ", ") + "]\n  packages: [" + pkgs + "]\n"
	}
	const low, high = "alpine-baselayout, busybox, apk-tools, alpine-keys, ca-certificates-bundle", "openssh, openssl, tzdata"
	const arch = "archs: [x86_64]\n"
	base := f.build(f.load("low.yaml", contents(low)+arch), Options{Outputs: []string{"oci:" + f.dir + "/base"}})
	f.index("base", "x86_64", f.installed(base.Index.Images()[0]))
	top := f.build(f.load("high.yaml", contents(high)+"  baseimage: {image: "+f.dir+"/base, apkindex: "+f.dir+"/base/metadata}\n"+arch), Options{SBOMDir: t.TempDir()})
	whole := f.build(f.load("whole.yaml", contents(low+", "+high)+arch), Options{})
	f.sameLayersBelow(base.Index.Images()[0], top.Index.Images()[0])
	got, want := f.files(top.Index.Images()[0]), f.files(whole.Index.Images()[0])
	if len(got) < 1000 {
		t.Errorf("only %d paths", len(got))
	}
	for _, p := range slices.Sorted(maps.Keys(want)) {
		g, w := got[p], want[p]
		g.MTime, w.MTime = 0, 0
		if diff := cmp.Diff(w, g); diff != "" {
			t.Errorf("%s:\n%s", p, diff)
		}
		delete(got, p)
	}
	for p := range got {
		t.Errorf("%s: not in the image of everything", p)
	}
}
