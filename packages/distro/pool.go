package distro

import (
	"slices"
	"sync"

	"github.com/cairn-dev/cairn/packages/apk"
)

// pool holds the packages that are built, each in a place that follows from the
// graph, whenever it was built.
type pool struct {
	mu        sync.RWMutex
	packages  []*apk.Package // nil is not built
	build     []int          // of each place
	place     map[string]int
	providers map[string][]int
	installIf map[string][]int
}

func newPool() *pool {
	return &pool{place: map[string]int{}, providers: map[string][]int{}, installIf: map[string][]int{}}
}

// reserve makes the next place.
func (p *pool) reserve(build int, name string) {
	p.place[name] = len(p.packages)
	p.packages = append(p.packages, nil)
	p.build = append(p.build, build)
}

// put says that a package is there.
func (p *pool) put(k *apk.Package) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.place[k.Name]
	p.packages[i] = k
	insert(p.providers, k.Name, i)
	for _, d := range k.Provides {
		insert(p.providers, d.Name, i)
	}
	for _, d := range k.InstallIf {
		insert(p.installIf, d.Name, i)
	}
}

func insert(m map[string][]int, name string, i int) {
	at, found := slices.BinarySearch(m[name], i)
	if !found {
		// A new slice: readers may have the old one.
		m[name] = slices.Insert(slices.Clip(slices.Clone(m[name])), at, i)
	}
}

// view is what one build sees of the pool: the packages of builds that were
// finished before it began. It is a solve.Index.
type view struct {
	*pool
	sees set // of builds
}

// Len implements solve.Index.
func (v view) Len() int { return len(v.packages) }

// Package implements solve.Index. Only places that the other methods gave are
// asked for.
func (v view) Package(i int) *apk.Package {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.packages[i]
}

// Providers implements solve.Index.
func (v view) Providers(name string) []int { return v.filter(v.providers, name) }

// InstallIf implements solve.Index.
func (v view) InstallIf(name string) []int { return v.filter(v.installIf, name) }

func (v view) filter(m map[string][]int, name string) []int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var out []int
	for _, i := range m[name] {
		if v.sees.has(v.build[i]) {
			out = append(out, i)
		}
	}
	return out
}

// set is a set of small numbers.
type set []uint64

func newSet(n int) set { return make(set, (n+63)/64) }

func (s set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }
func (s set) add(i int)      { s[i/64] |= 1 << (i % 64) }

func (s set) join(o set) {
	for i := range o {
		s[i] |= o[i]
	}
}

// each calls do for the members in ascending order.
func (s set) each(do func(int)) {
	for i := range len(s) * 64 {
		if s[i/64] == 0 {
			continue
		}
		if s.has(i) {
			do(i)
		}
	}
}
