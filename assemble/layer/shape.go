package layer

import (
	"cmp"
	"slices"

	"github.com/cairn-dev/cairn/packages/apk"
)

// shape says how a package's data section is turned into members of a layer.
type shape struct {
	// reason says why it is not taken as it is; empty when it is.
	reason string
	// follow makes the members those of the tree that come from the package,
	// at the tree's paths and with the tree's metadata; otherwise they are
	// those of the data section.
	follow bool
	// drop lists members left out.
	drop map[int]bool
}

// plain reports whether the members are exactly those of the data section.
func (s *shape) plain() bool { return !s.follow && len(s.drop) == 0 }

// leaveOut adds a member to those left out and reports whether it was new.
func (s *shape) leaveOut(idx int) bool {
	if s.drop[idx] {
		return false
	}
	if s.drop == nil {
		s.drop = map[int]bool{}
	}
	s.drop[idx] = true
	return true
}

// members lists what a package's part of a layer holds, in order.
func (t *target) members(pkg int, s *shape) []member {
	entries := t.tree.Packages[pkg].Receipt.Entries
	if s.follow {
		return t.followed(pkg, s)
	}
	out := make([]member, 0, len(entries))
	for i := range entries {
		if !s.drop[i] {
			out = append(out, member{pkg: pkg, idx: i, entry: &entries[i], raw: true, content: -1})
		}
	}
	return out
}

// placed is a member with the position in the data section from which it can
// be written in one pass.
type placed struct {
	member
	pos  int // receipt entry
	late int // hard links after what they point to
}

// followed lists the entries of the tree that a package's data section can
// give, in an order in which one pass over that section writes them.
func (t *target) followed(pkg int, s *shape) []member {
	entries := t.tree.Packages[pkg].Receipt.Entries
	used := map[int]bool{} // content can be written once
	at := map[int]int{}    // tree entry → position, of the files that are in
	var out []placed
	for _, i := range t.from[pkg] {
		e := &t.tree.Entries[i]
		if e.Type == apk.TypeHardlink || e.Type == apk.TypeChar || e.Type == apk.TypeBlock || s.drop[e.Member] {
			continue
		}
		p := placed{member: t.emission(pkg, i), pos: e.Member}
		if e.Type == apk.TypeFile {
			p.pos = contentMember(entries, e.Member)
			if used[p.pos] {
				continue
			}
			used[p.pos] = true
			at[i] = p.pos
		}
		out = append(out, p)
	}
	for _, i := range t.from[pkg] {
		e := &t.tree.Entries[i]
		pos, ok := at[t.leader[i]]
		if e.Type != apk.TypeHardlink || !ok || s.drop[e.Member] {
			continue
		}
		p := placed{member: t.emission(pkg, i), pos: max(pos, e.Member), late: 1}
		p.raw = p.raw && p.pos == e.Member // the section is read forwards only
		out = append(out, p)
	}
	out = append(out, t.strayDirs(pkg, s)...)
	slices.SortStableFunc(out, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.pos, b.pos), cmp.Compare(a.late, b.late), cmp.Compare(a.entry.Path, b.entry.Path))
	})
	members := make([]member, len(out))
	for i := range out {
		members[i] = out[i].member
	}
	return members
}

// strayDirs are a package's directories whose final metadata comes from
// elsewhere: they stay, so that what is below them has an explicit parent.
func (t *target) strayDirs(pkg int, s *shape) []placed {
	var out []placed
	entries := t.tree.Packages[pkg].Receipt.Entries
	for m := range entries {
		e := &entries[m]
		i := t.at(e.Path)
		if e.Type != apk.TypeDir || i < 0 || t.want[i].Type != apk.TypeDir || s.drop[m] {
			continue
		}
		if o := &t.tree.Entries[i]; o.Package == pkg && o.Content == nil {
			continue // already listed as an entry of the tree
		}
		out = append(out, placed{member: member{pkg: pkg, idx: m, entry: e, raw: true, content: -1}, pos: m})
	}
	return out
}

// emission is how entry i of the tree is written from its package's data
// section: as it stands there when nothing about it changed.
func (t *target) emission(pkg, i int) member {
	e := &t.tree.Entries[i]
	entries := t.tree.Packages[pkg].Receipt.Entries
	src := &entries[e.Member]
	m := member{pkg: pkg, idx: e.Member, entry: &e.Entry, content: -1}
	same := src.Path == e.Path && src.Type == e.Type && src.Link == e.Link &&
		(sameMeta(src, &e.Entry) || e.Type == apk.TypeSymlink && sameFile(src, &e.Entry))
	switch {
	case same && e.Type == apk.TypeFile:
		m.entry, m.raw = t.want[i], true
	case same:
		m.raw = true
	case e.Type == apk.TypeFile:
		m.entry = t.want[i]
		m.content = contentMember(entries, e.Member)
	}
	return m
}
