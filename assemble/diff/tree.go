package diff

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/packages/apk"
)

// typeUnknown marks a path of a layer that was not read: the installed database
// says that it is there, but not whether it is a file or a link.
const typeUnknown apk.EntryType = '?'

// reader reads what is needed of the layers of both sides. A layer that both
// have need not be read where the installed database says which paths it has:
// whatever is in it, it is the same on both sides, so that only paths that
// another layer has too can differ.
type reader struct {
	a, b *side
	read *Read
	// skip are the layers, by digest, that are not read unless it turns out to
	// be necessary, with what the database says of them.
	skip map[string]*image.Listing
}

// start reads the top layers, where the database of an image that cairn built
// is, and decides what else is read.
func (r *reader) start(ctx context.Context, all bool) error {
	r.skip = map[string]*image.Listing{}
	for _, s := range []*side{r.a, r.b} {
		top := len(s.image.Manifest.Layers) - 1
		if top < 0 {
			continue
		}
		if err := r.list(ctx, s, top); err != nil {
			return err
		}
		if err := s.findDatabase(s.listings[s.layerDigests()[top]]); err != nil {
			return err
		}
	}
	if !all && r.a.hasDB && r.b.hasDB {
		r.decide()
	}
	return r.rest(ctx)
}

// list reads a layer for both sides.
func (r *reader) list(ctx context.Context, s *side, i int) error {
	if err := s.list(ctx, i, r.read); err != nil {
		return err
	}
	digest := s.layerDigests()[i]
	for _, other := range []*side{r.a, r.b} {
		other.listings[digest] = s.listings[digest]
	}
	return nil
}

// rest reads every layer that is not skipped, and looks for a database below
// the top where there is none.
func (r *reader) rest(ctx context.Context) error {
	for _, s := range []*side{r.a, r.b} {
		for i, digest := range slices.Backward(s.layerDigests()) {
			if r.skip[digest] != nil {
				continue
			}
			if err := r.list(ctx, s, i); err != nil {
				return err
			}
			if err := s.findDatabase(s.listings[digest]); err != nil {
				return err
			}
		}
	}
	r.read.Skipped = len(r.skip)
	return nil
}

// decide finds the layers that need not be read: those that both sides have,
// in the same order, whose packages are known by name and are the same in both
// databases.
func (r *reader) decide() {
	a, b := r.a.layerDigests(), r.b.layerDigests()
	if !slices.Equal(common(a, b), common(b, a)) {
		return
	}
	names := r.a.layerPackages()
	for _, digest := range common(a, b) {
		if r.a.listings[digest] != nil {
			continue
		}
		if l := r.claimed(names[digest]); l != nil {
			r.skip[digest] = l
		}
	}
}

// common are the elements of list that other has too.
func common(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(d string) bool { return !slices.Contains(other, d) })
}

// layerPackages are the packages of each layer, as name-version, as the history
// says.
func (s *side) layerPackages() map[string][]string {
	out := map[string][]string{}
	comments := s.image.Comments()
	for i, digest := range s.layerDigests() {
		if comments != nil && !strings.Contains(comments[i], " more") && !strings.HasSuffix(comments[i], ")") {
			out[digest] = strings.Fields(comments[i])
		}
	}
	return out
}

// claimed makes a listing of what both databases say of packages, nil where
// they do not say the same.
func (r *reader) claimed(ids []string) *image.Listing {
	if len(ids) == 0 {
		return nil
	}
	l := &image.Listing{}
	for _, id := range ids {
		a, b := find(r.a.installed, id), find(r.b.installed, id)
		if a == nil || b == nil || a.Checksum != b.Checksum || !sameFiles(a, b) {
			return nil
		}
		for _, d := range a.Dirs {
			if !d.Xattrs.IsZero() {
				return nil
			}
			if d.Path != "" {
				l.Entries = append(l.Entries, apk.Entry{Path: d.Path, Type: apk.TypeDir, Mode: d.Mode, UID: d.UID, GID: d.GID})
			}
			for _, f := range d.Files {
				l.Entries = append(l.Entries, apk.Entry{Path: path.Join(d.Path, f.Name), Type: typeUnknown, Mode: f.Mode,
					UID: f.UID, GID: f.GID, SHA1: f.SHA1})
			}
		}
	}
	return l
}

func find(installed []apk.InstalledPackage, id string) *apk.InstalledPackage {
	for i := range installed {
		if installed[i].ID() == id {
			return &installed[i]
		}
	}
	return nil
}

func sameFiles(a, b *apk.InstalledPackage) bool {
	return slices.EqualFunc(a.Dirs, b.Dirs, func(x, y apk.InstalledDir) bool {
		return x.Path == y.Path && x.Mode == y.Mode && x.UID == y.UID && x.GID == y.GID && x.Xattrs == y.Xattrs &&
			slices.Equal(x.Files, y.Files)
	})
}

// unpack unpacks one side on paper.
func (r *reader) unpack(s *side) (map[string]*image.Placed, error) {
	var layers []*image.Listing
	for _, digest := range s.layerDigests() {
		l := s.listings[digest]
		if l == nil {
			l = r.skip[digest]
		}
		layers = append(layers, l)
	}
	return image.Unpack(layers)
}

// trees unpacks both sides, and reads more layers as long as a difference is
// about a path of a layer that was not read.
func (r *reader) trees(ctx context.Context) (a, b map[string]*image.Placed, err error) {
	for {
		if a, err = r.unpack(r.a); err == nil {
			b, err = r.unpack(r.b)
		}
		unread := map[string]bool{}
		switch {
		case err != nil && len(r.skip) == 0:
			return nil, nil, err
		case err != nil: // a hard link to what was not read
			for digest := range r.skip {
				unread[digest] = true
			}
		default:
			r.doubtful(r.a, r.b, a, b, unread)
			r.doubtful(r.b, r.a, b, a, unread)
		}
		if len(unread) == 0 {
			return a, b, nil
		}
		for digest := range unread {
			delete(r.skip, digest)
		}
		if err := r.rest(ctx); err != nil {
			return nil, nil, err
		}
	}
}

// doubtful finds the layers of s that must be read to say how its paths differ
// from those of the other side.
func (r *reader) doubtful(s, other *side, a, b map[string]*image.Placed, unread map[string]bool) {
	mine, theirs := s.layerDigests(), other.layerDigests()
	for name, p := range a {
		if p.Type != typeUnknown {
			continue
		}
		q := b[name]
		if q == nil || q.Type != typeUnknown || mine[p.Layer] != theirs[q.Layer] || q.SHA1 != p.SHA1 {
			if p.HardLink != "" { // to a path of whichever layer
				for digest := range r.skip {
					unread[digest] = true
				}
				return
			}
			unread[mine[p.Layer]] = true
		}
	}
}
