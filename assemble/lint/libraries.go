package lint

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/assemble/generate/ldcache"
	"github.com/cairn-dev/cairn/packages/apk"
)

// machines are ELF's numbers (e_machine) by OCI's architectures.
var machines = map[string]uint16{"amd64": 62, "386": 3, "arm64": 183, "arm": 40, "ppc64le": 21, "s390x": 22, "riscv64": 243, "loong64": 258}

// libraries looks libraries up as the dynamic linkers do.
type libraries struct {
	*run
	dirs  []string            // searched for everybody
	cache map[string][]string // paths by name, of ld.so.cache
	named map[string][]*files.Node
}

func unresolvedLibrary(ctx context.Context, r *run) error {
	l := &libraries{run: r, cache: map[string][]string{}, named: map[string][]*files.Node{}}
	if err := l.configure(ctx); err != nil {
		return err
	}
	for _, n := range r.in.Tree.All() {
		if n.ELF == nil || n.HardLink != "" {
			continue
		}
		if machine, known := machines[r.in.Arch]; known && n.ELF.Machine != machine {
			continue // firmware, or for another machine
		}
		l.check(n)
	}
	return nil
}

// configure finds the directories that are searched, and what lies anywhere.
func (l *libraries) configure(ctx context.Context) error {
	for _, n := range l.in.Tree.All() {
		if n.Type == apk.TypeFile || n.Type == apk.TypeSymlink {
			if base := path.Base(n.Path); strings.Contains(base, ".so") {
				l.named[base] = append(l.named[base], n)
			}
		}
		if n.ELF != nil && n.ELF.SONAME != "" && n.ELF.SONAME != path.Base(n.Path) {
			l.named[n.ELF.SONAME] = append(l.named[n.ELF.SONAME], n)
		}
	}
	for _, e := range l.in.Env {
		if value, ok := strings.CutPrefix(e, "LD_LIBRARY_PATH="); ok {
			l.dirs = append(l.dirs, strings.FieldsFunc(value, func(c rune) bool { return c == ':' || c == ';' })...)
		}
	}
	l.dirs = append(l.dirs, "/lib", "/usr/lib", "/lib64", "/usr/lib64")
	for _, parent := range []string{"/lib", "/usr/lib"} {
		if dir, err := l.in.Tree.Stat(parent); err == nil {
			for _, child := range l.in.Tree.Children(dir.Path) {
				if strings.Contains(path.Base(child.Path), "-linux-gnu") {
					l.dirs = append(l.dirs, child.Name())
				}
			}
		}
	}
	if err := l.musl(ctx); err != nil {
		return err
	}
	return l.glibc(ctx)
}

// musl adds the directories of musl's path file, or those it has without one.
func (l *libraries) musl(ctx context.Context) error {
	lib, err := l.in.Tree.Stat("/lib")
	if err != nil {
		return nil
	}
	for _, n := range l.in.Tree.Children(lib.Path) {
		arch, ok := strings.CutPrefix(path.Base(n.Path), "ld-musl-")
		if !ok {
			continue
		}
		conf, err := l.in.Tree.Stat("/etc/ld-musl-" + strings.TrimSuffix(arch, ".so.1") + ".path")
		if err != nil || conf.Type != apk.TypeFile {
			l.dirs = append(l.dirs, "/usr/local/lib")
			continue
		}
		b, err := l.read(ctx, []*files.Node{conf})
		if err != nil {
			return err
		}
		l.dirs = append(l.dirs, strings.FieldsFunc(string(b[0]), func(c rune) bool { return c == ':' || c == '\n' })...)
	}
	return nil
}

// glibc reads ld.so.cache, which is what glibc looks into beside its own
// directories: what ld.so.conf says counts for ldconfig only.
func (l *libraries) glibc(ctx context.Context) error {
	n, err := l.in.Tree.Stat("/etc/ld.so.cache")
	if err != nil || n.Type != apk.TypeFile {
		return nil
	}
	b, err := l.read(ctx, []*files.Node{n})
	if err != nil || b[0] == nil {
		return err
	}
	entries, err := ldcache.Parse(b[0])
	if err != nil {
		l.notLookedAt("/etc/ld.so.cache: %v", err)
	}
	for _, e := range entries {
		l.cache[e.Name] = append(l.cache[e.Name], e.Path)
	}
	return nil
}

// check looks up what a file needs.
func (l *libraries) check(n *files.Node) {
	if interp := n.ELF.Interp; interp != "" {
		if _, err := l.in.Tree.Stat(interp); err != nil {
			l.add(at(n, "needs the program interpreter %s, which is not there", interp))
			return // nothing else matters
		}
	}
	var missing []string
	for _, need := range n.ELF.Needed {
		if l.find(n, need) {
			continue
		}
		if where := l.elsewhere(n, need); where != "" {
			if n.ELF.Interp == "" {
				continue // a module: the program that loads it has its libraries already
			}
			f := at(n, "needs %s, which is not where it is looked for, but at %s", need, where)
			f.Severity = Warning
			l.add(f)
			continue
		}
		missing = append(missing, need)
	}
	if len(missing) > 0 {
		f := at(n, "needs %s, which is nowhere in the image", strings.Join(missing, ", "))
		if n.ELF.Interp == "" {
			f.Severity = Warning // perhaps one that nobody loads here
		}
		l.add(f)
	}
}

// find looks a library up for a file.
func (l *libraries) find(n *files.Node, name string) bool {
	if strings.Contains(name, "/") {
		return l.fits(n, name)
	}
	var dirs []string
	origin := "/" + path.Dir(n.Path)
	if path.Dir(n.Path) == "." {
		origin = "/"
	}
	for _, dir := range n.ELF.RunPath {
		dirs = append(dirs, strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin, "$LIB", "lib", "${LIB}", "lib").Replace(dir))
	}
	for _, dir := range append(dirs, l.dirs...) {
		if l.fits(n, path.Join(dir, name)) {
			return true
		}
	}
	return slices.ContainsFunc(l.cache[name], func(p string) bool { return l.fits(n, p) })
}

// fits tells whether a path leads to a library that a file can use.
func (l *libraries) fits(n *files.Node, name string) bool {
	to, err := l.in.Tree.Stat(name)
	if err != nil || to.Type != apk.TypeFile {
		return false
	}
	return to.ELF == nil || to.ELF.Class == n.ELF.Class && to.ELF.Machine == n.ELF.Machine
}

// elsewhere finds a library by its name or SONAME anywhere in the image.
func (l *libraries) elsewhere(n *files.Node, name string) string {
	for _, c := range l.named[path.Base(name)] {
		if l.fits(n, c.Name()) {
			return c.Name()
		}
	}
	return ""
}
