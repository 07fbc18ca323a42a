package repository

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages/apk"
)

// reference is an index as plain as can be: what the table must agree with.
type reference struct {
	packages  []*apk.Package
	providers map[string][]int
	installs  map[string][]int
	newest    int64
}

func newReference(packages []*apk.Package) *reference {
	r := &reference{packages: packages, providers: map[string][]int{}, installs: map[string][]int{}}
	add := func(m map[string][]int, name string, i int) {
		if l := m[name]; len(l) == 0 || l[len(l)-1] != i {
			m[name] = append(m[name], i)
		}
	}
	for i, p := range packages {
		add(r.providers, p.Name, i)
		for _, d := range p.Provides {
			add(r.providers, d.Name, i)
		}
		for _, d := range p.InstallIf {
			add(r.installs, d.Name, i)
		}
		r.newest = max(r.newest, p.BuildTime)
	}
	return r
}

// parseText reads the packages of an index file with nothing of this package.
func parseText(t testing.TB, raw []byte) []*apk.Package {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var out []*apk.Package
	for a := tar.NewReader(z); ; {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "APKINDEX" {
			if err := apk.ParseIndex(a, func(p *apk.Package) error { out = append(out, p); return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (r *reference) compare(t *testing.T, ix *Index) {
	t.Helper()
	if ix.Len() != len(r.packages) || ix.Newest() != r.newest {
		t.Fatalf("%d packages, newest %d; want %d, %d", ix.Len(), ix.Newest(), len(r.packages), r.newest)
	}
	for i, want := range r.packages {
		if got := ix.Package(i); !reflect.DeepEqual(got, want) {
			t.Fatalf("package %d: %s", i, cmp.Diff(want, got))
		}
	}
	for name, want := range r.providers {
		if got := ix.Providers(name); !slices.Equal(got, want) {
			t.Fatalf("providers of %s: %v, want %v", name, got, want)
		}
		if got := ix.InstallIf(name); !slices.Equal(got, r.installs[name]) {
			t.Fatalf("install_if of %s: %v, want %v", name, got, r.installs[name])
		}
	}
	for name, want := range r.installs {
		if got := ix.InstallIf(name); !slices.Equal(got, want) {
			t.Fatalf("install_if of %s: %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"", "no such name", "so:nothing.so.1"} {
		if got := ix.Providers(name); !slices.Equal(got, r.providers[name]) {
			t.Fatalf("providers of %q: %v", name, got)
		}
	}
}

// The index from the text and the one from the cache say the same as the plain
// reading of the text, for every real package and every real name.
func TestIndexEqualsPlainReading(t *testing.T) {
	for _, r := range realIndexes {
		t.Run(r.name, func(t *testing.T) {
			if testing.Short() && r.entries > 20_000 {
				t.Skip("takes seconds")
			}
			raw, keys := r.open(t)
			want := newReference(parseText(t, raw))
			want.compare(t, r.read(t))

			dir := t.TempDir()
			writeFile(t, dir+"/x86_64/"+IndexFile, raw)
			cache := t.TempDir()
			src := Source{URL: dir, Arch: "x86_64", Keyring: keys}
			for _, what := range []string{"first load", "cached load"} {
				c := mustClient(t, Options{CacheDir: cache})
				if hit := c.cache.parsed(sha256.Sum256(raw), int64(len(raw))) != nil; hit != (what == "cached load") {
					t.Fatalf("%s: in the cache: %v", what, hit)
				}
				ix, err := c.Load(ctx, src)
				if err != nil {
					t.Fatal(err)
				}
				if what == "cached load" { // the first is what ReadIndex gives
					want.compare(t, ix)
				}
			}
		})
	}
}

// Random packages with every field that an index entry can have.
func TestTableRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	word := func() string { return fmt.Sprintf("w%d", rnd.Intn(40)) }
	deps := func() (out []apk.Dependency) {
		for range rnd.Intn(4) {
			d := apk.Dependency{Name: word(), Conflict: rnd.Intn(5) == 0}
			if rnd.Intn(2) == 0 {
				d.Op, d.Version = apk.Op(1+rnd.Intn(12)), word()
			}
			out = append(out, d)
		}
		return out
	}
	for range 200 {
		var packages []*apk.Package
		for range rnd.Intn(20) {
			p := &apk.Package{Name: word(), Version: word(), Arch: word(), Description: word(), URL: word(), License: word(),
				Origin: word(), Maintainer: word(), Commit: word(), Uninstallable: word(),
				Size: rnd.Int63(), InstalledSize: rnd.Int63(), BuildTime: rnd.Int63(), ProviderPriority: rnd.Int63(), ReplacesPriority: -rnd.Int63(),
				Depends: deps(), InstallIf: deps(), Replaces: deps()}
			for _, d := range deps() {
				d.Conflict = false
				p.Provides = append(p.Provides, d)
			}
			rnd.Read(p.Checksum[:])
			packages = append(packages, p)
		}
		ix, err := NewIndex(packages...)
		if err != nil {
			t.Fatal(err)
		}
		newReference(packages).compare(t, ix)
		if !ix.UnsafeUnsigned {
			t.Error("an index of nowhere counts as signed")
		}
	}
}

// What an index cannot carry is left out: tags, and what a package "provides"
// with an exclamation mark.
func TestTableDropsWhatMeansNothing(t *testing.T) {
	ix, err := NewIndex(&apk.Package{Name: "a", Version: "1",
		Depends:  []apk.Dependency{{Name: "b", Pin: "edge"}},
		Provides: []apk.Dependency{{Name: "c", Conflict: true}, {Name: "a"}, {Name: "d"}, {Name: "d", Op: apk.OpEqual, Version: "2"}}})
	if err != nil {
		t.Fatal(err)
	}
	if d := ix.Package(0).Depends[0]; d != (apk.Dependency{Name: "b"}) {
		t.Errorf("%+v", d)
	}
	for name, want := range map[string][]int{"a": {0}, "c": nil, "d": {0}, "b": nil} {
		if got := ix.Providers(name); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestIndexConcurrently(t *testing.T) {
	ix, err := read(signedIndex(t, manyPackages(200)...), testKey(t, "test.rsa.pub"))
	if err != nil {
		t.Fatal(err)
	}
	first := make([]*apk.Package, ix.Len())
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range ix.Len() {
				p := ix.Package(i)
				if got := ix.Providers(p.Name); !slices.Contains(got, i) {
					t.Errorf("%s: %v", p.Name, got)
				}
				ix.InstallIf("base")
				mu.Lock()
				if first[i] == nil {
					first[i] = p
				} else if first[i] != p {
					t.Errorf("package %d: two pointers", i)
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
}

func manyPackages(n int) []*apk.Package {
	var out []*apk.Package
	for i := range n {
		out = append(out, pkg(fmt.Sprintf("p%03d", i), "1-r0", func(p *apk.Package) {
			p.Provides = []apk.Dependency{{Name: "cmd:p", Op: apk.OpEqual, Version: "1"}}
			p.InstallIf = []apk.Dependency{{Name: "base"}}
			p.BuildTime += int64(i)
		}))
	}
	return out
}

// sealed returns the parsed form of a small index.
func sealed(t testing.TB, secret []byte) []byte {
	t.Helper()
	raw := signedIndex(t, manyPackages(3)...)
	v, err := verifyIndex(raw, sha256.Sum256(raw), NewKeyring(testKey(t, "test.rsa.pub")), false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := v.parse(1<<20, secret)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTableDetectsEveryFlippedByte(t *testing.T) {
	good := sealed(t, nil)
	if _, err := openTable(bytes.Clone(good), nil); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1 << (i % 8)
		if _, err := openTable(b, nil); !errors.Is(err, errTable) {
			t.Fatalf("byte %d of %d: %v", i, len(good), err)
		}
	}
	for n := range good {
		if _, err := openTable(good[:n:n], nil); !errors.Is(err, errTable) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

func TestTableSecret(t *testing.T) {
	mine, other := []byte("secret"), []byte("other secret")
	b := sealed(t, mine)
	if _, err := openTable(b, mine); err != nil {
		t.Error(err)
	}
	for _, s := range [][]byte{other, nil} {
		_, err := openTable(b, s)
		wantError(t, err, "parsed index: seal does not fit: damaged, or sealed with another secret")
	}
}

// A file that is sealed right and wrong inside (a forgery without a secret)
// must be refused, or at least do no harm.
func TestTableWrongInsideDoesNoHarm(t *testing.T) {
	good := sealed(t, nil)
	body := len(good) - sealSize
	refused := 0
	for i := headerSize - 60; i < body; i++ {
		for _, v := range []byte{0xff, 0x80, 0x01} {
			b := bytes.Clone(good[:body])
			b[i] ^= v
			b = append(b, seal(nil, b)...)
			table, err := openTable(b, nil)
			if err != nil {
				refused++
				continue
			}
			exercise(newIndex(table))
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// exercise asks an index everything.
func exercise(ix *Index) {
	for i := range ix.Len() {
		p := ix.Package(i)
		for _, d := range slices.Concat(p.Depends, p.Provides, p.InstallIf, p.Replaces) {
			ix.Providers(d.Name)
			ix.InstallIf(d.Name)
		}
		ix.Providers(p.Name)
	}
	ix.Nearest("p0001", 3)
	_ = ix.CheckRollback(1)
}

func TestTableOtherVersion(t *testing.T) {
	b := sealed(t, nil)
	b[hdrVersion]++
	_, err := openTable(b, nil)
	wantError(t, err, fmt.Sprintf("parsed index: version %d: expected %d", FormatVersion+1, FormatVersion))
	_, err = openTable([]byte("<html>"), nil)
	wantError(t, err, "parsed index: not one: 6 bytes, found a web page")
}

// apko accepts any index that was ever signed (apko.md §3).
func TestApkoDefect_RollbackIsDetected(t *testing.T) {
	ix, err := read(signedIndex(t, pkg("a", "1-r0"), pkg("b", "1-r0", func(p *apk.Package) { p.BuildTime = 1_600_000_000 })), testKey(t, "test.rsa.pub"))
	if err != nil {
		t.Fatal(err)
	}
	ix.URL, ix.Arch = "https://h/r", "x86_64"
	if ix.Newest() != 1_700_000_000 {
		t.Errorf("newest %d", ix.Newest())
	}
	for _, recorded := range []int64{0, 1, 1_700_000_000} {
		if err := ix.CheckRollback(recorded); err != nil {
			t.Errorf("recorded %d: %v", recorded, err)
		}
	}
	err = ix.CheckRollback(1_700_000_001)
	wantError(t, err, "index https://h/r (x86_64): older than the one locked: newest package built 2023-11-14 22:13:20Z, locked index had 2023-11-14 22:13:21Z")
	var r *RollbackError
	if !errors.As(err, &r) || r.Recorded-r.Newest != 1 {
		t.Errorf("%+v", r)
	}
}

func TestNumberChecks(t *testing.T) {
	numbers := func(ns ...uint32) u32s { return append32(nil, ns) }
	for _, c := range []struct {
		u          u32s
		limit      uint32
		below, asc bool
	}{
		{nil, 0, true, true}, {nil, 5, true, false},
		{numbers(0), 0, false, true}, {numbers(0), 1, true, false}, {numbers(0, 0, 0), 0, false, true},
		{numbers(0, 1, 2), 3, true, false}, {numbers(0, 1, 2), 2, false, true}, {numbers(0, 2, 1, 3), 3, false, false},
		{numbers(0, 3, 1, 2), 3, false, false}, {numbers(0, 1, 3, 2), 3, false, false}, {numbers(1, 2), 2, false, false},
		{numbers(0, 0, 7, 7), 7, false, true}, {numbers(5, 4, 3, 2, 1), 6, true, false},
	} {
		if got := below(c.u, c.limit); got != c.below {
			t.Errorf("below %v, %d: %v", c.u, c.limit, got)
		}
		if got := ascending(c.u, c.limit); got != c.asc {
			t.Errorf("ascending %v to %d: %v", c.u, c.limit, got)
		}
	}
}

// The seal is a function of the bytes, not of how many processors hash them.
func TestSealOfManyChunks(t *testing.T) {
	body := randomBytes(3*sealChunk + 17)
	want := seal([]byte("s"), body)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if !bytes.Equal(seal([]byte("s"), body), want) {
		t.Error("another seal with one processor")
	}
	for _, i := range []int{0, sealChunk - 1, sealChunk, 2 * sealChunk, len(body) - 1} {
		other := bytes.Clone(body)
		other[i] ^= 1
		if bytes.Equal(seal([]byte("s"), other), want) {
			t.Errorf("byte %d does not count", i)
		}
	}
	swapped := append(append(bytes.Clone(body[sealChunk:2*sealChunk]), body[:sealChunk]...), body[2*sealChunk:]...)
	for _, other := range [][]byte{body[:len(body)-1], body[:3*sealChunk], append(bytes.Clone(body), 0), swapped} {
		if bytes.Equal(seal([]byte("s"), other), want) {
			t.Errorf("%d bytes have the same seal", len(other))
		}
	}
}
