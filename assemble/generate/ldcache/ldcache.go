// Package ldcache makes etc/ld.so.cache, the file in which glibc's dynamic linker
// looks up shared libraries, and which ldconfig would make: it is never run.
//
// It is pure: it is given the names of libraries in the tree with the facts of
// their ELF headers. It creates no links; where a library is not there under its
// SONAME, for which ldconfig makes a link, the cache leads to the file itself.
//
//	dirs, err := ldcache.Dirs(map[string][]byte{"etc/ld.so.conf": conf})
//	cache, err := ldcache.Build(ldcache.Input{Dirs: dirs, Libraries: libs})
//
// The format is that of glibc 2.2 and later ("glibc-ld.so.cache1.1"), with the
// byte order mark and extensions of 2.33 (sysdeps/generic/dl-cache.h). The same
// input gives the same bytes, in any order of libraries.
package ldcache

import (
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Library is a name in a directory of the tree that leads to an ELF file.
type Library struct {
	Path string // clean, without leading slash; its directory is a real one
	Link bool   // a symbolic link
	// ELF describes the file, for a link the file that it leads to.
	ELF *apk.ELF
}

// Input is what Build works on.
type Input struct {
	// Dirs are the directories to search, absolute, the most important first:
	// see [Dirs].
	Dirs []string
	// Libraries are all candidates (see [IsLibrary]) in these directories and
	// in glibc-hwcaps/*/ below them. Others are passed over.
	Libraries []Library
	// Resolve returns the real directory that an absolute path of Dirs leads
	// to, clean and without leading slash; nil: no directory is a link. Of
	// several names of one directory the first of Dirs counts.
	Resolve func(dir string) string
}

// IsLibrary reports whether ldconfig would look at a file of this name:
// lib*.so*, ld-*.so*, ld.so.*, ld64.so.*, and no remains of dpkg or prelink.
func IsLibrary(name string) bool {
	switch {
	case strings.HasPrefix(name, "ld.so."), strings.HasPrefix(name, "ld64.so."):
	case (strings.HasPrefix(name, "lib") || strings.HasPrefix(name, "ld-")) && strings.Contains(name, ".so"):
	default:
		return false
	}
	return !strings.Contains(name, ".#prelink#") && !strings.HasSuffix(name, ".dpkg-new") && !strings.HasSuffix(name, ".dpkg-tmp") &&
		!strings.HasSuffix(name, ".py")
}

// Build returns the bytes of the cache. Files that are no shared objects, that
// are of a machine or float ABI that glibc does not support, or that are of
// another byte order than the first library are left out, as ldconfig leaves
// them out.
func Build(in Input) ([]byte, error) {
	byDir := map[string][]Library{}
	for _, l := range in.Libraries {
		if l.ELF != nil && IsLibrary(path.Base(l.Path)) {
			dir := path.Dir(l.Path)
			byDir[dir] = append(byDir[dir], l)
		}
	}
	b := builder{data: byteOrder(in.Libraries)}
	for _, dir := range searchDirs(in, byDir) {
		b.addDir(dir, byDir[dir.real])
	}
	b.sort()
	return b.bytes()
}

// byteOrder returns EI_DATA of the first library by path.
func byteOrder(libs []Library) byte {
	var first *Library
	for i := range libs {
		if l := &libs[i]; l.ELF != nil && (first == nil || l.Path < first.Path) {
			first = l
		}
	}
	if first == nil {
		return dataLittle
	}
	return first.ELF.Data
}

// searchDir is a directory to search under the name that the cache will carry.
type searchDir struct {
	name  string // absolute
	real  string // as in Library.Path
	hwcap string // name of the glibc-hwcaps subdirectory; empty: the directory itself
}

const hwcapsDir = "glibc-hwcaps"

// searchDirs resolves the directories, each real one once, and adds their
// glibc-hwcaps subdirectories.
func searchDirs(in Input, byDir map[string][]Library) []searchDir {
	var out []searchDir
	seen := map[string]bool{}
	for _, name := range in.Dirs {
		real := strings.TrimPrefix(path.Clean(name), "/")
		if in.Resolve != nil {
			real = in.Resolve(name)
		}
		if seen[real] || !path.IsAbs(name) {
			continue
		}
		seen[real] = true
		out = append(out, searchDir{name: path.Clean(name), real: real})
		for _, sub := range subdirectories(byDir, path.Join(real, hwcapsDir)) {
			out = append(out, searchDir{path.Join(name, hwcapsDir, sub), path.Join(real, hwcapsDir, sub), sub})
		}
	}
	return out
}

func subdirectories(byDir map[string][]Library, parent string) []string {
	var out []string
	for dir := range byDir {
		if base := path.Base(dir); path.Dir(dir) == parent && base[0] != '.' && !strings.Contains(base, ":") {
			out = append(out, base)
		}
	}
	slices.Sort(out)
	return out
}

// candidate is the best file of a directory for one SONAME so far.
type candidate struct {
	soname string
	name   string // of the file or link
	link   bool
	flags  uint32
}

// addDir adds what one directory offers.
func (b *builder) addDir(dir searchDir, libs []Library) {
	libs = slices.Clone(libs)
	slices.SortFunc(libs, func(x, y Library) int { return strings.Compare(x.Path, y.Path) })
	best := map[string]*candidate{}
	names := map[string]bool{}
	for i := range libs {
		names[path.Base(libs[i].Path)] = true
		c, ok := b.candidate(&libs[i])
		if !ok {
			continue
		}
		was := best[c.soname]
		if was == nil || !c.link && was.link || c.link == was.link && compareNames(was.name, c.name) < 0 {
			best[c.soname] = &c
		}
	}
	for soname, c := range best {
		file := c.name
		if dir.hwcap == "" && names[soname] {
			file = soname
		}
		b.entries = append(b.entries, Entry{Name: soname, Path: path.Join(dir.name, file), Flags: c.flags, Hwcap: dir.hwcap})
	}
}

// candidate decides under which name a library is known, as ldconfig does: the
// SONAME, or the file's own name where it has none; a link that is named like the
// SONAME or like its beginning (the compiler's libfoo.so) is known by the link's
// name, any other link counts as a file.
func (b *builder) candidate(l *Library) (candidate, bool) {
	flags, ok := cacheFlags(l.ELF)
	if !ok || l.ELF.Data != b.data {
		return candidate{}, false
	}
	c := candidate{soname: l.ELF.SONAME, name: path.Base(l.Path), link: l.Link, flags: flags}
	if c.soname == "" {
		c.soname = c.name
	}
	if strings.ContainsFunc(c.soname, func(r rune) bool { return r == '/' || r < ' ' }) {
		return candidate{}, false
	}
	if c.link && c.name != c.soname && !(strings.HasSuffix(c.name, ".so") && strings.HasPrefix(c.soname, c.name)) {
		c.link = false
	}
	if c.link {
		c.soname = c.name
	}
	return c, true
}
