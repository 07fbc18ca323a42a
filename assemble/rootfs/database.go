package rootfs

import (
	"archive/tar"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
)

// database writes what apk and scanners read to know what is installed.
func (b *builder) database() error {
	if b.alone() && b.in.Base.Database != "" {
		return nil
	}
	dir, err := b.databaseDirectory()
	if err != nil {
		return fmt.Errorf("installed database: %w", err)
	}
	scripts, err := b.scripts()
	if err != nil {
		return fmt.Errorf("installed database: %w", err)
	}
	installed := b.installed()
	if b.compat() {
		installed = b.apkoInstalled()
	}
	for _, f := range []struct {
		name    string
		mode    uint32
		content []byte
	}{
		{"installed", 0o644, installed},
		{"lock", 0o600, nil},
		{b.scriptsFile(), 0o644, scripts},
		{"triggers", 0o644, b.triggers()},
	} {
		if f.content == nil && b.baseHasFile(dir+"/db/"+f.name) {
			continue
		}
		if _, err := b.generate(dir+"/db/"+f.name, f.mode, f.content, Owner{OwnedByGenerator, generatorDatabase}); err != nil {
			return fmt.Errorf("installed database: %w", err)
		}
	}
	return nil
}

// databaseDirectory makes the database's directories and returns the real path
// of "lib/apk". Both spellings, /lib/apk/db (apk-tools, older scanners) and
// /usr/lib/apk/db (apko), lead to one database in every image:
//
//   - /lib is a symlink: the database is wherever /lib/apk leads;
//   - no package has /lib/apk: it is in /usr/lib/apk, and /lib/apk is a symlink
//     to that, as in apko's images;
//   - a package has the directory /lib/apk (Alpine's apk-tools): it is there, and
//     /usr/lib/apk is a symlink to that, unless a package has it.
func (b *builder) databaseDirectory() (string, error) {
	if b.in.Base != nil && b.in.Base.Database != "" {
		return strings.TrimSuffix(b.in.Base.Database, "/db"), nil
	}
	lib, err := b.mkdirAll("lib")
	if err != nil {
		return "", err
	}
	b.adopt(lib)
	usr, err := b.mkdirAll("usr/lib")
	if err != nil {
		return "", err
	}
	b.adopt(usr)
	if b.compat() {
		b.apkoDatabase(lib, usr)
	}
	home := lib
	switch {
	case lib != usr && lib.ino.kids["apk"] == nil:
		home = usr
		b.linkDirectory(lib, usr)
	case lib != usr && usr.ino.kids["apk"] == nil && !b.compat():
		b.linkDirectory(usr, lib)
	}
	for _, sub := range []string{"apk", "apk/db", "apk/exec"} {
		d, err := b.mkdirAll(home.path() + "/" + sub)
		if err != nil {
			return "", err
		}
		b.adopt(d)
	}
	return home.path() + "/apk", nil
}

// linkDirectory makes apk in dir a symlink to apk in target; both are real.
func (b *builder) linkDirectory(dir, target *node) {
	ino := b.newInode(apk.TypeSymlink, 0o777, Owner{OwnedByGenerator, generatorDatabase})
	ino.link = strings.Repeat("../", strings.Count(dir.path(), "/")+1) + target.path() + "/apk"
	b.attach(dir, "apk", ino, -1, -1)
}

// adopt makes a directory that was only implied one of the database.
func (b *builder) adopt(n *node) {
	if n.ino.owner.Name == generatorImplied {
		n.ino.owner.Name = generatorDatabase
	}
}

// installed returns the installed database.
func (b *builder) installed() []byte {
	var list []*apk.InstalledPackage
	if b.in.Base != nil {
		list = b.baseInstalled()
	}
	size := 0
	for p := range b.in.Packages {
		list = append(list, b.installedPackage(p))
		size += 512 + 80*len(b.in.Packages[p].Receipt.Entries)
	}
	slices.SortStableFunc(list, func(x, y *apk.InstalledPackage) int { return apk.CompareNames(x.Name, y.Name) })
	out := make([]byte, 0, size)
	for _, p := range list {
		out = apk.AppendInstalled(out, p)
	}
	return out
}

// installedPackage lists what package p has in the tree, with the package's own
// paths and modes: what apk-tools compares the disk with, and what tells an
// audit that the configuration changed a file.
func (b *builder) installedPackage(p int) *apk.InstalledPackage {
	r := b.in.Packages[p].Receipt
	out := &apk.InstalledPackage{Package: r.Package, Tag: b.tag(r.Package.Name)}
	if s := b.in.Packages[p].Slice; s != nil {
		// apk-tools complains about keys that it does not know.
		out.Description = strings.TrimSpace(out.Description + " (only " + strings.Join(s.Names, ", ") + ")")
	}
	if out.Arch == "noarch" {
		out.Arch = b.in.Arch // as repositories' indexes have it, which is where apk takes it from
	}
	dirs := make(map[string]int)
	last, lastPath := -1, ""
	dirAt := func(path string) *apk.InstalledDir {
		if last >= 0 && path == lastPath {
			return &out.Dirs[last]
		}
		i, ok := dirs[path]
		if !ok {
			i = len(out.Dirs)
			dirs[path] = i
			out.Dirs = append(out.Dirs, apk.InstalledDir{Path: path, Mode: 0o755})
		}
		last, lastPath = i, path
		return &out.Dirs[i]
	}
	for m := range r.Entries {
		e := &r.Entries[m]
		if !b.kept[p][m] {
			continue
		}
		if e.Type == apk.TypeDir {
			d := dirAt(e.Path)
			d.Mode, d.UID, d.GID, d.Xattrs = e.Mode&0o7777, b.ids.uid(e), b.ids.gid(e), apk.XattrSHA1(e.Xattrs)
			continue
		}
		dir, name := split(e.Path)
		d := dirAt(dir)
		f := apk.InstalledFile{Name: name, Mode: e.Mode & 0o7777, UID: b.ids.uid(e), GID: b.ids.gid(e), Xattrs: apk.XattrSHA1(e.Xattrs)}
		switch e.Type {
		case apk.TypeFile, apk.TypeSymlink:
			f.SHA1 = e.SHA1
		case apk.TypeHardlink:
			f.SHA1 = r.Entries[b.targets[p][int32(m)]].SHA1
		}
		d.Files = append(d.Files, f)
	}
	return out
}

// tag returns the repository tag with which the package was asked for.
func (b *builder) tag(name string) string {
	for _, d := range b.in.World {
		if d.Name == name && !d.Conflict {
			return d.Pin
		}
	}
	return ""
}

// scriptOrder is the order of the scripts of one package.
var scriptOrder = [...]string{".pre-install", ".post-install", ".pre-deinstall", ".post-deinstall", ".pre-upgrade", ".post-upgrade", ".trigger"}

// scripts returns scripts.tar: the packages' scripts, stored so that apk can
// run them later, as name-version.checksum.script.
func (b *builder) scripts() ([]byte, error) {
	var out bytes.Buffer
	if b.in.Base != nil {
		had, err := b.baseScripts()
		if err != nil || !b.hasScripts() {
			return nil, err
		}
		out.Write(had)
	}
	if err := b.addScripts(&out); err != nil {
		return nil, err
	}
	if b.scriptsFile() == compressedScripts {
		return compressed(out.Bytes())
	}
	return out.Bytes(), nil
}

// addScripts writes the scripts of the packages and the end of the archive.
func (b *builder) addScripts(out *bytes.Buffer) error {
	w := tar.NewWriter(out)
	for i := range b.in.Packages {
		r := b.in.Packages[i].Receipt
		if b.compat() && len(r.Control) > 0 {
			if err := b.apkoScripts(w, &r.Package, r.Control); err != nil {
				return fmt.Errorf("control section of %s: %w", r.Package.ID(), err)
			}
			continue
		}
		for _, name := range scriptOrder {
			body, ok := r.Scripts[name]
			if !ok {
				continue
			}
			h := &tar.Header{
				Typeflag: tar.TypeReg,
				Name:     r.Package.ID() + "." + r.Package.Checksum.String() + name,
				Mode:     0o755,
				Size:     int64(len(body)),
				ModTime:  b.scriptTime(r.Package.BuildTime),
				Uname:    "root",
				Gname:    "root",
				Format:   tar.FormatGNU,
			}
			if err := w.WriteHeader(h); err != nil {
				return fmt.Errorf("script %s of %s: %w", name, r.Package.ID(), err)
			}
			if _, err := w.Write(body); err != nil {
				return fmt.Errorf("script %s of %s: %w", name, r.Package.ID(), err)
			}
		}
	}
	return w.Close()
}

// scriptTime is the package's build time, apko's is the image's.
func (b *builder) scriptTime(built int64) time.Time {
	switch {
	case b.compat() && b.in.Created.IsZero():
		built = 0
	case b.compat():
		built = b.in.Created.Unix()
	case built <= 0:
		built = b.created
	}
	return time.Unix(built, 0).UTC()
}

// triggers lists the directories that packages watch.
func (b *builder) triggers() []byte {
	out := b.baseTriggers()
	for i := range b.in.Packages {
		p := &b.in.Packages[i].Receipt.Package
		if len(p.Triggers) == 0 {
			continue
		}
		out = append(out, p.Checksum.String()+" "+strings.Join(p.Triggers, " ")+"\n"...)
	}
	return out
}
