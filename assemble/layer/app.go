package layer

import (
	"path"
	"slices"
)

// Applications lie above everything else: a layer each, with what the tree has of
// it and the directories that lead there, as the tree has them. So a change of an
// application changes one layer, and nothing that is unpacked before it.

// countApps is the number of layers that applications need: the largest position.
func (t *target) countApps() (n int) {
	for i := range t.tree.Entries {
		n = max(n, t.tree.Entries[i].App)
	}
	return n
}

// appOf is the application whose layer entry i travels in, 0 for none. A hard link
// that the configuration makes to a file goes with it.
func (t *target) appOf(i int) int { return t.tree.Entries[t.leader[i]].App }

// takeApps moves what is an application's from the top layer to its own.
func (t *target) takeApps(in []bool, d *difference) {
	if !t.apart {
		return
	}
	d.apps = make([][]int, t.countApps())
	for i, ok := range in {
		if app := t.appOf(i); ok && app > 0 {
			d.apps[app-1] = append(d.apps[app-1], i)
			in[i] = false
		}
	}
	for n := range d.apps {
		d.apps[n] = t.withParents(d.apps[n])
	}
}

// withParents adds the directories that entries are in, so that no unpacker has to
// imply one.
func (t *target) withParents(entries []int) []int {
	if len(entries) == 0 {
		return nil
	}
	all := map[int]bool{}
	for _, i := range entries {
		all[i] = true
		for dir := path.Dir(t.tree.Entries[i].Path); dir != "."; dir = path.Dir(dir) {
			all[t.byPath[dir]] = true
		}
	}
	if i, ok := t.byPath[""]; ok {
		all[i] = true
	}
	out := make([]int, 0, len(all))
	for i := range all {
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}

// appLayers are the layers of applications that bring something.
func (t *target) appLayers(d *difference) (out []*topLayer) {
	for n, entries := range d.apps {
		if len(entries) == 0 {
			continue // all of it is a directory that is there anyway
		}
		l := &topLayer{app: n + 1}
		for _, i := range entries {
			l.items = append(l.items, topItem{entry: i, header: t.headerOf(i)})
		}
		l.sort()
		out = append(out, l)
	}
	return out
}

// kindOf is the kind of the layer that entry i travels in, when it is none of a
// package.
func (t *target) kindOf(i int) Kind {
	if i >= 0 && t.apart && t.appOf(i) > 0 {
		return App
	}
	return Top
}

// above are the layers above those of packages, bottom to top.
func (p *Plan) above() []*topLayer {
	if p.hasTop() {
		return append([]*topLayer{p.top}, p.apps...)
	}
	return p.apps
}

// kind is the kind of a layer above those of packages.
func (l *topLayer) kind() Kind {
	if l.app > 0 {
		return App
	}
	return Top
}

// describeAbove describes a layer above those of packages.
func (p *Plan) describeAbove(l *topLayer) (LayerDescription, error) {
	tar, err := p.t.tar(l)
	if err != nil {
		return LayerDescription{}, err
	}
	return LayerDescription{Kind: l.kind(), Entries: len(l.items), Whiteouts: len(l.whiteouts), Inflated: tar.size + int64(len(zeroBlocks))}, nil
}

// comment is the text of the history entry of a layer above those of packages.
func (t *target) comment(l *topLayer) string {
	if l.app == 0 {
		return "everything that is not as its package has it"
	}
	for _, it := range l.items { // a directory is before what is in it
		if e := &t.tree.Entries[it.entry]; e.App == l.app {
			return "application /" + e.Path
		}
	}
	return "application"
}
