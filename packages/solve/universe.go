package solve

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// universe is the part of the repositories that a request can touch: every
// package that could satisfy an entry, a dependency of such a package, and so
// on, and every package whose install_if such packages could complete. It is
// built once and not changed by the passes that use it.
type universe struct {
	request    *Request
	tags       []string // tags[0] is "", the repositories without a tag
	names      map[string]*name
	all        []*name      // by id
	found      []*name      // by rank
	candidates []*candidate // by id
	world      []demand     // sorted as apk-tools sorts the world
	asked      map[*name]bool
	places     [][]*candidate // per repository: by position in its index
	bySum      map[apk.SHA1]*candidate
	held       base
	slabs      slabs
}

// slabs hands out the small values of a universe from larger blocks.
type slabs struct {
	names      []name
	candidates []candidate
	demands    []demand
	provides   []provided
	providers  []provider
}

// take cuts n values off the block at *slab.
func take[T any](slab *[]T, n int) []T {
	if n > len(*slab) {
		*slab = make([]T, max(n, 256))
	}
	out := (*slab)[:n:n]
	*slab = (*slab)[n:]
	return out
}

// name is something that can be depended on.
type name struct {
	text      string
	id        int
	rank      int // the order in which discovery of names ended; -1: not discovered
	loaded    bool
	providers []provider // in repository and index order
	barred    []provider // may not be used at all: candidate.bar says why
	hashKey   uint64     // see hashOrder
	triggers  []*name    // names that packages provide whose install_if mentions this one
	users     []*name    // found names a provider of which depends on this one, some more than once
}

// provider is one way to satisfy a name. An empty version is a virtual provide.
type provider struct {
	pkg     *candidate
	version string
}

// demand is a dependency with its name resolved.
type demand struct {
	name *name
	atom *apk.Dependency
}

// candidate is a package that a solution may contain. Equal packages (by
// checksum) of several repositories are one candidate.
type candidate struct {
	id        int
	pkg       *apk.Package
	name      *name
	found     bool   // provides a name that was discovered; others only exclude
	repo, pos int    // the first repository that has it, and where
	tags      uint64 // bit i: a repository tagged universe.tags[i] has it
	bar       string // why it may not be used, or ""
	depends   []demand
	provides  []provided
	installIf []demand
	addedTo   *name // the name that was loaded last, see load
}

// provided is a name that a package has besides its own.
type provided struct {
	name    *name
	version string
}

// untagged is the bit of the repositories without a tag.
const untagged uint64 = 1

// maxTags is how many tags fit candidate.tags.
const maxTags = 63

// providedBy reports whether p in the solution satisfies d. With the zero
// provider it reports whether d holds when nothing provides its name.
func (d demand) providedBy(p provider) bool {
	if p.pkg == nil {
		return d.atom.Conflict
	}
	return d.matches(p) != d.atom.Conflict
}

// matches is providedBy with the leading "!" left out of account.
func (d demand) matches(p provider) bool {
	if d.atom.Op == apk.OpChecksum {
		return d.atom.Matches(p.pkg.pkg.Checksum.String())
	}
	return d.atom.Matches(p.version)
}

// self returns the candidate as the provider of its own name.
func (c *candidate) self() provider { return provider{c, c.pkg.Version} }

// conflictsWithItself reports whether d is a conflict that only c itself would
// break: a package may provide the name that it excludes.
func (c *candidate) conflictsWithItself(d demand, p provider) bool {
	return c != nil && d.atom.Conflict && p.pkg == c
}

// discover builds the universe of a request.
func discover(req *Request) (*universe, error) {
	held := newBase(req)
	req = held.request
	u := &universe{
		held:    held,
		request: req,
		tags:    []string{""},
		names:   make(map[string]*name, min(2048, countPackages(req))),
		asked:   map[*name]bool{},
		places:  make([][]*candidate, len(req.Repositories)),
		bySum:   map[apk.SHA1]*candidate{},
	}
	for i, r := range req.Repositories {
		u.places[i] = make([]*candidate, r.Index.Len())
		if !slices.Contains(u.tags, r.Tag) {
			u.tags = append(u.tags, r.Tag)
		}
	}
	if len(u.tags) > maxTags {
		return nil, fmt.Errorf("repositories: %d different tags: at most %d are possible", len(u.tags)-1, maxTags-1)
	}
	if err := u.setWorld(); err != nil {
		return nil, err
	}
	for _, d := range u.world {
		u.find(d.name)
	}
	for _, c := range u.candidates {
		u.load(c.name) // its other versions, which exclude each other
	}
	u.linkTriggers()
	return u, nil
}

func countPackages(req *Request) (n int) {
	for _, r := range req.Repositories {
		n += r.Index.Len()
	}
	return n
}

func (u *universe) setWorld() error {
	for i := range u.request.World {
		d := &u.request.World[i]
		if d.Pin != "" && !slices.Contains(u.tags, d.Pin) {
			return &UnknownTagError{Dependency: *d, Known: u.tags[1:]}
		}
		n := u.name(d.Name)
		u.asked[n] = true
		u.world = append(u.world, demand{n, d})
	}
	for _, d := range u.held.demands {
		u.world = append(u.world, demand{u.name(d.Name), d})
	}
	slices.SortStableFunc(u.world, func(a, b demand) int { return displayOrder(a.name.text, b.name.text) })
	return nil
}

// displayOrder is the order of names in the world: without regard to case.
func displayOrder(a, b string) int {
	return cmp.Or(strings.Compare(foldASCII(a), foldASCII(b)), strings.Compare(a, b))
}

func foldASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}

func (u *universe) tagBit(tag string) uint64 {
	return 1 << slices.Index(u.tags, tag)
}

// name returns the name of that text; load fills it.
func (u *universe) name(text string) *name {
	n := u.names[text]
	if n == nil {
		n = &take(&u.slabs.names, 1)[0]
		n.text, n.id, n.rank = text, len(u.all), -1
		u.names[text] = n
		u.all = append(u.all, n)
	}
	return n
}

// load looks up who provides n.
func (u *universe) load(n *name) {
	if n.loaded {
		return
	}
	n.loaded = true
	for repo, r := range u.request.Repositories {
		list := r.Index.Providers(n.text)
		if n.providers == nil && len(list) > 0 {
			n.providers = take(&u.slabs.providers, len(list))[:0]
		}
		for _, pos := range list {
			if c := u.candidate(repo, pos); c.addedTo != n {
				c.addedTo = n
				n.addProvider(c)
			}
		}
	}
	n.setHashKey()
}

// addProvider notes each way in which c provides n.
func (n *name) addProvider(c *candidate) {
	to := &n.providers
	if c.bar != "" {
		to = &n.barred
	}
	if c.name == n {
		*to = append(*to, c.self())
	}
	for i := range c.provides {
		if p := &c.provides[i]; p.name == n {
			*to = append(*to, provider{c, p.version})
		}
	}
}

// candidate returns the package at a position of a repository's index.
func (u *universe) candidate(repo, pos int) *candidate {
	if c := u.places[repo][pos]; c != nil {
		return c
	}
	r := &u.request.Repositories[repo]
	p := r.Index.Package(pos)
	if c := u.displaced(repo, pos, p); c != nil {
		return c
	}
	c := u.bySum[p.Checksum]
	if c == nil || p.Checksum.IsZero() || c.pkg.Name != p.Name {
		c = u.newCandidate(repo, pos, p)
		u.bySum[p.Checksum] = c
	}
	c.tags |= u.tagBit(r.Tag)
	u.places[repo][pos] = c
	return c
}

func (u *universe) newCandidate(repo, pos int, p *apk.Package) *candidate {
	c := &take(&u.slabs.candidates, 1)[0]
	*c = candidate{
		id:        len(u.candidates),
		pkg:       p,
		name:      u.name(p.Name),
		repo:      repo,
		pos:       pos,
		bar:       p.Uninstallable,
		depends:   u.demands(p.Depends),
		provides:  take(&u.slabs.provides, len(p.Provides)),
		installIf: u.demands(p.InstallIf),
	}
	for i := range p.Provides {
		c.provides[i] = provided{u.name(p.Provides[i].Name), p.Provides[i].Version}
	}
	if why, ok := u.request.Forbid[p.Name][p.Version]; ok {
		c.bar = cmp.Or(why, "the request forbids it")
	}
	u.candidates = append(u.candidates, c)
	return c
}

func (u *universe) demands(list []apk.Dependency) []demand {
	out := take(&u.slabs.demands, len(list))
	for i := range list {
		out[i] = demand{u.name(list[i].Name), &list[i]}
	}
	return out
}

// find discovers n and all that its providers can bring in. The order in which
// discovery of names ends is the order in which apk-tools prefers to decide
// them (last found, first decided), so it follows apk-tools' walk.
func (u *universe) find(n *name) {
	if n.rank >= 0 {
		return
	}
	u.load(n)
	n.rank = 0 // being found
	for _, p := range n.providers {
		p.pkg.found = true
		for _, d := range p.pkg.depends {
			d.name.addUser(n)
			u.find(d.name)
		}
	}
	for _, p := range n.providers {
		u.findTriggered(p.pkg.name)
		for _, v := range p.pkg.provides {
			if v.name.rank < 0 {
				u.find(v.name)
				u.findTriggered(v.name)
			}
		}
	}
	n.rank = len(u.found)
	u.found = append(u.found, n)
}

func (u *universe) findTriggered(n *name) {
	for _, t := range u.triggersOf(n) {
		u.find(t)
	}
}

// triggersOf returns the names whose providers have an install_if on n.
func (u *universe) triggersOf(n *name) []*name {
	if n.triggers != nil {
		return n.triggers
	}
	n.triggers = []*name{}
	for repo, r := range u.request.Repositories {
		for _, pos := range r.Index.InstallIf(n.text) {
			c := u.candidate(repo, pos)
			n.addTrigger(u, c.name)
			for _, v := range c.provides {
				n.addTrigger(u, v.name)
			}
		}
	}
	slices.SortFunc(n.triggers, hashOrder)
	return n.triggers
}

func (n *name) addTrigger(u *universe, t *name) {
	if !slices.Contains(n.triggers, t) {
		u.load(t)
		n.triggers = append(n.triggers, t)
	}
}

func (n *name) addUser(user *name) {
	if k := len(n.users); k == 0 || n.users[k-1] != user {
		n.users = append(n.users, user)
	}
}

// linkTriggers restricts name.triggers to names that were found.
func (u *universe) linkTriggers() {
	for _, n := range u.found {
		u.triggersOf(n)
	}
	for _, n := range u.all {
		n.triggers = slices.DeleteFunc(n.triggers, func(t *name) bool { return t.rank < 0 })
	}
}

// hashOrder sorts names as apk-tools enumerates them, which decides who is
// looked at first where many names have to be looked at again: by the bucket of
// its hash table, and within a bucket the name that was read last first. (When
// a name was first read is approximated by its first provider.)
func hashOrder(a, b *name) int {
	if c := cmp.Compare(a.hashKey, b.hashKey); c != 0 {
		return c
	}
	return strings.Compare(a.text, b.text)
}

func (n *name) setHashKey() {
	const places = 1<<48 - 1
	n.hashKey = uint64(bucket(n.text))<<48 | places
	if len(n.providers) > 0 {
		p := n.providers[0].pkg
		n.hashKey -= min(uint64(p.repo)<<32+uint64(p.pos)+1, places)
	}
}

// bucket is the slot of apk-tools' table of names that text hashes to.
func bucket(text string) uint32 { return murmur3(text, 5381) % 20000 }

// murmur3 is the 32-bit MurmurHash3 of s.
func murmur3(s string, seed uint32) uint32 {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	h := seed
	rest := s
	for ; len(rest) >= 4; rest = rest[4:] {
		k := uint32(rest[0]) | uint32(rest[1])<<8 | uint32(rest[2])<<16 | uint32(rest[3])<<24
		k *= c1
		k = k<<15 | k>>17
		h ^= k * c2
		h = (h<<13|h>>19)*5 + 0xe6546b64
	}
	if len(rest) > 0 {
		var k uint32
		for i := len(rest) - 1; i >= 0; i-- {
			k = k<<8 | uint32(rest[i])
		}
		k *= c1
		k = k<<15 | k>>17
		h ^= k * c2
	}
	h ^= uint32(len(s))
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}
