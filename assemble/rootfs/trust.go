package rootfs

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/generate/certs"
	"github.com/cairn-dev/cairn/packages/apk"
)

// maxAnchor is the size of a file, in bytes, up to which it is looked at for
// certificates.
const maxAnchor = 1 << 20

// trustStore is what is made of the certificates that packages bring one by
// one, where none brings a bundle.
type trustStore struct {
	*builder
	shared   []string          // paths of the packages' certificates
	bad      map[string]error  // what is wrong with those that are none
	contents map[*inode][]byte // of the files that were read
}

// makeTrustStore makes the bundle that the install script of Debian's
// ca-certificates makes. It returns nil when there is nothing to make.
func (b *builder) makeTrustStore() (*trustStore, error) {
	names := b.anchors(certs.SharedDir)
	if b.compat() || len(names) == 0 || b.hasBundle() {
		return nil, nil
	}
	conf, n, err := b.readAt(certs.ConfPath)
	if err != nil {
		return nil, err
	}
	names = certs.Select(conf, names)
	t := &trustStore{builder: b, contents: map[*inode][]byte{}}
	for _, name := range names {
		t.shared = append(t.shared, certs.SharedDir+"/"+name)
	}
	files, from, err := t.files(slices.Concat(t.shared, b.localAnchors()))
	if err != nil {
		return nil, err
	}
	var bundle []byte
	if bundle, t.bad = certs.Bundle(files); len(bundle) == 0 {
		return nil, nil
	}
	for _, p := range slices.Sorted(maps.Keys(t.bad)) {
		b.warnings = append(b.warnings, fmt.Sprintf("/%s is not trusted: %v", p, t.bad[p]))
	}
	ino, err := b.generate(certs.BundlePaths()[0], 0o644, bundle, Owner{OwnedByGenerator, generatorCerts})
	if err != nil {
		return nil, err
	}
	ino.derived = from
	if n == nil {
		err = b.anchorConf(names)
	}
	return t, err
}

// makeJavaStore makes the truststore that the install script of Debian's
// ca-certificates-java makes of the bundle, where a Java runtime leads to one
// and there is none.
func (b *builder) makeJavaStore() error {
	store := certs.TruststorePaths()[0]
	if at, err := b.lookup(store, true); b.compat() || err != nil || at.node != nil || !b.javaAsksFor(store) {
		return err
	}
	bundle, n, err := b.readAt(certs.BundlePaths()[0])
	if err != nil || n == nil {
		return err
	}
	content, err := certs.Truststore(bundle, b.in.Created)
	if err != nil {
		b.warnings = append(b.warnings, fmt.Sprintf("/%s is not made: /%s: %v", store, n.path(), err))
		return nil
	}
	from := slices.Clone(n.ino.derived)
	if len(from) == 0 {
		from = []string{b.ownerOf(n).Name}
	}
	ino, err := b.generate(store, 0o644, content, Owner{OwnedByGenerator, generatorCerts})
	if err != nil {
		return err
	}
	ino.derived = from
	return nil
}

// javaAsksFor tells whether the truststore of a Java runtime is a link to the
// path, which nothing has.
func (b *builder) javaAsksFor(store string) bool {
	at, err := b.lookup("usr/lib/jvm", true)
	if err != nil || at.node == nil || !at.node.isDir() {
		return false
	}
	for name := range at.node.ino.kids {
		for _, below := range []string{"lib/security/cacerts", "jre/lib/security/cacerts"} {
			link, err := b.lookup("usr/lib/jvm/"+name+"/"+below, false)
			if err == nil && link.node != nil && link.node.ino.typ == apk.TypeSymlink && link.node.ino.link == "/"+store {
				return true
			}
		}
	}
	return false
}

// hasBundle tells whether programs find a bundle in the image.
func (b *builder) hasBundle() bool {
	return slices.ContainsFunc(certs.KnownBundles(), func(p string) bool {
		at, err := b.lookup(p, true)
		return err == nil && at.node != nil
	})
}

// anchors returns the names of the certificate files below a directory,
// relative to it and sorted.
func (b *builder) anchors(dir string) []string {
	at, err := b.lookup(dir, true)
	if err != nil || at.node == nil || !at.node.isDir() {
		return nil
	}
	var out []string
	var walk func(n *node, prefix string)
	walk = func(n *node, prefix string) {
		for name, kid := range n.ino.kids {
			switch {
			case kid.isDir():
				walk(kid, prefix+name+"/")
			case certs.IsAnchor(name) && b.isFile(dir+"/"+prefix+name):
				out = append(out, prefix+name)
			}
		}
	}
	walk(at.node, "")
	slices.Sort(out)
	return out
}

// isFile tells whether p leads to a regular file of a size to be looked at.
func (b *builder) isFile(p string) bool {
	at, err := b.lookup(p, true)
	if err != nil || at.node == nil || at.node.ino.typ != apk.TypeFile {
		return false
	}
	ino := at.node.ino
	if ino.changed || ino.pkg < 0 {
		return len(ino.content) <= maxAnchor
	}
	return b.member(ino.pkg, ino.member).Size <= maxAnchor
}

// localAnchors returns the paths of the certificates that are trusted whatever
// /etc/ca-certificates.conf says.
func (b *builder) localAnchors() []string {
	names := b.anchors(certs.Dir)
	for i := range names {
		names[i] = certs.Dir + "/" + names[i]
	}
	return names
}

// anchorConf writes the file that update-ca-certificates needs to make the same
// again, where the image has it.
func (b *builder) anchorConf(names []string) error {
	if !b.isFile("usr/sbin/update-ca-certificates") {
		return nil
	}
	_, err := b.generate(certs.ConfPath, 0o644, certs.Conf(names), Owner{OwnedByGenerator, generatorCerts})
	return err
}

// files reads files, each once, and tells which packages and keys they are from.
func (t *trustStore) files(paths []string) ([]certs.File, []string, error) {
	nodes := make([]*node, len(paths))
	var unread []*node
	var from []string
	for i, p := range paths {
		at, err := t.lookup(p, true)
		if err != nil {
			return nil, nil, err
		}
		nodes[i] = at.node
		if _, ok := t.contents[at.node.ino]; !ok {
			unread = append(unread, at.node)
		}
		if name := t.ownerOf(at.node).Name; !slices.Contains(from, name) {
			from = append(from, name)
		}
	}
	contents, err := t.readAll(unread)
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(t.contents, contents)
	files := make([]certs.File, len(paths))
	for i, p := range paths {
		files[i] = certs.File{Path: p, Content: t.contents[nodes[i].ino]}
	}
	return files, from, nil
}

// links makes what update-ca-certificates makes beside the bundle: a link to
// each certificate, and links to these by the hash of the subject, for programs
// that use OpenSSL's directory.
func (t *trustStore) links() error {
	last := map[string]string{} // of two with one name the later, as `ln -sf` does
	for _, p := range slices.Concat(t.shared, t.localAnchors()) {
		if t.bad[p] == nil {
			last[certs.LinkName(p)] = p
		}
	}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		if err := t.link(name, "/"+last[name]); err != nil {
			return err
		}
	}
	return t.hashLinks()
}

// hashLinks does the work of `openssl rehash`.
func (t *trustStore) hashLinks() error {
	at, err := t.lookup(certs.LinkDir, true)
	if err != nil || at.node == nil {
		return err
	}
	var paths []string
	for _, name := range slices.Sorted(maps.Keys(at.node.ino.kids)) {
		if p := path.Join(certs.LinkDir, name); certs.IsHashed(name) && p != certs.BundlePaths()[0] && t.isFile(p) {
			paths = append(paths, p)
		}
	}
	files, _, err := t.files(paths)
	if err != nil {
		return err
	}
	for i := range files {
		files[i].Path = strings.TrimPrefix(files[i].Path, certs.LinkDir+"/")
	}
	for _, l := range certs.HashLinks(files, func(name string) bool { return at.node.ino.kids[name] != nil }) {
		if err := t.link(l.Name, l.Target); err != nil {
			return err
		}
	}
	return nil
}

// link makes a link in the directory of the bundle, where nothing stands.
func (t *trustStore) link(name, target string) error {
	at, err := t.parentOf(certs.LinkDir + "/" + name)
	if err != nil || at.node != nil {
		return err
	}
	ino := t.newInode(apk.TypeSymlink, 0o777, Owner{OwnedByGenerator, generatorCerts})
	ino.link = target
	n := t.attach(at.dir, at.name, ino, -1, -1)
	to, err := t.lookup(n.path(), true)
	if err != nil || to.node == nil {
		return fmt.Errorf("/%s: it leads nowhere", n.path())
	}
	ino.derived = []string{t.ownerOf(to.node).Name}
	return nil
}
