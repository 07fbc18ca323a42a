package sbom

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

func openStore(t testing.TB) *store.Store {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func ingest(t testing.TB, st *store.Store, path string) (*store.Receipt, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head, err := apk.ReadHead(bufio.NewReader(f), apk.Limits{})
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return st.Ingest(context.Background(), f, store.Expect{Checksum: head.ControlSHA1})
}

// bootTree is the tree of all packages of the Alpine 3.19.1 boot medium that a
// recorded request chooses.
func bootTree(t testing.TB, request string) (*rootfs.Tree, *store.Store) {
	t.Helper()
	dir := dataDir(t)
	list, err := os.ReadFile(filepath.Join(dir, "trees", request+".packages"))
	if err != nil {
		t.Skip("no recorded tree: ", err)
	}
	st := openStore(t)
	in := rootfs.Input{Arch: "x86_64", Created: testTime}
	for line := range strings.FieldsSeq(string(list)) {
		path := filepath.Join(dir, "alpine-3.19-boot", "x86_64", strings.Replace(line, "=", "-", 1)+".apk")
		if _, err := os.Stat(path); err != nil {
			continue
		}
		r, err := ingest(t, st, path)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		in.Packages = append(in.Packages, rootfs.Package{Receipt: r, Repository: "https://dl-cdn.alpinelinux.org/alpine/v3.19/main", Requested: r.Package.Name == "alpine-base"})
	}
	if len(in.Packages) < 10 {
		t.Skipf("only %d of the packages are here", len(in.Packages))
	}
	in.ReadFiles = func(ctx context.Context, pkg int, members []int) ([][]byte, error) {
		return st.ReadFiles(ctx, in.Packages[pkg].Receipt, members)
	}
	tree, err := rootfs.Plan(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return tree, st
}

func bootInput(t testing.TB, request string) Input {
	tree, _ := bootTree(t, request)
	all := layer.Layer{Kind: layer.Packed, Digest: hashOf("all"), DiffID: hashOf("all-diff"), Size: 1}
	for i := range tree.Packages {
		all.Packages = append(all.Packages, i)
	}
	return Input{
		Tree: tree,
		Image: Image{
			Name: "docker.io/library/boot", Digest: hashOf("boot"), Arch: "amd64", Created: testTime,
			Layers: []layer.Layer{all, {Kind: layer.Top, Digest: hashOf("top"), DiffID: hashOf("top-diff"), Size: 1}},
		},
		Author: "Example Org", ToolVersion: "test",
	}
}

// apko's SBOM of an Alpine image lists no package at all: Alpine's bring none
// of their own (research/apko.md §0.6, field.md §2 hole 1).
func TestApkoDefect_PackagesWithoutEmbeddedSBOMAreListed(t *testing.T) {
	for _, request := range []string{"base", "ssh"} {
		in := bootInput(t, request)
		g, err := New(in)
		if err != nil {
			t.Fatal(err)
		}
		doc, bom := checkSPDX(t, spdxOf(t, g)), checkCycloneDX(t, cdxOf(t, g))
		short := in
		short.OmitFiles = true
		gs, err := New(short)
		if err != nil {
			t.Fatal(err)
		}
		checkSPDX(t, spdxOf(t, gs))
		checkCycloneDX(t, cdxOf(t, gs))
		var spdx, cdx, purls []string
		for _, p := range doc.Packages {
			if strings.HasPrefix(string(p.PackageSPDXIdentifier), "Package-") {
				spdx = append(spdx, p.PackageName+"-"+p.PackageVersion)
			}
		}
		for _, c := range *bom.Components {
			if strings.HasPrefix(c.BOMRef, "Package-") {
				cdx = append(cdx, c.Name+"-"+c.Version)
				purls = append(purls, c.PackageURL)
			}
		}
		var want []string
		for _, p := range in.Tree.Packages {
			want = append(want, p.Receipt.Package.ID())
		}
		if !slices.Equal(spdx, want) || !slices.Equal(cdx, want) {
			t.Errorf("%s: %d packages in the image, %d in SPDX, %d in CycloneDX", request, len(want), len(spdx), len(cdx))
		}
		hasRelease := strings.Contains(strings.Join(want, " "), "alpine-release")
		for _, p := range purls {
			if hasRelease && (!strings.HasPrefix(p, "pkg:apk/alpine/") || !strings.Contains(p, "distro=alpine-3.19.1")) {
				t.Errorf("purl %s", p)
			}
		}
		if got := find(t, g, "musl").Supplier.String(); hasRelease && got != "Organization: Alpine Linux" {
			t.Errorf("musl comes from %q", got)
		}
		t.Logf("%s: %d packages, %d paths, SPDX %d bytes, CycloneDX %d bytes", request, len(want), len(in.Tree.Entries), len(spdxOf(t, g)), len(cdxOf(t, g)))
	}
}

// A real image leaves no byte without an owner.
func TestRealAttribution(t *testing.T) {
	in := bootInput(t, "ssh")
	g, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	var paths int
	var bytes, want int64
	for _, c := range g.Components {
		paths += c.Paths
		bytes += c.Bytes
	}
	for _, e := range in.Tree.Entries {
		want += e.Size
	}
	if paths != len(in.Tree.Entries) || bytes != want || want == 0 {
		t.Errorf("%d paths and %d bytes attributed, %d and %d in the tree", paths, bytes, len(in.Tree.Entries), want)
	}
	unmet := 0
	for _, c := range g.Components {
		for _, p := range c.Properties {
			if p.Name == "cairn:apk:unsatisfied" {
				unmet++
				t.Errorf("%s: nothing satisfies %s", c.Name, p.Value)
			}
		}
	}
}

// bigInput is an image with 200 packages and n files.
func bigInput(t testing.TB, n int) Input {
	in := testInput(t)
	tr := &tree{*in.Tree}
	for i := range 200 {
		tr.Packages = append(tr.Packages, pkg(t, fmt.Sprintf("p%03d", i), "1.0-r0", "musl", ""))
	}
	for i := range n {
		tr.file(fmt.Sprintf("opt/f%07d", i), fmt.Sprintf("p%03d", i%200), fmt.Sprint(i))
	}
	tr.sort()
	in.Tree = &tr.Tree
	return in
}

func BenchmarkNew20kFiles(b *testing.B) {
	in := bigInput(b, 20_000)
	for b.Loop() {
		if _, err := New(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSPDX20kFiles(b *testing.B)      { benchmarkWrite(b, (*Graph).WriteSPDX) }
func BenchmarkCycloneDX20kFiles(b *testing.B) { benchmarkWrite(b, (*Graph).WriteCycloneDX) }

func benchmarkWrite(b *testing.B, write func(*Graph, io.Writer) error) {
	g, err := New(bigInput(b, 20_000))
	if err != nil {
		b.Fatal(err)
	}
	var size bytes.Buffer
	if err := write(g, &size); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if err := write(g, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
