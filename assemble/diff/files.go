package diff

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/packages/apk"
)

// The kinds of changes of files; packages have some more.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// File is a path on one side.
type File struct {
	Type   string            `json:"type"` // file, directory, symlink, character device, block device, fifo
	Mode   string            `json:"mode"` // octal, four digits
	UID    int               `json:"uid"`
	GID    int               `json:"gid"`
	Size   int64             `json:"size,omitempty"` // of a regular file, bytes
	SHA256 string            `json:"sha256,omitempty"`
	Link   string            `json:"link,omitempty"`      // target of a symbolic link
	Hard   string            `json:"hard_link,omitempty"` // path that it is one file with
	Device string            `json:"device,omitempty"`    // major:minor
	Xattrs map[string]string `json:"xattrs,omitempty"`
	// Package owns the path, by the installed database; a directory that
	// several have is nobody's. That one changes hands is no difference.
	Package string `json:"package,omitempty"`
}

// FileChange is a path that differs.
type FileChange struct {
	Path string `json:"path"` // without a leading slash
	Kind string `json:"kind"` // added, removed, changed
	// What differs of a changed path: type, mode, owner, size, content, link,
	// hard link, device, xattrs, package.
	What []string `json:"what,omitempty"`
	A    *File    `json:"a,omitempty"`
	B    *File    `json:"b,omitempty"`
}

var typeNames = map[apk.EntryType]string{
	apk.TypeFile: "file", apk.TypeDir: "directory", apk.TypeSymlink: "symlink", apk.TypeChar: "character device",
	apk.TypeBlock: "block device", apk.TypeFIFO: "fifo", typeUnknown: "unread",
}

func (c *comparison) files(ctx context.Context) error {
	if c.a.image == nil || c.b.image == nil {
		c.leaveOut("files: a lock names packages only")
		return nil
	}
	r := &reader{a: c.a, b: c.b, read: &c.out.Read}
	if err := r.start(ctx, c.options.ReadAll); err != nil {
		return err
	}
	a, b, err := r.trees(ctx)
	if err != nil {
		return err
	}
	ownersA, ownersB := subject.Owners(c.a.installed), subject.Owners(c.b.installed)
	for name := range maps.Keys(b) {
		if a[name] == nil {
			c.out.Files = append(c.out.Files, FileChange{Path: name, Kind: Added, B: fileOf(b[name], ownersB)})
		}
	}
	for name, p := range a {
		f, q := fileOf(p, ownersA), b[name]
		if q == nil {
			c.out.Files = append(c.out.Files, FileChange{Path: name, Kind: Removed, A: f})
			continue
		}
		if g := fileOf(q, ownersB); !same(f, g) {
			c.out.Files = append(c.out.Files, FileChange{Path: name, Kind: Changed, What: whatDiffers(f, g), A: f, B: g})
			continue
		}
		c.out.Unchanged.Files++
	}
	slices.SortFunc(c.out.Files, func(x, y FileChange) int { return rootfs.ComparePaths(x.Path, y.Path) })
	return nil
}

func fileOf(p *image.Placed, owners map[string]string) *File {
	f := &File{Type: typeNames[p.Type], Mode: fmt.Sprintf("%04o", p.Mode), UID: p.UID, GID: p.GID, Hard: p.HardLink,
		Xattrs: p.Xattrs, Package: owners[p.Path]}
	switch p.Type {
	case apk.TypeFile:
		f.Size, f.SHA256 = p.Size, p.SHA256.Hex()
	case apk.TypeSymlink:
		f.Link = p.Link
	case apk.TypeChar, apk.TypeBlock:
		f.Device = fmt.Sprintf("%d:%d", p.DevMajor, p.DevMinor)
	}
	return f
}

func same(f, g *File) bool { return len(whatDiffers(f, g)) == 0 }

func whatDiffers(f, g *File) []string {
	var out []string
	for _, part := range []struct {
		name string
		same bool
	}{
		{"type", f.Type == g.Type},
		{"mode", f.Mode == g.Mode},
		{"owner", f.UID == g.UID && f.GID == g.GID},
		{"size", f.Size == g.Size},
		{"content", f.SHA256 == g.SHA256},
		{"link", f.Link == g.Link},
		{"hard link", f.Hard == g.Hard},
		{"device", f.Device == g.Device},
		{"xattrs", maps.Equal(f.Xattrs, g.Xattrs)},
		{"package", f.Package == g.Package || f.Type == "directory" && g.Type == "directory"},
	} {
		if !part.same {
			out = append(out, part.name)
		}
	}
	return out
}
