package baseimage

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/apk"
)

// maxIndex is the largest APKINDEX that is read, in bytes.
const maxIndex = 256 << 20

// databases are the places of the installed database, as scanners look for it.
var databases = []string{"lib/apk/db", "usr/lib/apk/db"}

// readPackages reads the index of the base's packages and holds it against the
// image's own installed database.
func (b *Base) readPackages(dir string, arch config.Arch) error {
	name := filepath.Join(dir, arch.APK, "APKINDEX")
	text, err := readFile(name)
	if err != nil {
		return fmt.Errorf("index of its packages: %w", err)
	}
	return b.takePackages(name, text)
}

// takePackages takes the text of the index, which is called name in messages.
func (b *Base) takePackages(name string, text []byte) error {
	b.Index, b.packages = sha256.Sum256(text), text
	listed, err := parse(name, text)
	if err != nil {
		return err
	}
	b.Installed = listed
	tree := newTree(b.Entries)
	if own := b.findDatabase(tree); own != nil {
		at := "/" + b.Database + "/installed"
		installed, err := parse("its "+at, own)
		if err != nil {
			return err
		}
		if err := compare(name, listed, at, installed); err != nil {
			return err
		}
		b.Installed = installed
	}
	b.own(tree)
	return nil
}

func readFile(name string) (_ []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxIndex+1))
	if err == nil && len(b) > maxIndex {
		err = &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("larger than %d bytes", maxIndex)}
	}
	return b, err
}

// Limits on a list of installed packages: what is a few bytes in it is some hundred
// in memory.
const (
	maxListed   = 64 << 20 // bytes
	maxPackages = 100_000
)

// parse reads a list of installed packages, each of which stands once.
func parse(name string, text []byte) ([]apk.InstalledPackage, error) {
	if n := bytes.Count(text, []byte("\nP:")); len(text) > maxListed || n > maxPackages {
		return nil, fmt.Errorf("%s: %d packages in %d bytes: expected at most %d in %d", name, n, len(text), maxPackages, maxListed)
	}
	list, err := apk.ParseInstalled(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	seen := map[string]string{}
	for i := range list {
		p := &list[i].Package
		if other, twice := seen[p.Name]; twice {
			return nil, fmt.Errorf("%s: package %s stands twice, as %s and as %s", name, p.Name, other, p.Version)
		}
		seen[p.Name] = p.Version
	}
	return list, nil
}

// findDatabase returns the image's installed database, nil when it has none.
func (b *Base) findDatabase(t *tree) []byte {
	for _, dir := range databases {
		if at, ok := t.resolve(dir + "/installed"); ok {
			if text, kept := b.Contents[at]; kept {
				b.Database = strings.TrimSuffix(at, "/installed")
				return text
			}
		}
	}
	return nil
}

// compare says in what the given list of packages differs from the image's own.
func compare(name string, listed []apk.InstalledPackage, at string, installed []apk.InstalledPackage) error {
	var problems []error
	was := map[string]*apk.Package{}
	for i := range installed {
		was[installed[i].Name] = &installed[i].Package
	}
	for i := range listed {
		p := &listed[i].Package
		q := was[p.Name]
		delete(was, p.Name)
		switch {
		case q == nil:
			problems = append(problems, fmt.Errorf("package %s: %s has %s, the image's %s has none", p.Name, name, p.Version, at))
		case q.Version != p.Version:
			problems = append(problems, fmt.Errorf("package %s: %s has %s, the image's %s has %s", p.Name, name, p.Version, at, q.Version))
		case q.Checksum != p.Checksum && !q.Checksum.IsZero() && !p.Checksum.IsZero():
			problems = append(problems, fmt.Errorf("package %s: %s has %s with checksum %s, the image's %s has it with %s",
				p.Name, name, p.Version, p.Checksum, at, q.Checksum))
		}
	}
	for i := range installed {
		if p := &installed[i].Package; was[p.Name] != nil {
			problems = append(problems, fmt.Errorf("package %s: %s has none, the image's %s has %s", p.Name, name, at, p.Version))
		}
	}
	return errors.Join(problems...)
}

// own finds out which package has which path. What is listed and not there was
// deleted by a later layer.
func (b *Base) own(t *tree) {
	b.Owners = make([]Owner, len(b.Entries))
	for p := range b.Installed {
		for d := range b.Installed[p].Dirs {
			dir := &b.Installed[p].Dirs[d]
			real, ok := t.resolve(dir.Path)
			if !ok {
				continue
			}
			if i, found := t.at[real]; found && b.Entries[i].Type == apk.TypeDir && !b.Owners[i].Known {
				b.Owners[i] = Owner{Known: true, Package: p, Dir: d, File: -1}
			}
			for f := range dir.Files {
				b.ownFile(t, real, Owner{Known: true, Package: p, Dir: d, File: f})
			}
		}
	}
}

func (b *Base) ownFile(t *tree, dir string, o Owner) {
	file := &b.Installed[o.Package].Dirs[o.Dir].Files[o.File]
	path := file.Name
	if dir != "" {
		path = dir + "/" + file.Name
	}
	i, ok := t.at[path]
	if !ok || b.Entries[i].Type == apk.TypeDir {
		return
	}
	content := &b.Entries[i]
	if content.Type == apk.TypeHardlink {
		content = &b.Entries[t.at[content.Link]]
	}
	if file.SHA1.IsZero() || content.SHA1.IsZero() || file.SHA1 == content.SHA1 {
		b.Owners[i] = o
	}
}

// maxLinks is how many symbolic links one path may go through.
const maxLinks = 40

// tree finds paths among entries.
type tree struct {
	entries []apk.Entry
	at      map[string]int
}

func newTree(entries []apk.Entry) *tree {
	t := &tree{entries: entries, at: make(map[string]int, len(entries))}
	for i := range entries {
		t.at[entries[i].Path] = i
	}
	return t
}

// resolve follows a path through symbolic links, inside the tree; ok is false
// when it leads nowhere.
func (t *tree) resolve(p string) (real string, ok bool) {
	links := 0
	for rest := p; ; {
		rest = strings.TrimLeft(rest, "/")
		if rest == "" {
			return real, true
		}
		name, after, _ := strings.Cut(rest, "/")
		rest = after
		switch name {
		case ".":
			continue
		case "..":
			real = parentOf(real)
			continue
		}
		next := name
		if real != "" {
			next = real + "/" + name
		}
		i, found := t.at[next]
		if !found {
			return "", false
		}
		if t.entries[i].Type != apk.TypeSymlink {
			real = next
			continue
		}
		if links++; links > maxLinks {
			return "", false
		}
		if strings.HasPrefix(t.entries[i].Link, "/") {
			real = ""
		}
		rest = t.entries[i].Link + "/" + after
	}
}

func parentOf(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}
