package rootfs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/generate/busybox"
	"github.com/cairn-dev/cairn/packages/apk"
)

// busyboxLinks makes the links to busybox that its install script would make,
// where nothing else stands.
func (b *builder) busyboxLinks() error {
	at, err := b.lookup("bin/busybox", true)
	if err != nil || at.node == nil || at.node.ino.typ != apk.TypeFile {
		return nil // no busybox
	}
	if b.onBase(at.node.ino.pkg) {
		return b.baseBusyboxLinks(at.node)
	}
	lists, err := b.busyboxLists(false)
	if err != nil {
		return fmt.Errorf("busybox links: %w", err)
	}
	version, from := "", []string(nil)
	if p := at.node.ino.pkg; p >= 0 {
		version, from = b.in.Packages[p].Receipt.Package.Version, []string{b.in.Packages[p].Receipt.Package.Name}
	}
	links, err := busybox.Links(version, lists)
	if err != nil {
		if at.node.ino.pkg < 0 && errors.Is(err, busybox.ErrVersion) {
			return nil // not a package's: nothing says what it can do
		}
		return fmt.Errorf("busybox links: %w", err)
	}
	if b.compat() {
		return b.apkoLinks(links, at.node.ino.mtime, from)
	}
	if suid, err := b.lookup("bin/bbsuid", true); err == nil && suid.node != nil {
		links = append(busybox.SUIDLinks(), links...)
	}
	for _, l := range links {
		if err := b.busyboxLink(l, from); err != nil {
			return fmt.Errorf("busybox links: %w", err)
		}
	}
	return nil
}

// baseBusyboxLinks makes the links that packages add to the base's busybox. What
// the base has listed itself it has linked, or removed.
func (b *builder) baseBusyboxLinks(n *node) error {
	all, errAll := b.busyboxLists(false)
	had, errHad := b.busyboxLists(true)
	if errAll != nil || errHad != nil || len(all) == len(had) {
		return errors.Join(errAll, errHad)
	}
	p := b.basePackage(n.ino.member)
	if p == nil {
		return nil // not a package's: nothing says what it can do
	}
	links, err := busybox.Links(p.Version, all)
	if err != nil {
		return fmt.Errorf("busybox links: %w", err)
	}
	old, err := busybox.Links(p.Version, had)
	if err != nil {
		return fmt.Errorf("busybox links: %w", err)
	}
	for _, l := range links {
		if slices.Contains(old, l) {
			continue
		}
		if err := b.busyboxLink(l, []string{p.Name}); err != nil {
			return fmt.Errorf("busybox links: %w", err)
		}
	}
	return nil
}

// busyboxLists reads the packages' lists of links, or only those of the base.
func (b *builder) busyboxLists(base bool) (map[string][]byte, error) {
	at, err := b.lookup(busybox.PathsDir, true)
	if err != nil || at.node == nil || !at.node.isDir() {
		return nil, nil
	}
	lists := map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(at.node.ino.kids)) {
		content, n, err := b.readAt(busybox.PathsDir + "/" + name)
		if err != nil {
			return nil, err
		}
		if n != nil && !strings.HasPrefix(name, ".") && (!base || b.unchanged(n.ino)) {
			lists[name] = content
		}
	}
	return lists, nil
}

func (b *builder) busyboxLink(l busybox.Link, from []string) error {
	at, err := b.parentOf(l.Path)
	if err != nil || at.node != nil {
		return err
	}
	ino := b.newInode(apk.TypeSymlink, 0o777, Owner{OwnedByGenerator, generatorBusybox})
	ino.link, ino.derived = l.Target, from
	b.attach(at.dir, at.name, ino, -1, -1)
	return nil
}
