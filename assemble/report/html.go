package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // page.html, page.css and page.js
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
	"unicode"

	"github.com/cairn-dev/cairn/assemble/diff"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"bytes": diff.Bytes, "clean": Clean, "thousands": thousands, "short": short, "predicate": predicateName, "plural": plural,
	}).Parse(pageHTML))
})

// view is what the template sees.
type view struct {
	*Report
	CSS    template.CSS
	JS     template.JS
	Data   template.JS // JSON, which is no script
	Policy string      // Content-Security-Policy
	Views  []platformView
}

// policyOf allows nothing but the two inline parts, by their hashes. The JSON
// is data and not run.
func policyOf(css, js string) string {
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; script-src " + hash(js) + "; style-src " + hash(css) + "; base-uri 'none'; form-action 'none'"
}

// WriteHTML writes the page.
func (r *Report) WriteHTML(w io.Writer) error {
	v := &view{Report: r, CSS: template.CSS(pageCSS), JS: template.JS(pageJS), Policy: policyOf(pageCSS, pageJS)}
	for i := range r.Platforms {
		v.Views = append(v.Views, newPlatformView(i, &r.Platforms[i]))
	}
	data, err := json.Marshal(dataOf(r.Platforms))
	if err != nil {
		return err
	}
	v.Data = template.JS(data)
	var b bytes.Buffer
	if err := page().Execute(&b, v); err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}

// platformView is a platform with its picture.
type platformView struct {
	*Platform
	ID      string // p0, p1…
	Index   int
	Tiles   []tile
	Rows    []layerRow
	Several bool // some layer holds several packages
	Rest    bool // some layer holds files of no package
}

// layerRow is a line of the table of layers.
type layerRow struct {
	*Layer
	Share string // of the largest layer, in percent
	Names []string
	More  int
}

// tile is a rectangle of the picture.
type tile struct {
	Href, Class, Title, Label, Size string
	X, Y, W, H                      string
	ShowLabel, ShowSize             bool
}

// maxNames bounds the packages that a line of the table of layers names.
const maxNames = 6

func newPlatformView(i int, p *Platform) platformView {
	v := platformView{Platform: p, ID: fmt.Sprintf("p%d", i), Index: i}
	largest := int64(1)
	sizes := make([]int64, len(p.Layers))
	for n := range p.Layers {
		sizes[n] = p.Layers[n].Size
		largest = max(largest, sizes[n])
	}
	for n, r := range place(sizes, rect{0, 0, pictureWidth, pictureHeight}) {
		l := &p.Layers[n]
		v.addTiles(l, r)
		row := layerRow{Layer: l, Share: fmt.Sprintf("%.1f", 100*float64(l.Size)/float64(largest))}
		for _, part := range l.Parts {
			switch {
			case part.Package == "":
			case len(row.Names) < maxNames:
				row.Names = append(row.Names, part.Package)
			default:
				row.More++
			}
		}
		v.Rows = append(v.Rows, row)
	}
	return v
}

// addTiles draws a layer: as one rectangle, or, where it holds several
// packages, divided among them by the size of their files.
func (v *platformView) addTiles(l *Layer, r rect) {
	named := 0
	for _, p := range l.Parts {
		if p.Package != "" {
			named++
		}
	}
	switch {
	case named == 0 || l.rest():
		v.Rest = true
		name := "Other files"
		v.Tiles = append(v.Tiles, newTile(r, "rest", "#"+v.ID+"-layer-"+fmt.Sprint(l.Position), name, l.Size,
			fmt.Sprintf("compressed, layer %d, files of no package", l.Position)))
	case named == 1:
		name := Clean(l.named().Package)
		v.Tiles = append(v.Tiles, newTile(r, "package", v.link(l.named().Package), name, l.Size,
			fmt.Sprintf("compressed, layer %d", l.Position)))
	default:
		v.Several = true
		sizes := make([]int64, len(l.Parts))
		for i := range l.Parts {
			sizes[i] = l.Parts[i].Bytes
		}
		inner := rect{r.X + 1, r.Y + 1, max(r.W-2, 1), max(r.H-2, 1)}
		for i, part := range place(sizes, inner) {
			p := &l.Parts[i]
			name, href := Clean(p.Package), v.link(p.Package)
			if p.Package == "" {
				name, href = "Other files", "#"+v.ID+"-layer-"+fmt.Sprint(l.Position)
			}
			v.Tiles = append(v.Tiles, newTile(part, "several", href, name, p.Bytes,
				fmt.Sprintf("of files, layer %d, which has %s compressed and several packages", l.Position, diff.Bytes(l.Size))))
		}
	}
}

// rest tells whether most of a layer belongs to no package, as of the top layer
// of an image that cairn built.
func (l *Layer) rest() bool {
	paths, free := 0, 0
	for _, p := range l.Parts {
		paths += p.Paths
		if p.Package == "" {
			free = p.Paths
		}
	}
	return 2*free > paths
}

// named is the largest part that is a package's.
func (l *Layer) named() *Part {
	for i := range l.Parts {
		if l.Parts[i].Package != "" {
			return &l.Parts[i]
		}
	}
	return &Part{}
}

// link is the address of a package's page. Its position names it, so that
// nothing of a name can be more than a name.
func (v *platformView) link(name string) string {
	for i := range v.Packages {
		if v.Packages[i].Name == name {
			return fmt.Sprintf("#package-%d-%d", v.Index, i)
		}
	}
	return "#" + v.ID + "-packages"
}

// Link is link for the template.
func (v platformView) Link(name string) string { return v.link(name) }

// newTile makes a rectangle, with a gap around it. The text is left out where it
// would not be read; what is too long for it ends in an ellipsis.
func newTile(r rect, class, href, label string, size int64, about string) tile {
	f := func(x float64) string { return fmt.Sprintf("%.1f", x) }
	const gap = 1
	r = rect{r.X + gap, r.Y + gap, max(r.W-2*gap, 1), max(r.H-2*gap, 1)}
	t := tile{Href: href, Class: class, X: f(r.X), Y: f(r.Y), W: f(r.W), H: f(r.H), Label: label, Size: diff.Bytes(size)}
	t.Title = label + " " + t.Size + " " + about
	t.ShowLabel = r.W >= 52 && r.H >= 26
	t.ShowSize = t.ShowLabel && r.H >= 44
	return t
}

// Clean makes text from an image fit to be shown: control characters, and those
// that change the direction of writing, are spelled out.
func Clean(s string) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func hidden(r rune) bool { return !unicode.IsPrint(r) }

// thousands writes a number with separators: 12,345.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short is a digest's beginning.
func short(digest string) string {
	if len(digest) > 19 {
		return digest[:19]
	}
	return digest
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

// predicateName names the types that people know.
func predicateName(t string) string {
	for prefix, name := range map[string]string{
		"https://slsa.dev/provenance/": "SLSA provenance", "https://spdx.dev/Document": "SPDX document",
		"https://cyclonedx.org/bom": "CycloneDX document", "https://openvex.dev/ns": "OpenVEX document",
		"https://cosign.sigstore.dev/attestation/vuln/": "Vulnerability scan",
	} {
		if strings.HasPrefix(t, prefix) {
			return name
		}
	}
	return "Statement"
}
