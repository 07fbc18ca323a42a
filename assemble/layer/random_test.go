package layer

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// world makes random packages and the tree that installing them gives, with
// everything that makes layering hard: symlinked directories, files that
// replace each other, hard links, missing parents, odd modes, paths that
// change type, and a configuration that changes some of it afterwards.
type world struct {
	*rand.Rand
	tree     *rootfs.Tree
	contents map[apk.SHA256]string
}

// netBind is CAP_NET_BIND_SERVICE as the kernel stores it (vfs_cap_data, version 2).
const netBind = "\x01\x00\x00\x02\x00\x04\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

var (
	someDirs  = []string{"bin", "etc", "lib", "usr", "usr/bin", "usr/lib", "usr/share", "usr/share/doc", "var", "var/tmp", "opt", "opt/a", "opt/a/b"}
	someNames = []string{"a", "b", "c", "d", "e", "f", "g", "libx.so", "tool", "readme"}
)

func newWorld(seed uint64, packages int) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 42)), contents: map[apk.SHA256]string{}}
	w.tree = &rootfs.Tree{Arch: "x86_64"}
	for i := range packages {
		w.tree.Packages = append(w.tree.Packages, rootfs.Package{Receipt: w.receipt(i)})
	}
	w.install()
	w.configure()
	return w
}

func (w *world) oneIn(n int) bool { return w.IntN(n) == 0 }

func pick[T any](w *world, s []T) T { return s[w.IntN(len(s))] }

func (w *world) content(max int) (apk.SHA256, int64) {
	s := strings.Repeat(string(rune('a'+w.IntN(26))), w.IntN(max+1))
	sum := apk.SHA256(sha256.Sum256([]byte(s)))
	w.contents[sum] = s
	return sum, int64(len(s))
}

func (w *world) meta(e *apk.Entry) {
	e.MTime = int64(1_700_000_000 + w.IntN(3))
	if w.oneIn(10) {
		e.UID, e.GID = w.IntN(3), w.IntN(3)
	}
	e.Mode = 0o644
	if e.Type == apk.TypeDir {
		e.Mode = 0o755
	}
	if w.oneIn(12) {
		e.Mode = pick(w, []uint32{0o700, 0o4755, 0o2755, 0o1777, 0o600})
	}
	if e.Type == apk.TypeSymlink {
		e.Mode = 0o777
	}
	if w.oneIn(30) && e.Type == apk.TypeFile {
		e.Xattrs = map[string]string{"security.capability": netBind}
	}
}

// receipt makes one package. Sizes are invented: these are for planning.
func (w *world) receipt(i int) *store.Receipt {
	r := &store.Receipt{Package: apk.Package{Name: fmt.Sprintf("p%02d", i), Version: "1-r0", Origin: fmt.Sprintf("o%d", i/2)}}
	seen := map[string]bool{}
	add := func(e apk.Entry) {
		if seen[e.Path] {
			return
		}
		seen[e.Path] = true
		w.meta(&e)
		if e.Type == apk.TypeFile {
			big := 40
			if w.oneIn(40) {
				big = 3 * rewriteAbove
			}
			e.SHA256, e.Size = w.content(big)
		}
		if e.Type == apk.TypeHardlink {
			for _, o := range r.Entries {
				if o.Path == e.Link && !w.oneIn(8) {
					e.Mode, e.UID, e.GID, e.MTime, e.Xattrs = o.Mode, o.UID, o.GID, o.MTime, o.Xattrs
				}
			}
		}
		r.Entries = append(r.Entries, e)
	}
	parents := !w.oneIn(4)
	for range w.IntN(12) {
		dir := pick(w, someDirs)
		if parents {
			for at := range strings.SplitSeq(dir, "/") {
				full := dir[:strings.Index(dir+"/", at+"/")+len(at)]
				add(apk.Entry{Path: full, Type: apk.TypeDir})
			}
		}
		p := path.Join(dir, pick(w, someNames))
		switch {
		case w.oneIn(8):
			add(apk.Entry{Path: p, Type: apk.TypeSymlink, Link: pick(w, someNames)})
		case w.oneIn(8):
			if f := w.someFile(r); f != "" {
				add(apk.Entry{Path: p, Type: apk.TypeHardlink, Link: f})
			}
		case w.oneIn(12):
			add(apk.Entry{Path: p, Type: apk.TypeDir})
		case w.oneIn(20):
			add(apk.Entry{Path: pick(w, []string{"bin", "lib"}), Type: apk.TypeSymlink, Link: "usr/bin"})
		case w.oneIn(40):
			add(apk.Entry{Path: p, Type: apk.TypeFIFO})
		default:
			add(apk.Entry{Path: p, Type: apk.TypeFile})
		}
	}
	for _, e := range r.Entries {
		r.InflatedSize += 512 + e.Size
	}
	r.DataSize = r.InflatedSize/3 + 100
	r.DataHash = sha256.Sum256(fmt.Append(nil, r.Package.Name, r.Entries))
	if w.oneIn(15) {
		r.Verbatim = "for the test"
	}
	return r
}

func (w *world) someFile(r *store.Receipt) string {
	var files []string
	for _, e := range r.Entries {
		if e.Type == apk.TypeFile {
			files = append(files, e.Path)
		}
	}
	if len(files) == 0 {
		return ""
	}
	return pick(w, files)
}

// live is a path while the tree is being made.
type live struct {
	e     rootfs.Entry
	inode int
}

// install unpacks the packages in order into one directory, following
// symlinked parents; what does not fit is skipped.
func (w *world) install() {
	fs := map[string]*live{}
	inodes := 0
	for pkg := range w.tree.Packages {
		moved := map[string]int{} // path as in the package → inode
		w.slice(&w.tree.Packages[pkg])
		for m, e := range w.tree.Packages[pkg].Receipt.Entries {
			if s := w.tree.Packages[pkg].Slice; s != nil && !s.Keep[m] {
				inodes++
				moved[e.Path] = inodes
				if e.Type == apk.TypeHardlink {
					moved[e.Path] = moved[e.Link]
				} else if e.Type == apk.TypeDir {
					delete(moved, e.Path)
				}
				continue
			}
			at, ok := w.resolveParent(fs, e.Path)
			old := fs[at]
			if !ok || old != nil && (old.e.Type == apk.TypeDir) != (e.Type == apk.TypeDir) && w.blocked(fs, at, old, &e) {
				continue
			}
			n := &live{e: rootfs.Entry{Entry: e, Package: pkg, Member: m}}
			n.e.Path = at
			inodes++
			n.inode = inodes
			if e.Type == apk.TypeHardlink {
				ino, ok := moved[e.Link]
				if !ok {
					continue
				}
				n.inode = ino
			}
			if old != nil && old.e.Type == apk.TypeDir && e.Type == apk.TypeDir && w.oneIn(2) {
				continue // keep the first one's metadata now and then
			}
			if e.Type != apk.TypeDir {
				moved[e.Path] = n.inode
			}
			fs[at] = n
		}
	}
	w.finish(fs)
}

// slice leaves out members of some packages.
func (w *world) slice(p *rootfs.Package) {
	if !w.oneIn(3) {
		return
	}
	p.Slice = &rootfs.Slice{Names: []string{"part"}, Keep: make([]bool, len(p.Receipt.Entries))}
	for m := range p.Slice.Keep {
		p.Slice.Keep[m] = w.oneIn(2)
	}
}

// blocked decides what happens when types differ: a symlink to a directory
// stays for a directory entry, everything else of that kind is skipped, but a
// file may become an (empty) directory.
func (w *world) blocked(fs map[string]*live, at string, old *live, e *apk.Entry) bool {
	if old.e.Type == apk.TypeFile && e.Type == apk.TypeDir && w.oneIn(2) {
		return false
	}
	return true
}

// resolveParent follows symlinks among a path's parents and makes the missing
// ones.
func (w *world) resolveParent(fs map[string]*live, p string) (string, bool) {
	dir := path.Dir(p)
	at := ""
	if dir != "." {
		for name := range strings.SplitSeq(dir, "/") {
			at = path.Join(at, name)
			for range 5 {
				n := fs[at]
				if n == nil {
					fs[at] = &live{e: rootfs.Entry{Entry: apk.Entry{Path: at, Type: apk.TypeDir, Mode: 0o755, MTime: 5}, Package: -1}}
					continue
				}
				if n.e.Type == apk.TypeSymlink {
					at = path.Join(path.Dir(at), n.e.Link)
					if strings.HasPrefix(at, "..") {
						return "", false
					}
					if _, ok := w.resolveParent(fs, at); !ok {
						return "", false
					}
					continue
				}
				break
			}
			if fs[at] == nil || fs[at].e.Type != apk.TypeDir {
				return "", false
			}
		}
	}
	return path.Join(at, path.Base(p)), true
}

// finish turns the live paths into a sorted tree with hard links resolved.
func (w *world) finish(fs map[string]*live) {
	paths := make([]string, 0, len(fs))
	for p := range fs {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, rootfs.ComparePaths)
	first := map[int]int{}
	for _, p := range paths {
		n := fs[p]
		e := n.e
		if n.inode > 0 && (e.Type == apk.TypeFile || e.Type == apk.TypeHardlink) {
			r := w.tree.Packages[e.Package].Receipt
			if i, ok := first[n.inode]; ok {
				leader := &w.tree.Entries[i]
				e.Type, e.Link, e.Size = apk.TypeHardlink, leader.Path, 0
			} else {
				first[n.inode] = len(w.tree.Entries)
				src := r.Entries[contentMember(r.Entries, e.Member)]
				e.Type, e.Link, e.SHA256, e.Size = apk.TypeFile, "", src.SHA256, src.Size
			}
		}
		w.tree.Entries = append(w.tree.Entries, e)
	}
}

// configure changes the tree as a configuration would.
func (w *world) configure() {
	es := w.tree.Entries
	for i := range es {
		e := &es[i]
		switch {
		case w.oneIn(25) && e.Type != apk.TypeHardlink && e.Type != apk.TypeSymlink:
			e.Mode, e.UID = 0o750, 77
		case w.oneIn(25) && e.Type == apk.TypeFile:
			e.Content, e.Package = []byte(fmt.Sprint("changed ", i)), pick(w, []int{e.Package, -1})
		}
	}
	if w.oneIn(2) { // remove a subtree
		i := w.IntN(len(es) + 1)
		if i < len(es) {
			gone := es[i].Path
			es = slices.DeleteFunc(es, func(e rootfs.Entry) bool {
				return e.Path == gone || strings.HasPrefix(e.Path, gone+"/") ||
					e.Type == apk.TypeHardlink && (e.Link == gone || strings.HasPrefix(e.Link, gone+"/"))
			})
		}
	}
	if !slices.ContainsFunc(es, func(e rootfs.Entry) bool { return e.Path == "etc" || e.Path == "new" }) {
		es = append(es, rootfs.Entry{Entry: apk.Entry{Path: "new", Type: apk.TypeDir, Mode: 0o711}, Package: -1},
			rootfs.Entry{Entry: apk.Entry{Path: "new/file", Type: apk.TypeFile, Mode: 0o600}, Package: -1, Content: []byte("hello")})
	}
	slices.SortStableFunc(es, func(a, b rootfs.Entry) int { return rootfs.ComparePaths(a.Path, b.Path) })
	w.tree.Entries = es
}

// TestProperty_UnpackingGivesTheTree is the promise of the package: for any
// packages, strategy and budget, unpacking the layers gives the tree.
func TestProperty_UnpackingGivesTheTree(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	kinds := map[Kind]int{}
	for seed := range uint64(rounds) {
		w := newWorld(seed, 1+int(seed%17))
		for _, o := range []Options{
			{}, {Budget: 2}, {Budget: 4}, {Strategy: PerOrigin}, {Strategy: PerOrigin, Budget: 3}, {Strategy: Single},
		} {
			p, err := New(w.tree, o)
			if err != nil {
				t.Fatalf("seed %d, %s/%d: %v", seed, o.Strategy, o.Budget, err)
			}
			for _, l := range p.layers {
				kinds[l.kind]++
			}
			checkUnpacked(t, w.tree, p.entriesOf())
			if t.Failed() {
				t.Fatalf("seed %d, %s/%d", seed, o.Strategy, o.Budget)
			}
		}
	}
	for _, k := range []Kind{Verbatim, Rewritten, Packed} {
		if kinds[k] < rounds/10 {
			t.Errorf("only %d %s layers in %d rounds: the test does not test what it should", kinds[k], k, rounds)
		}
	}
	t.Log(kinds)
}
