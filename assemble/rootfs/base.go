package rootfs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// directory is one of the directories every image has.
type directory struct {
	path   string
	mode   uint32
	initdb bool // apk-tools makes it before it installs packages (apk_db_create)
}

// baseList are apko's base directories, of which those that apk-tools makes
// too keep their mode whatever packages say. /lib is not in it: a package that
// makes it a symlink into /usr could not be installed then.
func baseList() []directory {
	return []directory{
		{"dev", 0o755, true}, {"etc", 0o755, true}, {"etc/apk", 0o755, true}, {"etc/apk/keys", 0o755, false},
		{"opt", 0o755, false}, {"proc", 0o555, true}, {"tmp", 0o1777, true}, {"usr", 0o755, false},
		{"var", 0o755, true}, {"var/cache", 0o755, true}, {"var/cache/apk", 0o755, true}, {"var/cache/misc", 0o755, true},
	}
}

// baseDirectories makes the directories that the packages did not bring.
// A symlink in the place of one is left alone.
func (b *builder) baseDirectories() error {
	if b.in.Base != nil {
		b.keepBaseDirectories()
		return nil
	}
	for _, d := range baseList() {
		if _, err := b.baseDirectory(d); err != nil {
			return err
		}
	}
	if lib := b.root.ino.kids["lib"]; lib != nil && lib.isDir() {
		lib.ino.initdb = 0o755
	}
	return nil
}

// baseDirectory returns the directory at d.path, made when it is missing.
func (b *builder) baseDirectory(d directory) (*node, error) {
	at, err := b.lookup(d.path, false)
	if err != nil {
		return nil, fmt.Errorf("base directory /%s: %w", d.path, err)
	}
	if at.node == nil {
		return b.attach(at.dir, at.name, b.newInode(apk.TypeDir, d.mode, Owner{OwnedByGenerator, generatorBase}), -1, -1), nil
	}
	if at.node.ino.typ == apk.TypeSymlink {
		n, err := b.mkdirAll(d.path)
		if err != nil {
			return nil, fmt.Errorf("base directory /%s: %w", d.path, err)
		}
		return n, nil
	}
	if !at.node.isDir() {
		return nil, fmt.Errorf("base directory /%s: %w: it is a file of %s", d.path, errNotDir, b.ownerOf(at.node).Name)
	}
	if at.node.ino.owner.Name == generatorImplied {
		at.node.ino.owner.Name, at.node.ino.mode = generatorBase, d.mode
	}
	if d.initdb {
		at.node.ino.initdb = d.mode
	}
	return at.node, nil
}

// generate puts a regular file with the given content at p, in place of what
// stands there. A file of the same content and mode is left as it is.
func (b *builder) generate(p string, mode uint32, content []byte, owner Owner) (*inode, error) {
	at, err := b.parentOf(p)
	if err != nil {
		return nil, err
	}
	if at.node != nil {
		ino := at.node.ino
		switch {
		case ino.typ == apk.TypeDir:
			return nil, fmt.Errorf("/%s: expected no directory there, %s has one", at.node.path(), b.ownerOf(at.node).Name)
		case b.compat() && owner.Name == generatorKeys: // apko has them before any package
		case ino.typ == apk.TypeFile && ino.mode == mode && b.digest(ino) == sha256.Sum256(content):
			return ino, nil
		}
		b.detach(at.node)
	}
	ino := b.newInode(apk.TypeFile, mode, owner)
	ino.content, ino.changed = content, true
	b.attach(at.dir, at.name, ino, -1, -1)
	return ino, nil
}

// digest returns the SHA-256 of a regular file's content.
func (b *builder) digest(ino *inode) apk.SHA256 {
	if ino.changed || ino.pkg < 0 {
		return sha256.Sum256(ino.content)
	}
	return b.member(ino.pkg, ino.member).SHA256
}

// packageSettings writes what apk reads in /etc/apk.
func (b *builder) packageSettings() error {
	owner := Owner{OwnedByGenerator, generatorSettings}
	for _, f := range []struct {
		name, content string
		keep          bool // as the base has it
	}{
		{"arch", b.in.Arch + "\n", true},
		{"repositories", sortedLines(b.in.RuntimeRepositories), len(b.in.RuntimeRepositories) == 0},
		{"world", b.world(), false},
	} {
		if at, err := b.lookup("etc/apk/"+f.name, true); f.keep && err == nil && at.node != nil && b.unchanged(at.node.ino) {
			continue
		}
		if _, err := b.generate("etc/apk/"+f.name, 0o644, []byte(f.content), owner); err != nil {
			return err
		}
	}
	return b.keys()
}

// world lists the request: what was asked for, not what it resolved to.
func (b *builder) world() string {
	var lines []string
	for _, d := range b.in.World {
		lines = append(lines, d.String())
	}
	if b.compat() {
		lines = b.pinned()
	}
	return sortedLines(append(lines, b.baseWorld()...))
}

// baseWorld is the request that the base was made from.
func (b *builder) baseWorld() []string {
	if b.in.Base == nil {
		return nil
	}
	text, _, err := b.readAt("etc/apk/world")
	if err != nil {
		return nil // packageSettings meets the same error
	}
	return strings.Fields(string(text))
}

// pinned lists all packages as "name=version", sorted.
func (b *builder) pinned() []string {
	list := make([]string, len(b.in.Packages))
	for i := range list {
		p := &b.in.Packages[i].Receipt.Package
		list[i] = p.Name + "=" + p.Version
	}
	slices.Sort(list)
	return list
}

// sortedLines returns each string once, sorted, on a line of its own.
func sortedLines(list []string) string {
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	return strings.Join(list, "\n") + "\n"
}

// keys writes the keys that packages may be verified with at run time.
func (b *builder) keys() error {
	for _, name := range slices.Sorted(maps.Keys(b.in.Keys)) {
		if err := checkKeyName(name); err != nil {
			return fmt.Errorf("key %q: %w", name, err)
		}
		if same, err := b.baseHasKey(name); err != nil {
			return fmt.Errorf("key %q: %w", name, err)
		} else if same {
			continue
		}
		if _, err := b.generate("etc/apk/keys/"+name, 0o644, b.in.Keys[name], Owner{OwnedByGenerator, generatorKeys}); err != nil {
			return err
		}
	}
	return nil
}

func checkKeyName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00\n") {
		return errors.New("expected a file name")
	}
	return nil
}
