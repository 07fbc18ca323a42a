package lock

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Stale says what a request asks that the lock was not made for, one line per
// difference; none means that the lock is current. A lock that apko wrote
// carries no request and is compared by [Lock.StaleChecksum] instead.
func (l *Lock) Stale(r Request) []string {
	if l.Cairn == nil {
		return nil
	}
	old := l.Cairn.Request
	var out []string
	out = append(out, difference("packages", old.Packages, r.Packages)...)
	out = append(out, difference("repositories", old.Repositories, r.Repositories)...)
	out = append(out, difference("keyring", old.Keyring, r.Keyring)...)
	out = append(out, difference("archs", old.Architectures, r.Architectures)...)
	out = append(out, fileDifference("files", old.Files, r.Files)...)
	out = append(out, fileDifference("app", old.App, r.App)...)
	out = append(out, baseDifference(old.Base, r.Base)...)
	out = append(out, sliceDifference(old.Slices, r.Slices)...)
	if old.Layering != r.Layering {
		out = append(out, fmt.Sprintf("layering: locked %s, now %s", orNone(old.Layering), orNone(r.Layering)))
	}
	return out
}

// StaleChecksum reports whether the lock was made for another text of the
// configuration; checksum is apko's.
func (l *Lock) StaleChecksum(checksum string) bool {
	return l.Config.Checksum != "" && l.Config.Checksum != checksum
}

// difference compares two lists whose order matters only when the members are
// the same.
func difference(key string, old, now []string) []string {
	var out []string
	was, is := set(old), set(now) // either may be somebody's who wants this to take long
	for _, s := range now {
		if !was[s] {
			out = append(out, fmt.Sprintf("%s: added %s", key, s))
		}
	}
	for _, s := range old {
		if !is[s] {
			out = append(out, fmt.Sprintf("%s: removed %s", key, s))
		}
	}
	if len(out) == 0 && !slices.Equal(old, now) {
		out = append(out, fmt.Sprintf("%s: order changed", key))
	}
	return out
}

func set(list []string) map[string]bool {
	m := make(map[string]bool, len(list))
	for _, s := range list {
		m[s] = true
	}
	return m
}

func fileDifference(key string, old, now []File) []string {
	var out []string
	was := map[string]apk.SHA256{}
	for _, f := range old {
		was[f.Path] = f.SHA256
	}
	for _, f := range now {
		d, ok := was[f.Path]
		delete(was, f.Path)
		switch {
		case !ok:
			out = append(out, key+": added "+f.Path)
		case d != f.SHA256:
			out = append(out, fmt.Sprintf("%s: content of %s changed", key, f.Path))
		}
	}
	for _, f := range old {
		if _, gone := was[f.Path]; gone {
			out = append(out, key+": removed "+f.Path)
		}
	}
	return out
}

// sliceDifference compares the slices of packages, each list sorted by package.
func sliceDifference(old, now []Slice) []string {
	var out []string
	was := map[string]*Slice{}
	for i := range old {
		was[old[i].Package] = &old[i]
	}
	for i := range now {
		n := &now[i]
		o := was[n.Package]
		delete(was, n.Package)
		switch {
		case o == nil:
			out = append(out, fmt.Sprintf("slices of %s: locked all of it, now %s", n.Package, strings.Join(n.Slices, ", ")))
		case !slices.Equal(o.Slices, n.Slices):
			out = append(out, fmt.Sprintf("slices of %s: locked %s, now %s", n.Package, strings.Join(o.Slices, ", "), strings.Join(n.Slices, ", ")))
		case o.Definition != n.Definition:
			out = append(out, fmt.Sprintf("slices of %s: their definition changed", n.Package))
		}
	}
	for i := range old {
		if o := &old[i]; was[o.Package] == o {
			out = append(out, fmt.Sprintf("slices of %s: locked %s, now none", o.Package, strings.Join(o.Slices, ", ")))
		}
	}
	return out
}

// baseDifference compares the base images of the architectures that now has; a
// lock may have more.
func baseDifference(old, now []Base) []string {
	var out []string
	for i := range now {
		n, arch := &now[i], now[i].Architecture
		o := baseOf(old, arch)
		switch {
		case o == nil:
			out = append(out, fmt.Sprintf("base image (%s): locked none, now %s", arch, n.Image))
		case o.Image != n.Image:
			out = append(out, fmt.Sprintf("base image (%s): locked %s, now %s", arch, o.Image, n.Image))
		case o.Index != n.Index:
			out = append(out, fmt.Sprintf("index of the base image (%s): locked %s, now %s", arch, o.Index, n.Index))
		}
	}
	if len(now) == 0 {
		for i := range old {
			out = append(out, fmt.Sprintf("base image (%s): locked %s, now none", old[i].Architecture, old[i].Image))
		}
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// MoveKind says how a package differs between two locks.
type MoveKind string

// The kinds of moves.
const (
	Added     MoveKind = "added"
	Removed   MoveKind = "removed"
	Upgraded  MoveKind = "upgraded"
	Downgrade MoveKind = "downgraded"
	Rebuilt   MoveKind = "rebuilt" // same version, other bytes
)

// Move is one package that differs between two locks.
type Move struct {
	Kind          MoveKind `json:"kind"`
	Name          string   `json:"name"`
	Architectures []string `json:"architectures"`
	Old           string   `json:"old,omitempty"` // version
	New           string   `json:"new,omitempty"` // version
	Reason        Reason   `json:"reason,omitzero"`
}

// Moves lists what differs from old to now, sorted by name, then kind;
// architectures that move alike share one entry. A nil old makes everything
// added.
func Moves(old, now *Lock) []Move {
	if old == nil {
		old = &Lock{}
	}
	var out []Move
	add := func(m Move, arch string) {
		for i := range out {
			o := &out[i]
			if o.Kind == m.Kind && o.Name == m.Name && o.Old == m.Old && o.New == m.New {
				o.Architectures = append(o.Architectures, arch)
				return
			}
		}
		m.Architectures = []string{arch}
		out = append(out, m)
	}
	was, is := old.byKey(), now.byKey()
	for i := range now.Contents.Packages {
		p := &now.Contents.Packages[i]
		if m, ok := move(was[p.key()], p); ok {
			add(m, p.Architecture)
		}
	}
	for i := range old.Contents.Packages {
		p := &old.Contents.Packages[i]
		if is[p.key()] == nil {
			add(Move{Kind: Removed, Name: p.Name, Old: p.Version}, p.Architecture)
		}
	}
	slices.SortStableFunc(out, func(a, b Move) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(string(a.Kind), string(b.Kind))
	})
	return out
}

// move compares one package; ok is false when nothing moved.
func move(was, now *Package) (m Move, ok bool) {
	m = Move{Kind: Added, Name: now.Name, New: now.Version}
	if now.Cairn != nil {
		m.Reason = now.Cairn.Reason
	}
	if was == nil {
		return m, true
	}
	m.Old = was.Version
	switch c := apk.Compare(was.Version, now.Version); {
	case c < 0:
		m.Kind = Upgraded
	case c > 0:
		m.Kind = Downgrade
	case was.Checksum != now.Checksum:
		m.Kind = Rebuilt
	default:
		return m, false
	}
	return m, true
}

func (p *Package) key() string { return p.Architecture + " " + p.Name }

func (l *Lock) byKey() map[string]*Package {
	m := make(map[string]*Package, len(l.Contents.Packages))
	for i := range l.Contents.Packages {
		p := &l.Contents.Packages[i]
		m[p.key()] = p
	}
	return m
}
