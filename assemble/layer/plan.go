package layer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
)

// rewriteAbove is the number of bytes that a package may cause to be copied
// into the top layer before it is rewritten instead. Rewriting costs one
// compression, once, and the package's layer is no longer the same as in other
// images; bytes in the top layer travel with every build.
const rewriteAbove = 256 << 10

// Plan is how a tree is divided into layers.
type Plan struct {
	opts   Options
	t      *target
	groups [][]int // packages of each layer, bottom to top; a group may come to nothing
	shapes []shape // by package
	layers []planned
	top    *topLayer
	apps   []*topLayer  // of the applications, above the top layer
	fresh  map[int]bool // packages that began to follow the tree in this round
	// single: the top layer's content is the end of the only layer.
	single bool
}

// planned is one layer that is made of packages.
type planned struct {
	kind     Kind
	packages []int
	// dirs are the directories of a packed layer. They come before everything
	// else, each once, so that the part of each package depends on nothing but
	// the package.
	dirs    []member
	members [][]member // by position in packages
}

// count is the number of members.
func (l *planned) count() int {
	n := len(l.dirs)
	for _, m := range l.members {
		n += len(m)
	}
	return n
}

// visit calls fn for each member in order.
func (l *planned) visit(fn func(*member)) {
	for i := range l.dirs {
		fn(&l.dirs[i])
	}
	for _, part := range l.members {
		for i := range part {
			fn(&part[i])
		}
	}
}

// New decides how the tree is divided into layers, from metadata alone. Equal
// input gives an equal plan. The tree must not change as long as the plan is
// used.
func New(tree *rootfs.Tree, o Options) (*Plan, error) {
	return NewContext(context.Background(), tree, o)
}

// NewContext is New that stops when ctx is done: the tree may be made of what
// somebody else says about packages.
func NewContext(ctx context.Context, tree *rootfs.Tree, o Options) (*Plan, error) {
	o, err := o.normalised()
	if err != nil {
		return nil, err
	}
	t, err := newTarget(tree)
	if err != nil {
		return nil, err
	}
	o.apps = t.countApps()
	p := &Plan{opts: o, t: t, shapes: make([]shape, tree.Sources()), single: o.Strategy == Single || o.slots() == 0}
	t.apart = !p.single && !o.Compat
	switch {
	case o.Compat && tree.Base != nil:
		return nil, errors.New("layers as apko makes them: not possible on a base image")
	case o.Compat:
		return p, nil
	case tree.Base != nil:
		p.shapes[len(tree.Packages)].follow = true // it is below, and stays
	}
	p.assign()
	for i := range tree.Packages {
		if why := tree.Packages[i].Receipt.Verbatim; why != "" {
			p.shapes[i] = shape{follow: true, reason: why}
		}
		p.sliced(i)
	}
	if err := p.settle(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// sliced leaves out what is in no slice of a package. Where the name that a hard
// link points to is left out, the package follows the tree, in which another name has
// the file.
func (p *Plan) sliced(pkg int) {
	in := &p.t.tree.Packages[pkg]
	if in.Slice == nil {
		return
	}
	s := &p.shapes[pkg]
	entries := in.Receipt.Entries
	kept := map[string]bool{}
	for m := range entries {
		e := &entries[m]
		kept[e.Path] = in.Slice.Keep[m]
		switch {
		case !in.Slice.Keep[m]:
			s.leaveOut(m)
		case e.Type == apk.TypeHardlink && !kept[e.Link]:
			s.follow = true
		}
	}
	if !s.plain() && s.reason == "" {
		s.reason = "only " + strings.Join(in.Slice.Names, ", ")
	}
}

// assign divides the packages into groups and puts those in order.
func (p *Plan) assign() {
	units := p.t.units(p.opts)
	var segments [][]int
	switch {
	case p.single:
		segments = runs(upTo(len(units)), []int{len(units)})
		for i := range units {
			segments[0][i] = i
		}
	case p.opts.Previous.applies(p.opts):
		segments = stick(units, p.t.packageName, p.opts.Previous, p.opts.slots())
	default:
		segments = divide(units, p.opts.slots())
	}
	groups := make([][]int, len(segments))
	groupOf := slices.Repeat([]int{-1}, p.t.tree.Sources())
	for g, units_ := range segments {
		for _, u := range units_ {
			groups[g] = append(groups[g], units[u].packages...)
			for _, pkg := range units[u].packages {
				groupOf[pkg] = g
			}
		}
	}
	for _, g := range arrange(len(groups), between(p.t.overrides(), groupOf)) {
		p.groups = append(p.groups, groups[g])
	}
}

func (t *target) packageName(pkg int) string { return nameOf(t.tree, pkg) }

func nameOf(tree *rootfs.Tree, pkg int) string {
	if tree.OfBase(pkg) {
		return rootfs.BaseImage
	}
	return tree.Packages[pkg].Receipt.Package.Name
}

// settle finds a shape for each package such that all unpackers agree on the
// outcome, and the top layer that turns the outcome into the tree. Each round
// changes the shape of at least one package in one direction only, so it ends.
func (p *Plan) settle(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		p.fresh = map[int]bool{}
		f := p.simulate()
		if len(f.conflicts) > 0 {
			changed := false
			for _, c := range f.conflicts {
				changed = p.resolve(c) || changed
			}
			if !changed {
				return p.unresolved(f.conflicts[0])
			}
			continue
		}
		d := p.t.diff(f)
		if p.single && p.evictAll(d.stale) || p.rewriteHeavy(f, d) {
			continue
		}
		p.compose()
		p.top = p.t.topLayer(f, d, p.single)
		p.apps = p.t.appLayers(d)
		return p.verify(f)
	}
}

// simulate unpacks the layers below the top one.
func (p *Plan) simulate() *fsys {
	f := p.t.below()
	for layer, group := range p.groups {
		l := p.planned(group)
		l.visit(func(m *member) { f.apply(layer, m) })
	}
	return f
}

// resolve changes the shape of the package that has to give way, and reports
// whether anything changed.
func (p *Plan) resolve(c conflict) bool {
	why := c.path + " " + string(c.problem)
	member := func() bool { return p.giveWay(c.pkg, c.idx, why) }
	other := func() bool { return c.otherPkg >= 0 && p.giveWay(c.otherPkg, c.otherIdx, why) }
	switch c.problem {
	case throughOther:
		if p.t.isDir(c.otherPath) && !p.t.tree.OfBase(c.otherPkg) {
			return other()
		}
	case duplicate:
		if p.t.holds(c.path, c.pkg, c.idx) {
			return other()
		}
	case typeChange:
		if p.entry(c.pkg, c.idx).Type == apk.TypeDir && p.t.isDir(c.path) {
			return other()
		}
		if p.t.holds(c.path, c.pkg, c.idx) {
			return p.evict(c.layer, c.path, why, c.pkg, c.idx)
		}
	}
	return member()
}

func (p *Plan) entry(pkg, idx int) *apk.Entry { return &p.t.tree.Receipt(pkg).Entries[idx] }

// isDir reports whether path is a directory of the tree.
func (t *target) isDir(path string) bool {
	i := t.at(path)
	return i >= 0 && t.want[i].Type == apk.TypeDir
}

// giveWay makes a package follow the tree when that can help, or else leave
// the member out.
func (p *Plan) giveWay(pkg, idx int, why string) bool {
	s := &p.shapes[pkg]
	if p.t.tree.OfBase(pkg) {
		return false
	}
	if s.reason == "" {
		s.reason = why
	}
	switch {
	case p.fresh[pkg]: // it looks different in the next round
		return true
	case !s.follow && p.t.hasPlaceFor(pkg, idx):
		s.follow, p.fresh[pkg] = true, true
		return true
	}
	return s.leaveOut(idx)
}

// hasPlaceFor reports whether something of the tree comes from this member or,
// should it be a file, from a hard link to it.
func (t *target) hasPlaceFor(pkg, idx int) bool {
	entries := t.tree.Packages[pkg].Receipt.Entries
	content := contentMember(entries, idx)
	for _, i := range t.from[pkg] {
		m := t.tree.Entries[i].Member
		if m == idx || content >= 0 && t.want[i].Type == apk.TypeFile && contentMember(entries, m) == content {
			return true
		}
	}
	return false
}

// evict makes all members of a layer at and below a path give way, except one.
func (p *Plan) evict(layer int, path, why string, exceptPkg, exceptIdx int) bool {
	changed := false
	l := p.planned(p.groups[layer])
	l.visit(func(m *member) {
		at := m.entry.Path
		if m.pkg < 0 || at != path && !strings.HasPrefix(at, path+"/") || m.pkg == exceptPkg && m.idx == exceptIdx {
			return
		}
		changed = p.giveWay(m.pkg, m.idx, why) || changed
	})
	return changed
}

// evictAll makes members give way that the tree does not have: in a single
// layer nothing can be deleted or replaced later.
func (p *Plan) evictAll(stale []*node) bool {
	changed := false
	for _, n := range stale {
		why := fmt.Sprintf("%s is not as the package has it", p.entry(n.pkg, n.idx).Path)
		changed = p.giveWay(n.pkg, n.idx, why) || changed
	}
	return changed
}

// rewriteHeavy makes packages follow the tree that would otherwise cause much
// to be copied into the top layer: because files of theirs are at other paths
// or have other metadata, or because they stand in the way of other packages'
// files.
func (p *Plan) rewriteHeavy(f *fsys, d *difference) bool {
	avoidable := make([]int64, len(p.shapes))
	for _, i := range d.entries {
		e := &p.t.tree.Entries[i]
		if e.Type != apk.TypeFile || e.Package < 0 || e.Content != nil {
			continue
		}
		size := p.t.want[i].Size
		if !p.shapes[e.Package].follow && !p.t.emission(e.Package, i).raw {
			avoidable[e.Package] += size
		} else if n := f.lookup(e.Path); n != nil && n.pkg >= 0 && n.pkg != e.Package {
			avoidable[n.pkg] += size
		}
	}
	changed := false
	for pkg, bytes := range avoidable {
		if s := &p.shapes[pkg]; bytes > rewriteAbove && !s.follow {
			s.follow, changed = true, true
			s.reason = fmt.Sprintf("%d bytes would be copied into the top layer", bytes)
		}
	}
	return changed
}

// compose fixes the layers below the top one.
func (p *Plan) compose() {
	for _, group := range p.groups {
		if l := p.planned(group); l.count() > 0 {
			p.layers = append(p.layers, l)
		}
	}
}

// planned is the layer of a group of packages in their present shapes.
func (p *Plan) planned(group []int) planned {
	l := planned{kind: Packed, packages: group}
	for _, pkg := range group {
		l.members = append(l.members, p.t.members(pkg, &p.shapes[pkg]))
	}
	switch {
	case p.single:
		l.takeDirs()
		l.dirs = p.t.allDirs(&l)
	case len(group) > 1:
		l.dirs = l.takeDirs()
	case p.shapes[group[0]].plain():
		l.kind = Verbatim
	default:
		l.kind = Rewritten
	}
	return l
}

// takeDirs removes the directories from the packages' parts and returns them,
// each as the first package has it, sorted. The metadata is that of a package
// of this layer and not the tree's, which other packages have a say in.
func (l *planned) takeDirs() (dirs []member) {
	seen := map[string]bool{}
	for i, part := range l.members {
		l.members[i] = slices.DeleteFunc(part, func(m member) bool {
			if m.entry.Type != apk.TypeDir {
				return false
			}
			if !seen[m.entry.Path] {
				seen[m.entry.Path] = true
				m.raw = false
				dirs = append(dirs, m)
			}
			return true
		})
	}
	slices.SortStableFunc(dirs, func(a, b member) int { return rootfs.ComparePaths(a.entry.Path, b.entry.Path) })
	return dirs
}

// allDirs are all directories of the tree, for a single layer; on a base image
// those that the layer changes or has something in.
func (t *target) allDirs(l *planned) (dirs []member) {
	needed := t.neededDirs(l)
	for i, w := range t.want {
		if w.Type == apk.TypeDir && (needed == nil || needed[i]) {
			dirs = append(dirs, member{pkg: -1, idx: i, entry: w, content: -1})
		}
	}
	return dirs
}

// verify unpacks the top layer too and compares with the tree: the promise of
// this package, checked on every plan.
func (p *Plan) verify(f *fsys) error {
	layer := len(p.groups)
	if p.single {
		layer = 0
		if n := len(p.top.whiteouts); n > 0 {
			return fmt.Errorf("single layer: %s: a path that must not exist cannot be deleted (%d such paths)", p.top.whiteouts[0], n)
		}
	}
	for _, w := range p.top.whiteouts {
		f.whiteout(layer, w)
	}
	for n, l := range append([]*topLayer{p.top}, p.apps...) {
		for i := range l.items {
			if it := &l.items[i]; it.whiteout == "" {
				f.apply(layer+n, &member{pkg: -1, idx: it.entry, entry: it.header, content: -1})
			}
		}
	}
	if len(f.conflicts) > 0 {
		c := f.conflicts[0]
		return fmt.Errorf("%s layer: %s %s", p.t.kindOf(c.idx), p.t.tree.Entries[c.idx].Path, c.problem)
	}
	d := p.t.diff(f)
	if len(d.whiteouts) > 0 {
		return fmt.Errorf("layers: %s: still there after unpacking", d.whiteouts[0])
	}
	for _, i := range slices.Concat(d.entries, slices.Concat(d.apps...)) {
		if e := &p.t.tree.Entries[i]; e.Path != "" && e.Path != "." {
			return fmt.Errorf("layers: %s: not as planned after unpacking", e.Path)
		}
	}
	return nil
}

func (p *Plan) unresolved(c conflict) error {
	return fmt.Errorf("package %s: %s %s, and leaving it out does not help", p.t.packageName(c.pkg), p.entry(c.pkg, c.idx).Path, c.problem)
}
