package subject

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Databases are the places of the installed database, by preference.
var Databases = []string{"usr/lib/apk/db/installed", "lib/apk/db/installed"}

// IsDatabase tells whether a path is a place of the installed database.
func IsDatabase(path string) bool { return slices.Contains(Databases, path) }

// Owners maps paths to the package that has them, by the installed database. A
// directory of several packages is nobody's and maps to nothing.
func Owners(installed []apk.InstalledPackage) map[string]string {
	out := map[string]string{}
	for i := range installed {
		name := installed[i].Name
		for _, d := range installed[i].Dirs {
			if was, ok := out[d.Path]; ok && was != name {
				out[d.Path] = ""
			} else {
				out[d.Path] = name
			}
			for _, f := range d.Files {
				out[path.Join(d.Path, f.Name)] = name
			}
		}
	}
	return out
}

// Comments are the comments of the image's history, one per layer; nil where
// the history does not fit the layers.
func (i *Image) Comments() []string {
	var out []string
	for n := range i.Config.History {
		if !i.Config.History[n].EmptyLayer {
			out = append(out, i.Config.History[n].Comment)
		}
	}
	if len(out) != len(i.Manifest.Layers) {
		return nil
	}
	return out
}

// Words spells an argument list so that its parts can be told apart.
func Words(list []string) string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = w
		if w == "" || strings.ContainsAny(w, " \t\"'\n\r\\") {
			out[i] = fmt.Sprintf("%q", w)
		}
	}
	return strings.Join(out, " ")
}
