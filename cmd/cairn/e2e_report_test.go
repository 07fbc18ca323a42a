//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/diff"
	"github.com/cairn-dev/cairn/assemble/subject/subjecttest"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// alpinePair builds two images of real Alpine packages, the second with one
// package more, and returns their configurations.
func alpinePair(t *testing.T) (w *world, a, b string) {
	t.Helper()
	w = newE2E(t)
	keys, err := filepath.Glob(filepath.Join(apktest.Data(t, "alpine-3.19", "keys"), "*.pub"))
	if err != nil || len(keys) == 0 {
		t.Fatalf("no keys: %v", err)
	}
	for i := range keys {
		keys[i] = absolute(t, keys[i])
	}
	repository := absolute(t, apktest.Data(t, "alpine-3.19-boot"))
	w.write("a.yaml", contents(repository, keys, []string{"alpine-base", "openssh"}))
	w.write("b.yaml", contents(repository, keys, []string{"alpine-base", "openssh-client-default", "chrony"})+"accounts:\n  run-as: 65532\n")
	for _, name := range []string{"a", "b"} {
		w.makes(w.path(name+".yaml"), name+":e2e", "--kit", "--output="+w.path(name)+"/")
	}
	return w, w.path("a"), w.path("b")
}

// What cairn diff says of the files is what umoci's unpacked trees say.
func TestDiffUmoci(t *testing.T) {
	w, a, b := alpinePair(t)
	left, right := diskNodes(t, umociUnpack(t, a, "e2e")), diskNodes(t, umociUnpack(t, b, "e2e"))
	for _, flags := range [][]string{nil, {"--read-all"}} {
		var r diff.Result
		if err := json.Unmarshal([]byte(w.cairn(append([]string{"diff", "--format=json", a + "/", b + "/"}, flags...)...)), &r); err != nil {
			t.Fatal(err)
		}
		found := map[string]diff.FileChange{}
		for _, f := range r.Platforms[0].Files {
			found[f.Path] = f
		}
		differ := 0
		for _, path := range bothPaths(left, right) {
			x, y := left[path], right[path]
			x.NLink, y.NLink = 0, 0
			f, there := found[path]
			want := x != y
			if want {
				differ++
			}
			// Which package has a path is no property of a tree.
			if there && len(f.What) == 1 && (f.What[0] == "package" || f.What[0] == "hard link") {
				there = false
			}
			if there != want {
				t.Errorf("/%s: cairn %v %+v, umoci\n %v\n %v", path, there, f, x, y)
			}
			for _, side := range []struct {
				n node
				f *diff.File
			}{{x, f.A}, {y, f.B}} {
				if side.f != nil && (side.f.Mode != side.n.Mode && side.n.Type != "symlink" || side.f.UID != side.n.UID || side.f.GID != side.n.GID ||
					side.f.SHA256 != side.n.SHA256 || side.f.Link != side.n.Link) {
					t.Errorf("/%s: cairn %+v, umoci %v", path, *side.f, side.n)
				}
			}
		}
		if differ < 20 {
			t.Errorf("%d paths differ: too few to show anything", differ)
		}
		t.Logf("%v: %d of %d paths differ, read %+v", flags, differ, len(bothPaths(left, right)), r.Platforms[0].Read)
	}
}

func bothPaths(a, b nodes) []string {
	var out []string
	for p := range a {
		out = append(out, p)
	}
	for p := range b {
		if _, ok := a[p]; !ok {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// browsed is what the script report.mjs found.
type browsed struct {
	Console, Requests, Dialogs, Violations []string
	Steps                                  struct {
		Paths, Matches, FirstPath, Tile, Opened, Filtered, Package, PackageText, Hash string
		Rows, More, Tiles, PackageFiles, Good, Platforms, Loaded, Searched            int
		FocusBack, Wide                                                               bool
		Sorted                                                                        []int64
		Badges, Second                                                                []string
	}
}

// browse opens a page in Chromium, which make e2e-report installs.
func browse(t *testing.T, page, shots, search, name string) browsed {
	t.Helper()
	needTool(t, "node")
	script := filepath.Join(os.Getenv("CAIRN_E2E"), "report", "report.mjs")
	if _, err := os.Stat(script); os.Getenv("CAIRN_E2E") == "" || err != nil {
		t.Skip("no browser: run make e2e-report")
	}
	shots = filepath.Join(os.TempDir(), "cairn-report", shots)
	if err := os.MkdirAll(shots, 0o755); err != nil {
		t.Fatal(err)
	}
	var out browsed
	if err := json.Unmarshal([]byte(mustRun(t, "node", script, page, shots, search, name)), &out); err != nil {
		t.Fatal(err)
	}
	for what, list := range map[string][]string{"console": out.Console, "requests": out.Requests, "dialogs": out.Dialogs, "axe": out.Violations} {
		if len(list) > 0 {
			t.Errorf("%s: %s", what, strings.Join(list, "\n"))
		}
	}
	if out.Steps.Wide {
		t.Error("wider than a small screen")
	}
	if !slices.IsSortedFunc(out.Steps.Sorted, func(a, b int64) int { return int(b - a) }) || len(out.Steps.Sorted) == 0 {
		t.Errorf("by size: %v", out.Steps.Sorted)
	}
	return out
}

// The page of real packages: search, picture, package page.
func TestReportBrowser(t *testing.T) {
	w, _, b := alpinePair(t)
	page := w.path("report.html")
	w.cairn("report", "--html="+page, b+"/")
	// With a feed the page has a table more, which has to be as good.
	w.write("feed.json", `{"urlprefix": "https://dl-cdn.alpinelinux.org/alpine", "distroversion": "v3.19", "packages": [
		{"pkg": {"name": "openssl", "secfixes": {"99-r0": ["CVE-2026-1", "CVE-2026-2"]}}}]}`)
	fed := w.path("fed.html")
	w.cairn("report", "--feed="+w.path("feed.json"), "--html="+fed, b+"/")
	if badges := browse(t, fed, "advisories", "libssl", "libssl3").Steps.Badges; !slices.Contains(badges, "Advisories 4 findings") {
		t.Errorf("badges %q", badges)
	}
	s := browse(t, page, "alpine", "libssl", "libssl3").Steps
	if !strings.Contains(s.FirstPath, "libssl.so.3") || s.Rows == 0 || s.More != 200 {
		t.Errorf("search: %d rows, first %q, %d after more", s.Rows, s.FirstPath, s.More)
	}
	if s.Tiles < 30 || s.Opened == "" || !strings.HasPrefix(s.Tile, strings.Fields(s.Opened)[0]+" ") || !s.FocusBack {
		t.Errorf("picture: %d tiles, %q opened %q, focus back %v", s.Tiles, s.Tile, s.Opened, s.FocusBack)
	}
	if s.Package != "libssl3" || s.PackageFiles == 0 || !strings.Contains(s.PackageText, "Needed by") || !strings.HasPrefix(s.Hash, "#package-0-") {
		t.Errorf("package page: %q, %d files, at %q", s.Package, s.PackageFiles, s.Hash)
	}
	if want := []string{"Signatures Not checked", "Attestations 0 found", "Rebuild kit Attached", "Advisories Not looked at"}; !slices.Equal(s.Badges, want) || s.Good != 0 {
		t.Errorf("badges %q, %d green", s.Badges, s.Good)
	}
}

// An image of 20,000 files, of two platforms, that says hostile things.
func TestReportBrowserLargeAndHostile(t *testing.T) {
	w := newE2E(t)
	evil := `"><img src=x onerror=alert(1)></script><script>alert(2)</script>`
	members := []string{`f etc/"><script>alert(3)</script> 0644 x`, "l etc/link </script><script>alert(4)</script>"}
	var paths []string
	for i := range 20_000 {
		p := fmt.Sprintf("usr/share/many/%03d/file-%05d", i/100, i)
		members, paths = append(members, "f "+p), append(paths, p)
	}
	many, other := subjecttest.Package("many", "1-r0", paths...), subjecttest.Package("other", "1-r0", "etc/other")
	many.Description, many.License, other.Origin, other.URL = evil, evil, evil, "javascript:alert(5)"
	img := subjecttest.Image{Arch: "amd64", Annotations: map[string]string{evil: evil}, Layers: []subjecttest.Layer{
		{Comment: evil, Members: members}, {Members: []string{"f etc/other"}, Installed: []apk.InstalledPackage{many, other}}}}
	second := img
	second.Arch = "arm64"
	page := w.path("large.html")
	w.cairn("report", "--html="+page, subjecttest.Layout(t, img, second)+"/")
	s := browse(t, page, "large", "file-19999", "many").Steps
	if s.Rows != 1 || s.FirstPath != "/usr/share/many/199/file-19999" || s.Package != "many" || s.PackageFiles != 100 {
		t.Errorf("%d rows, first %q; %s with %d files", s.Rows, s.FirstPath, s.Package, s.PackageFiles)
	}
	if s.Platforms != 2 || !slices.Equal(s.Second, []string{"p1"}) {
		t.Errorf("%d platforms, then %v", s.Platforms, s.Second)
	}
	t.Logf("loaded in %d ms, searched in %d ms", s.Loaded, s.Searched)
}
