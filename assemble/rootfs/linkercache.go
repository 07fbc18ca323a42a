package rootfs

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/generate/ldcache"
	"github.com/cairn-dev/cairn/packages/apk"
)

// linkerCache writes /etc/ld.so.cache where the image has an /etc/ld.so.conf or
// glibc's dynamic linker.
func (b *builder) linkerCache() error {
	conf, err := b.linkerConf()
	if err != nil {
		return err
	}
	dirs, err := ldcache.Dirs(conf, b.multiarchDirs()...)
	if err != nil {
		return err
	}
	libs := libraries{builder: b, seen: map[*node]bool{}}
	for _, dir := range dirs {
		libs.search(dir)
	}
	if _, ok := conf[ldcache.ConfPath]; !ok && !libs.glibc {
		return nil
	}
	if b.in.Base != nil && !libs.fresh && !b.freshConf(conf) {
		return nil // the base's cache says all
	}
	cache, err := ldcache.Build(ldcache.Input{Dirs: dirs, Libraries: libs.list, Resolve: b.realDirectory})
	if err != nil {
		return fmt.Errorf("/etc/ld.so.cache: %w", err)
	}
	ino, err := b.generate("etc/ld.so.cache", 0o644, cache, Owner{OwnedByGenerator, generatorCache})
	if err != nil {
		return err
	}
	slices.Sort(libs.from)
	ino.derived = slices.Compact(libs.from)
	return nil
}

// linkerConf reads ld.so.conf and the files of ld.so.conf.d.
func (b *builder) linkerConf() (map[string][]byte, error) {
	files := map[string][]byte{}
	names := []string{ldcache.ConfPath}
	if at, err := b.lookup(ldcache.ConfPath+".d", true); err == nil && at.node != nil && at.node.isDir() {
		for _, name := range slices.Sorted(maps.Keys(at.node.ino.kids)) {
			names = append(names, ldcache.ConfPath+".d/"+name)
		}
	}
	for _, name := range names {
		if at, err := b.lookup(name, true); err != nil || at.node == nil || at.node.ino.typ != apk.TypeFile {
			continue
		}
		content, _, err := b.readAt(name)
		if err != nil {
			return nil, err
		}
		files[name] = content
	}
	return files, nil
}

// freshConf tells whether one of the files of ld.so.conf is not the base's.
func (b *builder) freshConf(conf map[string][]byte) bool {
	for name := range conf {
		if at, err := b.lookup(name, true); err == nil && at.node != nil && !b.unchanged(at.node.ino) {
			return true
		}
	}
	return false
}

// multiarchDirs are the directories that Debian's glibc searches without being
// told: /lib/TRIPLET and /usr/lib/TRIPLET, where the dynamic linker lies in one
// of them.
func (b *builder) multiarchDirs() []string {
	var triplets []string
	for _, parent := range []string{"lib", "usr/lib"} {
		at, err := b.lookup(parent, true)
		if err != nil || at.node == nil || !at.node.isDir() {
			continue
		}
		for name, n := range at.node.ino.kids {
			if strings.Contains(name, "-linux-gnu") && n.isDir() && slices.ContainsFunc(slices.Collect(maps.Keys(n.ino.kids)), isLinker) {
				triplets = append(triplets, name)
			}
		}
	}
	slices.Sort(triplets)
	var dirs []string
	for _, t := range slices.Compact(triplets) {
		dirs = append(dirs, "/lib/"+t, "/usr/lib/"+t)
	}
	return dirs
}

// isLinker tells glibc's dynamic linkers by file name or SONAME.
func isLinker(name string) bool {
	return strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld64.so.") || strings.HasPrefix(name, "ld.so.")
}

// realDirectory returns where a directory leads, or the path itself.
func (b *builder) realDirectory(dir string) string {
	if at, err := b.lookup(dir, true); err == nil && at.node != nil && at.node.isDir() {
		return at.node.path()
	}
	return strings.TrimPrefix(path.Clean(dir), "/")
}

// libraries collects what the dynamic linker could load.
type libraries struct {
	*builder
	list  []ldcache.Library
	from  []string // packages
	glibc bool
	fresh bool // a library is not the base's
	seen  map[*node]bool
}

// search adds the libraries in a directory and in its glibc-hwcaps.
func (l *libraries) search(dir string) {
	at, err := l.lookup(dir, true)
	if err != nil || at.node == nil || !at.node.isDir() || l.seen[at.node] {
		return
	}
	l.seen[at.node] = true
	l.add(at.node)
	if caps := at.node.ino.kids["glibc-hwcaps"]; caps != nil && caps.isDir() {
		for _, sub := range caps.ino.kids {
			if sub.isDir() {
				l.add(sub)
			}
		}
	}
}

func (l *libraries) add(dir *node) {
	prefix := dir.path() + "/"
	for name, n := range dir.ino.kids {
		if !ldcache.IsLibrary(name) {
			continue
		}
		file, link := n, n.ino.typ == apk.TypeSymlink
		if link {
			at, err := l.lookup(prefix+name, true)
			if err != nil || at.node == nil {
				continue
			}
			file = at.node
		}
		if ino := file.ino; ino.typ == apk.TypeFile && !ino.changed && ino.pkg >= 0 {
			l.library(prefix+name, link, ino)
		}
	}
}

func (l *libraries) library(p string, link bool, ino *inode) {
	elf := l.member(ino.pkg, ino.member).ELF
	if elf == nil {
		return
	}
	l.list = append(l.list, ldcache.Library{Path: p, Link: link, ELF: elf})
	l.from = append(l.from, l.packageName(ino.pkg, ino.member))
	l.fresh = l.fresh || !l.onBase(ino.pkg)
	l.glibc = l.glibc || isLinker(elf.SONAME)
}
