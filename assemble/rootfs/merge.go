package rootfs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// The names of generators, as owners of what no package brings.
const (
	generatorBase      = "base-layout"
	generatorImplied   = "implied-directory"
	generatorSettings  = "apk-settings"
	generatorKeys      = "apk-keys"
	generatorDatabase  = "installed-db"
	generatorCerts     = "ca-certificates"
	generatorBusybox   = "busybox-links"
	generatorCache     = "ld.so.cache"
	generatorDevices   = "devices"
	generatorApko      = "apko.json"
	generatorAccounts  = "accounts" // of what the configuration asks for: kind config
	generatorServices  = "entrypoint.services"
	generatorCertsKey  = "certificates"
	generatorRuntime   = "contents.runtime_keyring"
	overwriteHint      = "one of them must declare that it replaces the other, or leave the file out"
	directoryInTheWay  = "the one has a directory where the other has a file"
	linkOverDirectory  = "the one has a directory where the other has a symbolic link"
	notReplacedProblem = "both have the file and neither replaces the other"
)

// mergePackages puts the packages' members together the way apk-tools does
// when it installs them one after the other.
func (b *builder) mergePackages() error {
	for p := range b.in.Packages {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		in := installation{builder: b, pkg: int32(p), entries: b.in.Packages[p].Receipt.Entries}
		if err := in.run(); err != nil {
			return err
		}
	}
	return nil
}

// installation is one package being installed.
type installation struct {
	*builder
	pkg     int32
	entries []apk.Entry

	// lastDir is the directory that the path last came to; archives are in
	// directory order, so the next member is most likely in it too.
	lastPath string
	lastDir  *node

	// Of a package with hard links: what its members name, and where its
	// regular files are, for the members before seen.
	made   []*inode
	byPath map[string]int32
	seen   int32
}

func (in *installation) run() error {
	if slices.ContainsFunc(in.entries, func(e apk.Entry) bool { return e.Type == apk.TypeHardlink }) {
		in.made = make([]*inode, len(in.entries))
		in.byPath = make(map[string]int32)
		in.targets[in.pkg] = make(map[int32]int32)
	}
	for m := range in.entries {
		e := &in.entries[m]
		if skipped(e) {
			continue
		}
		if err := in.checkMember(e); err != nil {
			return err
		}
		if !in.in.Packages[in.pkg].keeps(m) {
			if err := in.leaveOut(int32(m), e); err != nil {
				return err
			}
			continue
		}
		if err := in.add(int32(m), e); err != nil {
			return err
		}
	}
	return nil
}

// leaveOut passes over a member that is in no slice. A file has content all the
// same where hard links that are kept may name it.
func (in *installation) leaveOut(m int32, e *apk.Entry) error {
	if in.made == nil || e.Type == apk.TypeDir {
		return nil
	}
	ino, err := in.inode(m, e)
	in.made[m] = ino
	return err
}

// skipped tells whether apk-tools passes over a member without a word. (Its
// rule for ".keep_" names is for files only.)
func skipped(e *apk.Entry) bool {
	return store.Ignored(e.Path) && (e.Type != apk.TypeDir || strings.HasPrefix(e.Path, "."))
}

// checkMember refuses what apk-tools calls a malicious file, and what no file
// system can hold.
func (in *installation) checkMember(e *apk.Entry) error {
	problem := ""
	switch {
	case strings.ContainsFunc(e.Path, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		problem = "it has a control character"
	case !cleanPath(e.Path):
		problem = "expected a clean path relative to the root"
	case e.Type == apk.TypeSymlink && (e.Link == "" || strings.IndexByte(e.Link, 0) >= 0):
		problem = fmt.Sprintf("symbolic link to %.200q: expected a path", e.Link)
	case e.UID < 0 || e.GID < 0:
		problem = fmt.Sprintf("owner %d:%d: expected no negative number", e.UID, e.GID)
	case !strings.ContainsRune("fdlhcbp", rune(e.Type)):
		problem = fmt.Sprintf("type %q is unknown", e.Type)
	default:
		return nil
	}
	return fmt.Errorf("package %s: member %.200q: %s", in.packageID(in.pkg), e.Path, problem)
}

func (in *installation) add(m int32, e *apk.Entry) error {
	dirPath, base := split(e.Path)
	dir, err := in.directory(dirPath)
	if err != nil {
		return in.blame(e, err)
	}
	if e.Type == apk.TypeDir {
		return in.addDirectory(dir, base, m, e)
	}
	ino, err := in.inode(m, e)
	if err != nil {
		return err
	}
	if in.made != nil {
		in.made[m] = ino
	}
	return in.addFile(dir, base, ino, m, e)
}

// blame names the package in an error of path resolution.
func (in *installation) blame(e *apk.Entry, err error) error {
	var c *ConflictError
	if errors.As(err, &c) {
		return err
	}
	return fmt.Errorf("package %s: %s: %w", in.packageID(in.pkg), e.Path, err)
}

// directory returns the real directory that a member's parent path leads to.
// Directories that the package uses without having them are made.
func (in *installation) directory(p string) (*node, error) {
	if p == "" {
		return in.root, nil
	}
	if in.lastDir != nil && p == in.lastPath {
		return in.lastDir, nil
	}
	at, err := in.lookup(p, true)
	for err == nil && at.node == nil {
		if at.dangling != nil {
			return nil, fmt.Errorf("its directory is below %s, a symbolic link to %s, which does not exist", at.dangling.path(), at.dangling.ino.link)
		}
		in.attach(at.dir, at.name, in.newInode(apk.TypeDir, 0o755, Owner{OwnedByGenerator, generatorImplied}), -1, -1)
		at, err = in.lookup(p, true)
	}
	if err != nil {
		return nil, err
	}
	if !at.node.isDir() {
		return nil, in.conflict(at.node, p, directoryInTheWay, "")
	}
	in.lastPath, in.lastDir = p, at.node
	return at.node, nil
}

// addDirectory lets the package have a directory. One that is a symlink to a
// directory stays that symlink (apk-tools creates directories with mkdirat and
// minds no EEXIST), so that merged /usr works.
func (in *installation) addDirectory(dir *node, base string, m int32, e *apk.Entry) error {
	in.kept[in.pkg][m] = true
	n := dir.ino.kids[base]
	switch {
	case n == nil:
		n = in.attach(dir, base, in.packageInode(in.pkg, m), in.pkg, m)
		n.ino.spelled = e.Path
	case n.ino.typ == apk.TypeSymlink:
		return nil
	case !n.isDir():
		return in.conflict(n, e.Path, directoryInTheWay, "")
	case n.ino.owner.Name == generatorImplied:
		n.ino.owner, n.ino.own, n.ino.spelled = Owner{}, false, e.Path
	case n.ino.spelled != e.Path:
		return nil
	}
	n.ino.refs = append(n.ino.refs, ref{in.pkg, m})
	n.ino.pkg, n.ino.member = in.pkg, m
	n.pkg, n.member = in.pkg, m
	return nil
}

// inode returns what a member that is not a directory names.
func (in *installation) inode(m int32, e *apk.Entry) (*inode, error) {
	if e.Type != apk.TypeHardlink {
		return in.packageInode(in.pkg, m), nil
	}
	in.indexFiles(m)
	target, ok := in.byPath[e.Link]
	if !ok {
		return nil, fmt.Errorf("package %s: %s: hard link to %.200q: expected an earlier regular file of the package",
			in.packageID(in.pkg), e.Path, e.Link)
	}
	ino := in.made[target]
	ino.links = append(ino.links, m)
	in.targets[in.pkg][m] = ino.member
	return ino, nil
}

// indexFiles makes the members before m findable as targets of hard links.
func (in *installation) indexFiles(m int32) {
	for ; in.seen < m; in.seen++ {
		e := &in.entries[in.seen]
		if in.made[in.seen] != nil && (e.Type == apk.TypeFile || e.Type == apk.TypeHardlink) {
			in.byPath[e.Path] = in.seen
		}
	}
}

// addFile names ino at base in dir, unless another package's file there is more
// important.
func (in *installation) addFile(dir *node, base string, ino *inode, m int32, e *apk.Entry) error {
	if n := dir.ino.kids[base]; n != nil {
		keep, err := in.contest(n, e)
		if err != nil || keep {
			return err
		}
		in.kept[n.pkg][n.member] = false
		in.detach(n)
	}
	in.kept[in.pkg][m] = true
	in.attach(dir, base, ino, in.pkg, m)
	if ino.typ == apk.TypeSymlink {
		in.lastDir = nil
	}
	return nil
}
