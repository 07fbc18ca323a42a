package diff

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"
)

// TextOptions say how a result is written for people.
type TextOptions struct {
	// AllFiles lists every path; otherwise those of packages that changed are
	// counted.
	AllFiles bool
}

// maxLines bounds the paths that are listed without AllFiles.
const maxLines = 40

// WriteText writes the result for people. What comes from the images is written
// without control characters.
func (r *Result) WriteText(w io.Writer, o TextOptions) error {
	b := &bytes.Buffer{}
	if r.Same && r.A.Digest == r.B.Digest {
		fmt.Fprintf(b, "same digest: %s\n", r.A.Digest)
		_, err := w.Write(b.Bytes())
		return err
	}
	t := newTable(b)
	t.row("A", clean(r.A.Name), r.A.Digest)
	t.row("B", clean(r.B.Name), r.B.Digest)
	t.flush()
	if r.Same {
		fmt.Fprintln(b, "\nnothing differs")
	}
	writeChanges(b, "ANNOTATIONS OF THE INDEX", r.Annotations)
	for i := range r.Platforms {
		r.Platforms[i].writeText(b, o)
	}
	for i := range r.Advisories {
		r.Advisories[i].writeText(b)
	}
	if !r.Same {
		writeNotes(b, r.NotCompared)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (a *Advisories) writeText(b *bytes.Buffer) {
	heading(b, "ADVISORIES: "+clean(a.Platform))
	t := newTable(b)
	for _, side := range []struct {
		kind string
		list []Advisory
	}{{"gone", a.Gone}, {"came", a.Came}} {
		for _, x := range side.list {
			fixed := ""
			if x.Fixed != "" {
				fixed = "fixed in " + clean(x.Fixed)
			}
			t.row(side.kind, clean(x.ID), x.Severity, clean(x.Package), fixed)
		}
	}
	t.flush()
	fmt.Fprintf(b, "%d on both sides\n", a.Both)
	for _, line := range a.Coverage {
		fmt.Fprintln(b, clean(line))
	}
}

func (p *Platform) writeText(b *bytes.Buffer, o TextOptions) {
	fmt.Fprintf(b, "\n%s: %s\n", p.Platform, p.summary())
	p.writePackages(b)
	p.writeFiles(b, o)
	p.writeSBOM(b)
	writeChanges(b, "CONFIGURATION", p.Config)
	p.writeLayers(b)
	writeNotes(b, p.NotCompared)
}

// summary is the platform's one line.
func (p *Platform) summary() string {
	switch {
	case p.A != "" && p.A == p.B:
		return "the same image"
	case p.Same:
		return "nothing differs"
	}
	parts := []string{count(len(p.Packages), "package"), count(len(p.Files), "file"), count(len(p.Config), "setting")}
	text := strings.Join(parts, ", ") + " differ"
	if p.Pull != nil {
		text += fmt.Sprintf("; a node with A pulls %s of %s for B", Bytes(p.Pull.Bytes), Bytes(p.Pull.Total))
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (p *Platform) writePackages(b *bytes.Buffer) {
	if len(p.Packages) == 0 {
		return
	}
	heading(b, "PACKAGES")
	t := newTable(b)
	for i := range p.Packages {
		c := &p.Packages[i]
		var note []string
		if c.Moved {
			note = c.origins()
		}
		t.row("  "+c.Kind, clean(c.Name), clean(c.versions()), clean(strings.Join(note, ", ")))
	}
	t.flush()
}

func (c *PackageChange) versions() string {
	switch {
	case c.A == nil:
		return c.B.Version
	case c.B == nil:
		return c.A.Version
	case c.A.Version == c.B.Version:
		return c.A.Version
	}
	return c.A.Version + " -> " + c.B.Version
}

func (c *PackageChange) origins() []string {
	var out []string
	if c.A.Repository != c.B.Repository {
		out = append(out, "from "+c.A.Repository+" -> "+c.B.Repository)
	}
	if c.A.Key != c.B.Key {
		out = append(out, fmt.Sprintf("index key %.19s -> %.19s", c.A.Key, c.B.Key))
	}
	return out
}

// writeFiles counts the paths of packages that changed and lists the others.
func (p *Platform) writeFiles(b *bytes.Buffer, o TextOptions) {
	if len(p.Files) == 0 {
		return
	}
	heading(b, "FILES")
	listed := p.Files
	t := newTable(b)
	if !o.AllFiles {
		listed = nil
		counts := map[string]map[string]int{}
		for i := range p.Files {
			f := &p.Files[i]
			if owner := f.owner(); p.moves(owner) {
				if counts[owner] == nil {
					counts[owner] = map[string]int{}
				}
				counts[owner][f.Kind]++
			} else {
				listed = append(listed, *f)
			}
		}
		for i := range p.Packages {
			if n := counts[p.Packages[i].Name]; n != nil {
				t.row("  of "+clean(p.Packages[i].Name), kindCounts(n))
			}
		}
		t.flush()
	}
	t = newTable(b)
	for i := range listed {
		if i >= maxLines && !o.AllFiles {
			break
		}
		f := &listed[i]
		t.row("  "+f.Kind, clean("/"+f.Path), clean(f.detail()), clean(f.owner()))
	}
	t.flush()
	if more := len(listed) - maxLines; more > 0 && !o.AllFiles {
		fmt.Fprintf(b, "  and %d more: --all-files lists them\n", more)
	}
}

// moves tells whether a package is among those that changed.
func (p *Platform) moves(name string) bool {
	return name != "" && slices.ContainsFunc(p.Packages, func(c PackageChange) bool { return c.Name == name })
}

func kindCounts(n map[string]int) string {
	var out []string
	for _, kind := range []string{Changed, Added, Removed} {
		if n[kind] > 0 {
			out = append(out, fmt.Sprintf("%d %s", n[kind], kind))
		}
	}
	return strings.Join(out, ", ")
}

func (f *FileChange) owner() string {
	if f.B != nil && f.B.Package != "" {
		return f.B.Package
	}
	if f.A != nil {
		return f.A.Package
	}
	return ""
}

// detail says what differs of a path, or what it is.
func (f *FileChange) detail() string {
	if f.Kind != Changed {
		one := f.A
		if one == nil {
			one = f.B
		}
		text := fmt.Sprintf("%s %s %d:%d", one.Type, one.Mode, one.UID, one.GID)
		switch {
		case one.Link != "":
			text += " -> " + one.Link
		case one.Type == "file":
			text += " " + Bytes(one.Size)
		}
		return text
	}
	var out []string
	for _, what := range f.What {
		out = append(out, f.change(what))
	}
	return strings.Join(out, ", ")
}

func (f *FileChange) change(what string) string {
	switch what {
	case "type":
		return f.A.Type + " -> " + f.B.Type
	case "mode":
		return f.A.Mode + " -> " + f.B.Mode
	case "owner":
		return fmt.Sprintf("%d:%d -> %d:%d", f.A.UID, f.A.GID, f.B.UID, f.B.GID)
	case "size":
		return fmt.Sprintf("%d -> %d B", f.A.Size, f.B.Size)
	case "link":
		return f.A.Link + " -> " + f.B.Link
	case "package":
		return "package " + orNone(f.A.Package) + " -> " + orNone(f.B.Package)
	}
	return what
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// writeSBOM writes what the packages above do not say already.
func (p *Platform) writeSBOM(b *bytes.Buffer) {
	if p.SBOM == nil {
		return
	}
	attached := p.SBOM.From != "installed database"
	if attached && len(p.SBOM.Components) > 0 {
		heading(b, "COMPONENTS, by "+p.SBOM.From)
		t := newTable(b)
		for i := range p.SBOM.Components {
			c := &p.SBOM.Components[i]
			t.row("  "+c.Kind, clean(c.Name), clean(c.text()))
		}
		t.flush()
	}
	if len(p.SBOM.Licenses) == 0 {
		return
	}
	heading(b, "LICENCES")
	t := newTable(b)
	for _, l := range p.SBOM.Licenses {
		t.row("  "+l.Kind, clean(l.License), clean(strings.Join(l.Components, " ")))
	}
	t.flush()
}

func (c *ComponentChange) text() string {
	one := func(x *Component) string { return strings.TrimSpace(x.Version + " " + x.License) }
	switch {
	case c.A == nil:
		return one(c.B)
	case c.B == nil:
		return one(c.A)
	}
	return one(c.A) + " -> " + one(c.B)
}

func writeChanges(b *bytes.Buffer, title string, list []Change) {
	if len(list) == 0 {
		return
	}
	heading(b, title)
	t := newTable(b)
	for _, c := range list {
		kind, text := Changed, ""
		switch {
		case c.A == nil:
			kind, text = Added, *c.B
		case c.B == nil:
			kind, text = Removed, *c.A
		default:
			text = *c.A + " -> " + *c.B
		}
		t.row("  "+kind, clean(c.Key), clean(text))
	}
	t.flush()
}

func (p *Platform) writeLayers(b *bytes.Buffer) {
	l := &p.Layers
	if p.Same || len(l.Added)+len(l.Removed)+len(l.Moved) == 0 {
		return
	}
	heading(b, fmt.Sprintf("LAYERS, %d shared", l.Shared))
	t := newTable(b)
	for _, x := range l.Added {
		t.row("  "+Added, fmt.Sprintf("%d %.19s", x.Position, x.Digest), Bytes(x.Size), clean(x.Comment))
	}
	for _, x := range l.Removed {
		t.row("  "+Removed, fmt.Sprintf("%d %.19s", x.Position, x.Digest), Bytes(x.Size), clean(x.Comment))
	}
	for _, x := range l.Moved {
		t.row("  "+Moved, fmt.Sprintf("%d %.19s", x.B, x.Digest), fmt.Sprintf("from %d", x.A), "")
	}
	t.flush()
}

func writeNotes(b *bytes.Buffer, notes []string) {
	for i, n := range notes {
		if i == 0 {
			fmt.Fprintln(b)
		}
		fmt.Fprintf(b, "not compared: %s\n", clean(n))
	}
}

func heading(b *bytes.Buffer, title string) { fmt.Fprintf(b, "\n%s\n", title) }

// table aligns columns.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

// row writes cells; empty ones at the end leave no space behind.
func (t table) row(cells ...string) {
	for len(cells) > 1 && cells[len(cells)-1] == "" {
		cells = cells[:len(cells)-1]
	}
	fmt.Fprintln(t.Writer, strings.Join(cells, "\t")) // into memory
}

func (t table) flush() { _ = t.Flush() } // into memory

// clean makes text from an image fit for a terminal: control characters, and
// those that change the direction of writing, are spelled out.
func clean(s string) string {
	if !strings.ContainsFunc(s, unprintable) && len(s) < maxCell {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if b.Len() >= maxCell {
			b.WriteString("…")
			break
		}
		if unprintable(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// maxCell bounds a cell of a table, in bytes.
const maxCell = 400

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// Bytes spells a size for people: 1.5 MB, 300 B; powers of ten.
func Bytes(n int64) string {
	const units = "kMGT"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1000, 0
	for f >= 999.5 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f %cB", f, units[i])
	}
	return fmt.Sprintf("%.0f %cB", f, units[i])
}
