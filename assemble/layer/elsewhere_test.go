package layer

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/cairn-dev/cairn/packages/store"
)

// checkElsewhere writes a plan's layers once more into a store that has nothing
// but the packages that the plan says it needs: all else is elsewhere. Of the layers
// that are made, every other one is elsewhere too.
func checkElsewhere(t *testing.T, p *Plan, st *store.Store, layers []Layer, keys map[string]string) {
	t.Helper()
	for _, skip := range []int{-1, 0, 1} {
		have := map[int]Layer{}
		need := map[int]bool{}
		made := 0
		for i, l := range p.Outline() {
			key, err := p.Key(i)
			if err != nil {
				t.Fatal(err)
			}
			if (key == "") != (l.Kind == Verbatim) {
				t.Errorf("layer %d (%s): key %q", i, l.Kind, key)
			}
			if l.Kind == Verbatim {
				if n := p.Needs(i); len(n) != 0 {
					t.Errorf("layer %d (%s): needs %v", i, l.Kind, n)
				}
				l.Source = func() (io.ReadCloser, error) { return nil, errors.New("opened") }
				have[i] = l
				continue
			}
			if was, ok := keys[key]; ok && was != layers[i].Digest.Hex {
				t.Errorf("layer %d (%s): two blobs with one key", i, l.Kind)
			}
			keys[key] = layers[i].Digest.Hex
			if made++; made%2 == skip {
				have[i] = layers[i]
				continue
			}
			for _, pkg := range p.Needs(i) {
				need[pkg] = true
			}
		}
		bare := openStore(t)
		for pkg := range need {
			copyPackage(t, st, bare, p.t.tree.Packages[pkg].Receipt)
		}
		got, err := p.WriteOthers(t.Context(), bare, have)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(layers) {
			t.Fatalf("%d layers, expected %d", len(got), len(layers))
		}
		for i := range got {
			g, w := got[i], layers[i]
			if g.Kind != w.Kind || g.Digest != w.Digest || g.DiffID != w.DiffID || g.Size != w.Size || g.Inflated != w.Inflated {
				t.Errorf("layer %d: %+v, expected %+v", i, g, w)
			}
		}
	}
}

// copyPackage puts a package of one store into another.
func copyPackage(t *testing.T, from, to *store.Store, r *store.Receipt) {
	t.Helper()
	data, err := os.ReadFile(from.BlobPath(r))
	if err != nil {
		t.Fatal(err)
	}
	file := io.MultiReader(bytes.NewReader(r.Signature), bytes.NewReader(r.Control), bytes.NewReader(data))
	if _, err := to.Ingest(t.Context(), file, store.Expect{Checksum: r.Package.Checksum, ReceiptSHA256: r.Digest()}); err != nil {
		t.Fatal(err)
	}
}
