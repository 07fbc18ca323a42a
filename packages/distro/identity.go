package distro

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/tree"
)

// sbomDir is where packages carry their own SBOM.
const sbomDir = "var/lib/db/sbom/"

// Identity returns a digest of what a package is to those who install it, as
// hexadecimal digits: its name and version, what it needs, provides and replaces,
// its scripts and its files. Not in it are the signature, times, the description,
// the commit of its definition, how it was compressed, and the SBOM that it
// carries. tempDir is where it is unpacked to meanwhile; empty is the system's.
func Identity(ctx context.Context, file, tempDir string) (_ string, err error) {
	p, err := tree.OpenPackage(ctx, file, tree.PackageOptions{TempDir: tempDir, NoDataHash: true})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	d := newDigest()
	k := &p.Receipt.Package
	d.add("package", k.Name, k.Version, k.Arch, strconv.FormatInt(k.ProviderPriority, 10), strconv.FormatInt(k.ReplacesPriority, 10))
	d.dependencies("depends", k.Depends)
	d.dependencies("provides", k.Provides)
	d.dependencies("replaces", k.Replaces)
	d.dependencies("install_if", k.InstallIf)
	d.add("triggers", k.Triggers...)
	for _, name := range slices.Sorted(maps.Keys(p.Receipt.Scripts)) {
		d.add("script", name, string(p.Receipt.Scripts[name]))
	}
	entries := p.Entries()
	for i := range entries {
		if !strings.HasPrefix(entries[i].Path+"/", sbomDir) {
			d.entry(&entries[i])
		}
	}
	return d.String(), nil
}

// digest hashes lists of texts so that no two lists give the same.
type digest struct{ hash.Hash }

func (d digest) add(kind string, values ...string) {
	var n []byte
	for _, v := range append([]string{kind, strconv.Itoa(len(values))}, values...) {
		n = strconv.AppendInt(n[:0], int64(len(v)), 10)
		d.Write(append(n, ' '))
		d.Write([]byte(v))
	}
}

func (d digest) dependencies(kind string, list []apk.Dependency) {
	texts := make([]string, len(list))
	for i := range list {
		texts[i] = list[i].String()
	}
	slices.Sort(texts)
	d.add(kind, texts...)
}

func (d digest) entry(e *apk.Entry) {
	d.add("file", e.Path, fmt.Sprint(e.Type), strconv.FormatUint(uint64(e.Mode), 8), strconv.Itoa(e.UID), strconv.Itoa(e.GID),
		e.Uname, e.Gname, strconv.FormatInt(e.Size, 10), e.Link, e.SHA256.Hex())
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		d.add("xattr", name, e.Xattrs[name])
	}
}

// String returns the hash so far.
func (d digest) String() string { return hex.EncodeToString(d.Sum(nil)) }

func newDigest() digest { return digest{sha256.New()} }
