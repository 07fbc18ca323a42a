package layer

import (
	"fmt"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Description says what a plan does and why, from metadata alone. It can be
// marshalled as JSON.
type Description struct {
	Strategy Strategy           `json:"strategy"`
	Budget   int                `json:"budget"`
	Layers   []LayerDescription `json:"layers"`
	// Empty names the packages without content, which have no layer.
	Empty []string `json:"empty,omitempty"`
}

// LayerDescription describes one planned layer.
type LayerDescription struct {
	Kind     Kind     `json:"kind"`
	Packages []string `json:"packages,omitempty"` // name-version, in the order of their content
	// Digest and DiffID are known before writing for verbatim layers only.
	Digest apk.SHA256 `json:"digest,omitzero"`
	DiffID apk.SHA256 `json:"diff_id,omitzero"`
	// Size is the compressed size in bytes: exact for verbatim layers, for
	// others that of the data sections they are made of; 0 for the top layer.
	Size int64 `json:"size"`
	// Inflated is the exact size of the tar in bytes.
	Inflated int64 `json:"inflated"`
	// Entries is the number of members, whiteouts included.
	Entries   int `json:"entries"`
	Whiteouts int `json:"whiteouts,omitempty"`
	// Reasons say which packages could not be taken as they are, and why.
	Reasons []Reason `json:"reasons,omitempty"`
}

// Reason says why a package is not taken as it is.
type Reason struct {
	Package string `json:"package"`
	Why     string `json:"why"`
}

// Describe describes the plan.
func (p *Plan) Describe() (*Description, error) {
	d := &Description{Strategy: p.opts.Strategy, Budget: p.opts.Budget}
	if p.opts.Compat {
		d.Layers = []LayerDescription{p.describeCompat()}
		return d, nil
	}
	for i := range p.opts.Base {
		d.Layers = append(d.Layers, describeBase(&p.opts.Base[i]))
	}
	for i := range p.layers {
		l, err := p.describeLayer(&p.layers[i])
		if err != nil {
			return nil, err
		}
		d.Layers = append(d.Layers, l)
	}
	for i := range p.t.tree.Packages {
		if r := p.t.tree.Packages[i].Receipt; len(r.Entries) == 0 {
			d.Empty = append(d.Empty, r.Package.ID())
		}
	}
	if p.single && len(p.layers) > 0 {
		top, err := p.t.tar(p.top)
		if err != nil {
			return nil, err
		}
		l := &d.Layers[len(d.Layers)-1]
		l.Entries += len(top.items)
		l.Inflated += top.size
	}
	for _, above := range p.above() {
		l, err := p.describeAbove(above)
		if err != nil {
			return nil, err
		}
		d.Layers = append(d.Layers, l)
	}
	return d, nil
}

func (p *Plan) describeLayer(l *planned) (LayerDescription, error) {
	dirs, err := l.dirHeaders()
	if err != nil {
		return LayerDescription{}, err
	}
	d := LayerDescription{Kind: l.kind, Entries: l.count()}
	if l.kind != Verbatim {
		d.Inflated = int64(len(dirs) + len(zeroBlocks))
	}
	for i, pkg := range l.packages {
		r := p.t.tree.Packages[pkg].Receipt
		d.Packages = append(d.Packages, r.Package.ID())
		if s := &p.shapes[pkg]; !s.plain() {
			d.Reasons = append(d.Reasons, Reason{r.Package.ID(), s.reason})
		}
		if l.kind == Verbatim {
			d.Digest, d.DiffID, d.Size, d.Inflated = r.DataHash, r.DiffID, r.DataSize, r.InflatedSize
			continue
		}
		if len(l.members[i]) == 0 {
			continue
		}
		rec, err := p.recipe(pkg, l.members[i])
		if err != nil {
			return d, err
		}
		d.Size += r.DataSize
		d.Inflated += rec.size()
	}
	return d, nil
}

func (p *Plan) describeCompat() LayerDescription {
	d := LayerDescription{Kind: Packed, Entries: len(p.t.tree.Entries)}
	for i := range p.t.tree.Packages {
		d.Packages = append(d.Packages, p.t.tree.Packages[i].Receipt.Package.ID())
	}
	return d
}

// Assignment returns which packages share a layer, for the lock and for
// Options.Previous of a later build. It has no segments where there is nothing
// to keep: a single layer.
func (p *Plan) Assignment() *Assignment {
	a := &Assignment{Strategy: p.opts.Strategy, Budget: p.opts.Budget}
	if p.opts.Compat || p.single {
		return a
	}
	for _, group := range p.groups {
		names := make([]string, len(group))
		for i, pkg := range group {
			names[i] = p.t.packageName(pkg)
		}
		a.Segments = append(a.Segments, names)
	}
	return a
}

// maxComment bounds the text of a packed layer's history entry, in bytes.
const maxComment = 512

// Comment returns the text for the OCI history entry of layer i of those that
// Write returns: what is in it.
func (p *Plan) Comment(i int) string {
	if p.opts.Compat {
		return "This is an apko single-layer image"
	}
	if n := i - len(p.layers); n >= 0 {
		return p.t.comment(p.above()[n])
	}
	l := &p.layers[i]
	ids := make([]string, 0, len(l.packages))
	length := 0
	for n, pkg := range l.packages {
		id := p.t.tree.Packages[pkg].Receipt.Package.ID()
		if length += len(id) + 1; length > maxComment {
			ids = append(ids, fmt.Sprintf("and %d more", len(l.packages)-n))
			break
		}
		ids = append(ids, id)
	}
	text := strings.Join(ids, " ")
	if l.kind == Rewritten {
		text += " (rewritten)"
	}
	return text
}
