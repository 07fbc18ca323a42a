package receipts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/store"
)

// repositories are one in a registry, and one in a layout.
func repositories(t *testing.T) map[string]*target.Target {
	t.Helper()
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	out := map[string]*target.Target{}
	dir := t.TempDir()
	for name, text := range map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": `{"schemaVersion":2,"manifests":[]}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, s := range map[string]string{"registry": strings.TrimPrefix(srv.URL, "http://") + "/app:1", "layout": dir + "/"} {
		ref, err := target.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if out[name], err = target.Open(t.Context(), ref, target.Options{Create: true}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// receiptOf is that of a small package; packages that differ in the description only
// have the same data section.
func receiptOf(t testing.TB, name, description, content string) *store.Receipt {
	t.Helper()
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	raw, p := apktest.BuildEntry(apktest.Spec{Package: apk.Package{Name: name, Version: "1-r0", Arch: "x86_64", Description: description},
		Files: []apktest.File{{Path: "usr/bin/" + name, Content: content}}, Parents: true})
	r, err := st.Ingest(t.Context(), bytes.NewReader(raw), store.Expect{Checksum: p.Checksum})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPushAndFind(t *testing.T) {
	one, two, other := receiptOf(t, "a", "one", "a"), receiptOf(t, "a", "two", "a"), receiptOf(t, "b", "", "b")
	if one.DataHash != two.DataHash || one.Digest() == two.Digest() {
		t.Fatal("the first two should have the same data and be different")
	}
	for name, x := range repositories(t) {
		t.Run(name, func(t *testing.T) {
			if _, err := Find(t.Context(), x, one.DataHash, one.Digest()); !errors.Is(err, ErrNotFound) {
				t.Errorf("before: %v", err)
			}
			for i, step := range []struct {
				list []*store.Receipt
				want int
			}{{[]*store.Receipt{one, one, other}, 2}, {[]*store.Receipt{one, other}, 0}, {[]*store.Receipt{two, one}, 1}, {nil, 0}} {
				if n, err := Push(t.Context(), x, step.list); n != step.want || err != nil {
					t.Errorf("step %d: %d stored, expected %d (%v)", i, n, step.want, err)
				}
			}
			for _, r := range []*store.Receipt{one, two, other} {
				if got, err := Find(t.Context(), x, r.DataHash, r.Digest()); err != nil || got.Digest() != r.Digest() || got.ID() != r.ID() {
					t.Errorf("%s: %v, %v", r.ID(), got, err)
				}
			}
			if _, err := Find(t.Context(), x, one.DataHash, other.Digest()); !errors.Is(err, ErrNotFound) {
				t.Errorf("another's digest: %v", err)
			}
		})
	}
}

// TestManyPackagesWithOneDataSection: the oldest are forgotten.
func TestManyPackagesWithOneDataSection(t *testing.T) {
	x := repositories(t)["registry"]
	var list []*store.Receipt
	for i := range maxVariants + 3 {
		r := receiptOf(t, "a", fmt.Sprint(i), "a")
		list = append(list, r)
		if n, err := Push(t.Context(), x, []*store.Receipt{r}); n != 1 || err != nil {
			t.Fatalf("%d: %d, %v", i, n, err)
		}
	}
	for i, r := range list {
		_, err := Find(t.Context(), x, r.DataHash, r.Digest())
		if gone := i < 3; gone != errors.Is(err, ErrNotFound) || !gone && err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestPushAtTheSameTime: nobody's receipt is lost to somebody else's.
func TestPushAtTheSameTime(t *testing.T) {
	x := repositories(t)["layout"]
	var list []*store.Receipt
	for i := range 4 {
		list = append(list, receiptOf(t, "a", fmt.Sprint(i), "a"))
	}
	var g sync.WaitGroup
	for _, r := range list {
		g.Go(func() {
			if _, err := Push(t.Context(), x, []*store.Receipt{r}); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	for i, r := range list {
		if _, err := Find(t.Context(), x, r.DataHash, r.Digest()); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestWhatIsNoReceipt: whatever stands under the tag is no error, only not found.
func TestWhatIsNoReceipt(t *testing.T) {
	r := receiptOf(t, "a", "", "a")
	right := map[string]string{AnnotationReceipt: r.Digest().String()}
	good, err := compressed(r.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	bomb, err := compressed(make([]byte, store.MaxCarried+10))
	if err != nil {
		t.Fatal(err)
	}
	other, err := compressed(receiptOf(t, "b", "", "b").Marshal())
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]struct {
		artifactType string
		layer        target.Layer
	}{
		"another type":     {"application/vnd.other", target.Layer{MediaType: TypeReceipt, Annotations: right, Content: good}},
		"another media":    {TypeReceipts, target.Layer{MediaType: "text/plain", Annotations: right, Content: good}},
		"no annotation":    {TypeReceipts, target.Layer{MediaType: TypeReceipt, Content: good}},
		"no gzip":          {TypeReceipts, target.Layer{MediaType: TypeReceipt, Annotations: right, Content: r.Marshal()}},
		"cut short":        {TypeReceipts, target.Layer{MediaType: TypeReceipt, Annotations: right, Content: good[:len(good)/2]}},
		"too much":         {TypeReceipts, target.Layer{MediaType: TypeReceipt, Annotations: right, Content: bomb}},
		"another's":        {TypeReceipts, target.Layer{MediaType: TypeReceipt, Annotations: right, Content: other}},
		"the right one":    {TypeReceipts, target.Layer{MediaType: TypeReceipt, Annotations: right, Content: good}},
		"empty, of course": {TypeReceipts, target.Layer{MediaType: TypeReceipt, Annotations: right}},
	} {
		t.Run(name, func(t *testing.T) {
			x := repositories(t)["registry"]
			artifact, err := target.Standalone(a.artifactType, nil, nil, a.layer)
			if err != nil {
				t.Fatal(err)
			}
			artifact.Tag = Tag(r.DataHash)
			if _, err := x.Push(t.Context(), artifact); err != nil {
				t.Fatal(err)
			}
			_, err = Find(t.Context(), x, r.DataHash, r.Digest())
			if name == "the right one" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("found %v", err)
			}
			// What is there gives way to what should be.
			if n, err := Push(t.Context(), x, []*store.Receipt{r}); err != nil {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
}

func TestFindLayerWantsOneLayer(t *testing.T) {
	x := repositories(t)["registry"]
	if _, err := FindLayer(t.Context(), x, "key"); !errors.Is(err, ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	for _, layers := range [][]target.Layer{nil, {{MediaType: "text/plain"}}, {{MediaType: "application/vnd.oci.image.layer.v1.tar+gzip"}, {MediaType: "application/vnd.oci.image.layer.v1.tar+gzip"}}} {
		a, err := target.Standalone(TypeLayer, nil, []v1.Descriptor{}, layers...)
		if err != nil {
			t.Fatal(err)
		}
		a.Tag = LayerTag("key")
		if _, err := x.Push(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if _, err := FindLayer(t.Context(), x, "key"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%d layers: %v", len(layers), err)
		}
	}
}

// FuzzParse: whatever a registry gives as a receipt is read within limits, and what is
// read is a receipt in its one encoding.
func FuzzParse(f *testing.F) {
	good, err := compressed(receiptOf(f, "a", "", "a").Marshal())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:20])
	f.Add([]byte("receipt"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := parse(raw)
		if err != nil {
			return
		}
		b, err := compressed(r.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parse(b); err != nil || again.Digest() != r.Digest() {
			t.Errorf("%v", err)
		}
	})
}
