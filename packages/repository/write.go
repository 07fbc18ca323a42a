package repository

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/disk"
)

// SigningKey signs indexes.
type SigningKey struct {
	// Name is the file name of the public key, "NAME.rsa.pub": the signature
	// names it so.
	Name string
	// Private has at least MinKeyBits.
	Private *rsa.PrivateKey
	// Algorithm is RSA256 (the default), RSA512, or RSA, which is SHA-1 and the
	// only one that abuild's older tools verify.
	Algorithm string
}

// ParseSigningKey reads an RSA private key in PEM, PKCS #1 or PKCS #8, not
// encrypted. name is its file name; the public key's is that with ".pub" after it.
func ParseSigningKey(name string, b []byte) (SigningKey, error) {
	name = KeyName(name)
	block, _ := pem.Decode(b)
	if block == nil {
		return SigningKey{}, fmt.Errorf("signing key %s: not PEM", name)
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		err = errors.New("is encrypted: expected a plain one (openssl rsa)")
	default:
		err = fmt.Errorf("PEM block %.40q: expected \"RSA PRIVATE KEY\" or \"PRIVATE KEY\"", block.Type)
	}
	if err != nil {
		return SigningKey{}, fmt.Errorf("signing key %s: %w", name, err)
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return SigningKey{}, fmt.Errorf("signing key %s: is a %T: expected an RSA key", name, key)
	}
	k := SigningKey{Name: strings.TrimSuffix(name, ".pub") + ".pub", Private: private}
	return k, k.check()
}

func (k SigningKey) check() error {
	if k.Private == nil {
		return fmt.Errorf("signing key %s: no key", k.Name)
	}
	if k.Name == "" || KeyName(k.Name) != k.Name {
		return fmt.Errorf("signing key: name %.80q: expected a file name", k.Name)
	}
	if _, err := NewKey(k.Name, &k.Private.PublicKey); err != nil {
		return fmt.Errorf("signing %w", err)
	}
	if _, ok := signatureHash(k.algorithm()); !ok {
		return fmt.Errorf("signing key %s: algorithm %.20q: expected RSA256, RSA512 or RSA", k.Name, k.Algorithm)
	}
	return nil
}

func (k SigningKey) algorithm() string { return cmp.Or(k.Algorithm, "RSA256") }

// Public returns the key that verifies what k signs.
func (k SigningKey) Public() (Key, error) { return NewKey(k.Name, &k.Private.PublicKey) }

// WriteOptions says how an index is written.
type WriteOptions struct {
	Description string       // content of DESCRIPTION; without it there is none
	Keys        []SigningKey // each makes a signature; without any the index is unsigned
}

// WriteIndex writes an index file of the packages, sorted by name, then version,
// then architecture and checksum. The bytes are a function of the arguments: no
// time, owner or order gets in.
func WriteIndex(w io.Writer, packages []*apk.Package, o WriteOptions) error {
	sorted := slices.Clone(packages)
	slices.SortStableFunc(sorted, comparePackages)
	var text []byte
	for _, p := range sorted {
		text = apk.AppendIndexEntry(text, p)
	}
	files := []apk.MemberFile{{Name: "APKINDEX", Body: text}}
	if o.Description != "" {
		files = []apk.MemberFile{{Name: "DESCRIPTION", Body: []byte(o.Description + "\n")}, files[0]}
	}
	content, err := apk.Member(files, true)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return SignIndex(w, content, o.Keys)
}

func comparePackages(a, b *apk.Package) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), apk.Compare(a.Version, b.Version), strings.Compare(a.Version, b.Version),
		strings.Compare(a.Arch, b.Arch), bytes.Compare(a.Checksum[:], b.Checksum[:]))
}

// SignIndex writes index, an index file, with signatures by keys before it.
// Signatures that it has already are dropped; the rest is kept byte for byte.
// Without keys the result is unsigned.
func SignIndex(w io.Writer, index []byte, keys []SigningKey) error {
	_, content, err := splitSignatures(index)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	index = index[content:]
	member, err := SignatureMember(index, keys)
	if err != nil {
		return err
	}
	for _, b := range [][]byte{member, index} {
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("index: %w", err)
		}
	}
	return nil
}

// SignatureMember returns the gzip member that holds the keys' signatures of b:
// of what follows it in an index, of the control section in a package. Without
// keys it is empty.
func SignatureMember(b []byte, keys []SigningKey) ([]byte, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	var files []apk.MemberFile
	for _, k := range keys {
		f, err := k.sign(b)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return apk.Member(files, false)
}

func (k SigningKey) sign(b []byte) (apk.MemberFile, error) {
	if err := k.check(); err != nil {
		return apk.MemberFile{}, err
	}
	hash, _ := signatureHash(k.algorithm())
	h := hash.New()
	h.Write(b)
	value, err := k.Private.Sign(nil, h.Sum(nil), crypto.SignerOpts(hash))
	if err != nil {
		return apk.MemberFile{}, fmt.Errorf("signing key %s: %w", k.Name, err)
	}
	return apk.MemberFile{Name: ".SIGN." + k.algorithm() + "." + k.Name, Body: value}, nil
}

// UpdateIndex changes an index file, or makes it. change gets the packages that
// it has (none when there is no file) and returns those that it shall have; the
// slice may be changed, the packages may not. Writers wait for each other, in
// this process and others, by a lock on path+".lock", so that none loses what
// another wrote; readers see the old file or the new one. The mode of the file is
// 0644.
//
// An existing file is not verified: who may write the directory may replace it.
func UpdateIndex(ctx context.Context, path string, o WriteOptions, change func([]*apk.Package) ([]*apk.Package, error)) (err error) {
	lock, err := disk.Lock(ctx, path+".lock", unix.LOCK_EX)
	if err != nil {
		return fmt.Errorf("index %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	packages, description, err := readPackages(path)
	if err != nil {
		return fmt.Errorf("index %s: %w", path, err)
	}
	o.Description = cmp.Or(o.Description, description)
	if packages, err = change(packages); err != nil {
		return fmt.Errorf("index %s: %w", path, err)
	}
	var out bytes.Buffer
	if err := WriteIndex(&out, packages, o); err != nil {
		return fmt.Errorf("index %s: %w", path, err)
	}
	if err := writeAtomic(path, out.Bytes(), 0o644); err != nil {
		return fmt.Errorf("index %s: %w", path, pathProblem(err))
	}
	return nil
}

// readPackages reads an index file; a missing one is empty.
func readPackages(path string) ([]*apk.Package, string, error) {
	limits := Limits{}.withDefaults()
	b, err := readFileLimit(path, limits.Index)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", pathProblem(err)
	}
	ix, err := ReadIndex(bytes.NewReader(b), ReadOptions{UnsafeUnsigned: true})
	if err != nil {
		return nil, "", err
	}
	packages := make([]*apk.Package, ix.Len())
	for i := range packages {
		packages[i] = ix.Package(i)
		if why := packages[i].Uninstallable; why != "" {
			return nil, "", fmt.Errorf("entry %s: %s: would be lost", packages[i].ID(), why)
		}
	}
	return packages, ix.Description, nil
}
