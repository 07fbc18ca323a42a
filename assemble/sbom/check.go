package sbom

import (
	"errors"
	"fmt"

	"github.com/cairn-dev/cairn/packages/apk"
)

// ErrIncomplete is wrapped when something in an image has no component.
var ErrIncomplete = errors.New("SBOM is incomplete")

// IncompleteError says what an SBOM would have left out. It wraps
// [ErrIncomplete].
type IncompleteError struct {
	Path    string // relative to the root; empty when it is not about one path
	Problem string
}

func (e *IncompleteError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%s: %s", ErrIncomplete, e.Problem)
	}
	return fmt.Sprintf("%s: %s: %s", ErrIncomplete, e.Path, e.Problem)
}

// Unwrap returns [ErrIncomplete].
func (e *IncompleteError) Unwrap() error { return ErrIncomplete }

func incomplete(format string, args ...any) error {
	return &IncompleteError{Problem: fmt.Sprintf(format, args...)}
}

// Check says what the graph leaves out: it counts paths and bytes of the tree
// once per component and once over all, and looks at every reference. New has
// called it.
func (g *Graph) Check() error {
	if err := g.checkPaths(); err != nil {
		return err
	}
	if err := g.checkPackages(); err != nil {
		return err
	}
	return g.checkReferences()
}

// checkPaths compares the components' sums with the tree.
func (g *Graph) checkPaths() error {
	if len(g.owner) != len(g.tree.Entries) {
		return incomplete("%d paths attributed, %d in the tree", len(g.owner), len(g.tree.Entries))
	}
	type sum struct {
		paths int
		bytes int64
	}
	sums := make([]sum, len(g.Components))
	seen := make(map[string]bool, len(g.tree.Entries))
	for i := range g.tree.Entries {
		e := &g.tree.Entries[i]
		at := int(g.owner[i])
		if at < 0 || at >= len(g.Components) {
			return &IncompleteError{Path: e.Path, Problem: "nobody owns it"}
		}
		if seen[e.Path] {
			return &IncompleteError{Path: e.Path, Problem: "twice in the tree"}
		}
		seen[e.Path] = true
		sums[at].paths++
		if e.Type == apk.TypeFile {
			sums[at].bytes += e.Size
			if g.sums[i].sha256.IsZero() {
				return &IncompleteError{Path: e.Path, Problem: "no digest"}
			}
		}
	}
	for i := range g.Components {
		c := &g.Components[i]
		if c.Paths != sums[i].paths || c.Bytes != sums[i].bytes {
			return incomplete("component %s has %d paths and %d bytes, in the tree it has %d and %d", c.ID, c.Paths, c.Bytes, sums[i].paths, sums[i].bytes)
		}
	}
	return nil
}

// checkPackages makes sure that each package of the tree is listed.
func (g *Graph) checkPackages() error {
	listed := map[string]bool{}
	for i := range g.Components {
		if c := &g.Components[i]; c.Kind == KindPackage {
			listed[c.Name+" "+c.Version] = true
		}
	}
	var all []*apk.Package
	if g.tree.Base != nil {
		for i := range g.tree.Base.Installed {
			all = append(all, &g.tree.Base.Installed[i].Package)
		}
	}
	for i := range g.tree.Packages {
		all = append(all, &g.tree.Packages[i].Receipt.Package)
	}
	if len(listed) != len(all) {
		return incomplete("%d packages listed, %d in the image", len(listed), len(all))
	}
	for _, p := range all {
		if !listed[p.Name+" "+p.Version] {
			return incomplete("package %s is not listed", p.ID())
		}
	}
	return nil
}

// checkReferences makes sure that identifiers are unique, that relationships
// lead somewhere, and that everything that is in the image hangs together
// below it.
func (g *Graph) checkReferences() error {
	ids := make(map[string]bool, len(g.Components))
	for i := range g.Components {
		if id := g.Components[i].ID; ids[id] {
			return incomplete("two components are called %s", id)
		}
		ids[g.Components[i].ID] = true
	}
	inside := map[string]bool{g.Components[0].ID: true}
	for _, r := range g.Relationships { // sorted: a container comes before what is in it
		if !ids[r.From] || !ids[r.To] {
			return incomplete("relationship %s %s %s leads nowhere", r.From, r.Type, r.To)
		}
		if r.Type == Contains && inside[r.From] {
			inside[r.To] = true
		}
	}
	for i := range g.Components {
		c := &g.Components[i]
		if len(g.input.Image.Layers) > 0 && c.Paths > 0 && !inside[c.ID] {
			return incomplete("component %s is in no layer", c.ID)
		}
	}
	return nil
}

// CheckEntries compares the graph with what is really in the image, as
// image.Files reads it from the finished layers: each path must be there once,
// of the same type and with the same content, and no other.
func (g *Graph) CheckEntries(found []apk.Entry) error {
	have := make(map[string]int, len(g.tree.Entries))
	for i := range g.tree.Entries {
		have[g.tree.Entries[i].Path] = i
	}
	byPath := make(map[string]*apk.Entry, len(found))
	for i := range found {
		byPath[found[i].Path] = &found[i]
	}
	for i := range found {
		at, ok := have[found[i].Path]
		if !ok {
			return &IncompleteError{Path: found[i].Path, Problem: "in the image, but in no component"}
		}
		if problem := g.compare(at, &found[i], byPath); problem != "" {
			return &IncompleteError{Path: found[i].Path, Problem: problem}
		}
		delete(have, found[i].Path)
	}
	for i := range g.tree.Entries {
		if path := g.tree.Entries[i].Path; len(have) > 0 {
			if _, missing := have[path]; missing {
				return &IncompleteError{Path: path, Problem: "in a component, but not in the image"}
			}
		}
	}
	return nil
}

// compare says how a path of the image differs from the graph's entry at.
// Which of several hard links holds the content is no difference.
func (g *Graph) compare(at int, found *apk.Entry, byPath map[string]*apk.Entry) string {
	want := &g.tree.Entries[at]
	typ, content := want.Type, found
	if isContent(found.Type) && isContent(typ) {
		typ = found.Type
		for n := 0; content.Type == apk.TypeHardlink && n < 8; n++ {
			if content = byPath[content.Link]; content == nil {
				return "hard link to nothing"
			}
		}
	}
	switch {
	case typ != found.Type:
		return fmt.Sprintf("type %c in the image, %c in the graph", found.Type, want.Type)
	case found.Type == apk.TypeSymlink && found.Link != want.Link:
		return fmt.Sprintf("links to %s in the image, to %s in the graph", found.Link, want.Link)
	case isContent(typ) && content.SHA256 != g.sums[at].sha256:
		return fmt.Sprintf("%s in the image, %s in the graph", content.SHA256, g.sums[at].sha256)
	}
	return ""
}

func isContent(t apk.EntryType) bool { return t == apk.TypeFile || t == apk.TypeHardlink }
