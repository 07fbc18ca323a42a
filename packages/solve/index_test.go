package solve

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
)

// memoryIndex is an Index over a slice.
type memoryIndex struct {
	packages  []*apk.Package
	providers map[string][]int
	installIf map[string][]int
}

func newIndex(packages []*apk.Package) *memoryIndex {
	x := &memoryIndex{packages, map[string][]int{}, map[string][]int{}}
	add := func(to map[string][]int, name string, i int) {
		if l := to[name]; len(l) == 0 || l[len(l)-1] != i {
			to[name] = append(l, i)
		}
	}
	for i, p := range packages {
		add(x.providers, p.Name, i)
		for _, d := range p.Provides {
			add(x.providers, d.Name, i)
		}
		for _, d := range p.InstallIf {
			add(x.installIf, d.Name, i)
		}
	}
	return x
}

func (x *memoryIndex) Len() int                    { return len(x.packages) }
func (x *memoryIndex) Package(i int) *apk.Package  { return x.packages[i] }
func (x *memoryIndex) Providers(name string) []int { return x.providers[name] }
func (x *memoryIndex) InstallIf(name string) []int { return x.installIf[name] }

// testdata returns the path of real data, or skips.
func testdata(t testing.TB, path ...string) string {
	t.Helper()
	root := os.Getenv("CAIRN_TESTDATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	full := filepath.Join(append([]string{root}, path...)...)
	if _, err := os.Stat(full); err != nil {
		t.Skipf("real data is not here: %v", err)
	}
	return full
}

// realIndex reads an APKINDEX.tar.gz of the real data.
func realIndex(t testing.TB, path ...string) *memoryIndex {
	t.Helper()
	file := testdata(t, path...)
	indexCache.Lock()
	defer indexCache.Unlock()
	if x := indexCache.m[file]; x != nil {
		return x
	}
	packages, err := readIndexFile(file)
	if err != nil {
		t.Fatal(err)
	}
	x := newIndex(packages)
	indexCache.m[file] = x
	return x
}

var indexCache = struct {
	sync.Mutex
	m map[string]*memoryIndex
}{m: map[string]*memoryIndex{}}

func readIndexFile(file string) (packages []*apk.Package, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The signature and the index are gzip members, each with (part of) a tar.
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, err
	}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: no APKINDEX in it", file)
		}
		if err != nil {
			return nil, err
		}
		if h.Name == "APKINDEX" {
			return packages, apk.ParseIndex(r, func(p *apk.Package) error {
				packages = append(packages, p)
				return nil
			})
		}
	}
}
