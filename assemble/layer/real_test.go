package layer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// realTree plans the tree of a request to the real Alpine packages, or skips.
func realTree(t testing.TB, st *store.Store, name string) *rootfs.Tree {
	t.Helper()
	data := os.Getenv("CAIRN_TESTDATA")
	if data == "" {
		data = filepath.Join("..", "..", "..", "shared", "data")
	}
	list, err := os.ReadFile(filepath.Join(data, "trees", name+".packages"))
	if err != nil {
		t.Skipf("no real data: %v (set CAIRN_TESTDATA)", err)
	}
	request, err := os.ReadFile(filepath.Join(data, "trees", name+".request"))
	if err != nil {
		t.Fatal(err)
	}
	in := rootfs.Input{Arch: "x86_64", Created: time.Unix(1_700_000_000, 0)}
	if in.World, err = apk.ParseDependencies(string(request)); err != nil {
		t.Fatal(err)
	}
	for _, id := range strings.Fields(string(list)) {
		raw, err := os.ReadFile(filepath.Join(data, "alpine-3.19-boot", "x86_64", strings.Replace(id, "=", "-", 1)+".apk"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := st.Ingest(t.Context(), bytes.NewReader(raw), store.Expect{FileSHA256: sha256.Sum256(raw)})
		if err != nil {
			t.Fatal(err)
		}
		in.Packages = append(in.Packages, rootfs.Package{Receipt: r})
	}
	in.ReadFiles = func(ctx context.Context, p int, members []int) ([][]byte, error) {
		return st.ReadFiles(ctx, in.Packages[p].Receipt, members)
	}
	tree, err := rootfs.Plan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// TestRealPackages layers real Alpine images and unpacks them; most packages
// must travel as they are.
func TestRealPackages(t *testing.T) {
	for _, name := range []string{"base", "ssh"} {
		t.Run(name, func(t *testing.T) {
			st := openStore(t)
			tree := realTree(t, st, name)
			for _, o := range []Options{{}, {Budget: 10}, {Strategy: PerOrigin, Budget: 10}, {Strategy: Single}} {
				p := mustPlan(t, tree, o)
				layers := mustWrite(t, p, st)
				checkWritten(t, p, layers)
				kinds := map[Kind]int{}
				var bytesBy = map[Kind]int64{}
				for _, l := range layers {
					kinds[l.Kind]++
					bytesBy[l.Kind] += l.Size
				}
				t.Logf("%s, %s/%d: layers %v, bytes %v", name, o.Strategy, o.Budget, kinds, bytesBy)
				if o.Budget == 0 && o.Strategy != Single && kinds[Verbatim] < len(tree.Packages)/2 {
					d, _ := p.Describe()
					t.Errorf("only %d of %d packages travel as they are: %+v", kinds[Verbatim], len(tree.Packages), d)
				}
			}
			d, _ := mustPlan(t, tree, Options{}).Describe()
			for _, l := range d.Layers {
				if l.Kind == Top {
					t.Logf("top: %d entries, %d whiteouts, %d bytes", l.Entries, l.Whiteouts, l.Inflated)
				}
				for _, r := range l.Reasons {
					t.Logf("%s: %s", r.Package, r.Why)
				}
			}
		})
	}
}
