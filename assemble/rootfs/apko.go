package rootfs

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/generate/busybox"
	"github.com/cairn-dev/cairn/packages/apk"
)

// devices makes the device nodes that apko's images have. Container runtimes
// mount their own /dev over them, and unpacking them takes privileges, so that
// they are made only where apko's tree is wanted.
func (b *builder) devices() error {
	if !b.compat() {
		return nil
	}
	for _, d := range []struct {
		name         string
		mode         uint32
		major, minor int64
	}{
		{"console", 0o620, 5, 1}, {"null", 0o666, 1, 3}, {"random", 0o666, 1, 8}, {"urandom", 0o666, 1, 9}, {"zero", 0o666, 1, 5},
	} {
		at, err := b.parentOf("dev/" + d.name)
		if err != nil {
			return fmt.Errorf("device /dev/%s: %w", d.name, err)
		}
		if at.node != nil {
			continue
		}
		ino := b.newInode(apk.TypeChar, d.mode, Owner{OwnedByGenerator, generatorDevices})
		ino.major, ino.minor = d.major, d.minor
		b.attach(at.dir, at.name, ino, -1, -1)
	}
	return nil
}

// apkoConfig writes /etc/apko.json, the configuration with its packages
// pinned, where apko's tree is wanted.
func (b *builder) apkoConfig() error {
	if !b.compat() {
		return nil
	}
	cfg := b.cfg.ImageConfiguration
	cfg.Contents.Packages = b.pinned()
	if !strings.Contains(cfg.Accounts.RunAs, ":") {
		cfg.Accounts.RunAs = b.user
	}
	cfg.Archs = []config.Architecture{config.ParseArchitecture(b.in.Arch)}
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(cfg); err != nil {
		return fmt.Errorf("/etc/apko.json: %w", err)
	}
	_, err := b.generate("etc/apko.json", 0o444, out.Bytes(), Owner{OwnedByGenerator, generatorApko})
	return err
}

// apkoInstalled returns the installed database as apko writes it: packages in
// installation order, its own order of keys, empty keys included, a Go slice
// for install_if, entries sorted and those without a directory dropped.
func (b *builder) apkoInstalled() []byte {
	var out bytes.Buffer
	for p := range b.in.Packages {
		pkg := &b.in.Packages[p].Receipt.Package
		fmt.Fprintf(&out, "P:%s\nV:%s\nA:%s\nL:%s\nT:%s\no:%s\nm:%s\nU:%s\nD:%s\np:%s\n", pkg.Name, pkg.Version, pkg.Arch,
			pkg.License, pkg.Description, pkg.Origin, pkg.Maintainer, pkg.URL, atoms(pkg.Depends), atoms(pkg.Provides))
		if len(pkg.Replaces) > 0 {
			fmt.Fprintf(&out, "r:%s\n", atoms(pkg.Replaces))
		}
		fmt.Fprintf(&out, "c:%s\ni:[%s]\nt:%d\nS:%d\nI:%d\nk:%d\nC:%s\n", pkg.Commit, atoms(pkg.InstallIf), pkg.BuildTime,
			pkg.Size, pkg.InstalledSize, pkg.ProviderPriority, pkg.Checksum)
		b.apkoFiles(&out, p)
		out.WriteByte('\n')
	}
	return out.Bytes()
}

// atoms joins dependencies with spaces.
func atoms(list []apk.Dependency) string {
	words := make([]string, len(list))
	for i, d := range list {
		words[i] = d.String()
	}
	return strings.Join(words, " ")
}

// apkoFiles writes the file lines of package p, with the numbers in the
// package's headers.
func (b *builder) apkoFiles(out *bytes.Buffer, p int) {
	var dirs []*apk.Entry
	files := map[string][]*apk.Entry{}
	entries := b.in.Packages[p].Receipt.Entries
	for m := range entries {
		e := &entries[m]
		switch dir, _ := split(e.Path); {
		case !b.kept[p][m]:
		case e.Type == apk.TypeDir:
			dirs = append(dirs, e)
		default:
			files[dir] = append(files[dir], e)
		}
	}
	slices.SortFunc(dirs, func(x, y *apk.Entry) int { return ComparePaths(x.Path, y.Path) })
	if len(files[""]) > 0 {
		dirs = append([]*apk.Entry{{Mode: 0o755}}, dirs...)
	}
	for _, d := range dirs {
		fmt.Fprintf(out, "F:%s\n", d.Path)
		apkoACL(out, "M", d, 0o755)
		slices.SortFunc(files[d.Path], func(x, y *apk.Entry) int { return strings.Compare(x.Path, y.Path) })
		for _, f := range files[d.Path] {
			_, name := split(f.Path)
			fmt.Fprintf(out, "R:%s\n", name)
			apkoACL(out, "a", f, 0o644)
			if f.Type != apk.TypeHardlink && !f.SHA1.IsZero() {
				fmt.Fprintf(out, "Z:%s\n", f.SHA1)
			}
		}
	}
}

func apkoACL(out *bytes.Buffer, key string, e *apk.Entry, usual uint32) {
	if e.Mode&0o7777 != usual || e.UID != 0 || e.GID != 0 {
		fmt.Fprintf(out, "%s:%d:%d:%04o\n", key, e.UID, e.GID, e.Mode&0o7777)
	}
}

// apkoTime gives what apko makes after it installed packages, directories and
// device nodes apart, the time of the directory that it is made in.
func (b *builder) apkoTime(dir, ino *inode) {
	if !ino.own || ino.typ != apk.TypeFile && ino.typ != apk.TypeSymlink {
		return
	}
	switch {
	case ino.owner.Name == generatorSettings, ino.owner.Name == generatorKeys, ino.owner.Name == generatorApko:
		return // made before, or given a time
	case ino.owner.Name == generatorDatabase && ino.typ == apk.TypeFile:
		return // made before
	case strings.HasPrefix(ino.owner.Name, "paths[") && ino.typ == apk.TypeFile:
		return // apko's Create has no time
	case ino.owner.Name == generatorCerts, strings.HasPrefix(ino.owner.Name, generatorCertsKey+"."), strings.HasPrefix(ino.owner.Name, generatorRuntime):
		ino.mtime = b.apkoBuilt()
		return
	}
	ino.mtime = dir.mtime
}

// apkoBuilt is the time that apko gives certificates: the one asked for, else
// the newest package's.
func (b *builder) apkoBuilt() int64 {
	t := int64(0)
	if !b.in.Created.IsZero() {
		return b.in.Created.Unix()
	}
	for i := range b.in.Packages {
		t = max(t, b.in.Packages[i].Receipt.Package.BuildTime)
	}
	return t
}

// apkoLinks makes the links to busybox, all to busybox itself, and gives their
// directories its time.
func (b *builder) apkoLinks(links []busybox.Link, mtime int64, from []string) error {
	for _, l := range links {
		at, err := b.parentOf(l.Path)
		if err != nil {
			return fmt.Errorf("busybox links: %w", err)
		}
		at.dir.ino.mtime = mtime
		if err := b.busyboxLink(busybox.Link{Path: l.Path, Target: "/bin/busybox"}, from); err != nil {
			return fmt.Errorf("busybox links: %w", err)
		}
	}
	return nil
}

// apkoDatabase makes room for the symlink /lib/apk: apko removes the directory
// that Alpine's apk-tools has there when nothing but empty directories is in it.
func (b *builder) apkoDatabase(lib, usr *node) {
	old := lib.ino.kids["apk"]
	if lib == usr || old == nil || !old.isDir() {
		return
	}
	for _, kid := range old.ino.kids {
		if !kid.isDir() || len(kid.ino.kids) > 0 {
			return
		}
	}
	delete(lib.ino.kids, "apk")
}

// apkoScripts writes the executable members of a package's control section as
// apko does, with the headers that they have there.
func (b *builder) apkoScripts(w *tar.Writer, p *apk.Package, control []byte) error {
	z, err := gzip.NewReader(bytes.NewReader(control))
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Name == ".PKGINFO" || h.Mode&0o555 != 0o555 {
			continue
		}
		h.Name = p.ID() + "." + p.Checksum.String() + h.Name
		h.ModTime, h.AccessTime, h.ChangeTime = b.scriptTime(0), time.Time{}, time.Time{}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.CopyN(w, r, h.Size); err != nil {
			return err
		}
	}
}
