package report

import (
	"encoding/base64"
	"encoding/hex"
)

// pageData is what the page's script works with. Names are short, and files are
// lists in a fixed order, because there may be many thousands of them.
type pageData struct {
	Packages []pagePackage `json:"packages"`
	// Names are the packages that own files; Files name them by position.
	Names []string `json:"names"`
	// Files are [path, type, mode, uid, gid, size, position in Names or -1,
	// layer, SHA-256 in base64 without padding or "", link].
	Files [][]any `json:"files"`
}

type pagePackage struct {
	Name    string   `json:"n"`
	Version string   `json:"v"`
	Arch    string   `json:"a"`
	Origin  string   `json:"o,omitempty"`
	License string   `json:"l,omitempty"`
	About   string   `json:"d,omitempty"`
	URL     string   `json:"u,omitempty"`
	By      string   `json:"m,omitempty"`
	Size    int64    `json:"s"`
	Layers  []int    `json:"y"`
	Depends []string `json:"dep"`
	Needs   []int    `json:"need"` // positions
	Needed  []int    `json:"by"`
}

func dataOf(platforms []Platform) []pageData {
	out := make([]pageData, len(platforms))
	for i := range platforms {
		out[i] = platforms[i].data()
	}
	return out
}

func (p *Platform) data() pageData {
	d := pageData{Packages: []pagePackage{}, Names: []string{}, Files: [][]any{}}
	at := map[string]int{}
	for i := range p.Packages {
		at[p.Packages[i].Name] = i
		d.Names = append(d.Names, Clean(p.Packages[i].Name))
	}
	positions := func(names []string) []int {
		out := []int{}
		for _, n := range names {
			out = append(out, at[n])
		}
		return out
	}
	for i := range p.Packages {
		x := &p.Packages[i]
		out := pagePackage{Name: Clean(x.Name), Version: Clean(x.Version), Arch: Clean(x.Arch), Origin: Clean(x.Origin), License: Clean(x.License),
			About: Clean(x.Description), URL: Clean(x.URL), By: Clean(x.Maintainer), Size: x.Size, Layers: x.Layers,
			Depends: []string{}, Needs: positions(x.Needs), Needed: positions(x.NeededBy)}
		for _, dep := range x.Depends {
			out.Depends = append(out.Depends, Clean(dep))
		}
		d.Packages = append(d.Packages, out)
	}
	for i := range p.Files {
		d.Files = append(d.Files, p.Files[i].data(at))
	}
	return d
}

func (f *File) data(at map[string]int) []any {
	owner := -1
	if i, ok := at[f.Package]; ok && f.Package != "" {
		owner = i
	}
	sum := ""
	if b, err := hex.DecodeString(f.SHA256); err == nil {
		sum = base64.RawStdEncoding.EncodeToString(b)
	}
	return []any{Clean(f.Path), f.Type, f.Mode, f.UID, f.GID, f.Size, owner, f.Layer, sum, Clean(f.Link)}
}
