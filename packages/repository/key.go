package repository

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// MinKeyBits is the smallest RSA modulus accepted, in bits. Alpine's keys before
// 2021 have exactly this size.
const MinKeyBits = 2048

// maxKeyBits bounds the work that a hostile key can cause.
const maxKeyBits = 16384

// Key is a public key that may sign an index or a package.
type Key struct {
	// Name is the file name that signatures refer to, as in
	// "alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub".
	Name string
	// Public has at least MinKeyBits.
	Public *rsa.PublicKey
	// Fingerprint is the SHA-256 of the key's PKIX DER form: the same for every
	// encoding of the same key.
	Fingerprint apk.SHA256
	// AnyName lets the key verify signatures whatever key name they give: for a
	// key that came as text, whose name is not known.
	AnyName bool
}

// PEM returns the key as a "PUBLIC KEY" (PKIX) PEM block.
func (k Key) PEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.Public)
	if err != nil {
		return nil // not for an RSA key
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// ParseKey reads one RSA public key in PEM, "PUBLIC KEY" (PKIX) or "RSA PUBLIC
// KEY" (PKCS #1). name is its file name; directories before it are dropped.
func ParseKey(name string, b []byte) (Key, error) {
	name = KeyName(name)
	if name == "" {
		return Key{}, errors.New("key: no name")
	}
	block, rest := pem.Decode(b)
	if block == nil {
		return Key{}, fmt.Errorf("key %s: not PEM: expected \"-----BEGIN PUBLIC KEY-----\", found %s", name, sniff(b))
	}
	if more, _ := pem.Decode(rest); more != nil {
		return Key{}, fmt.Errorf("key %s: several PEM blocks: expected one", name)
	}
	pub, err := parsePublic(block)
	if err != nil {
		return Key{}, fmt.Errorf("key %s: %w", name, err)
	}
	return NewKey(name, pub)
}

func parsePublic(block *pem.Block) (*rsa.PublicKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		pub, ok := k.(*rsa.PublicKey)
		if !ok {
			return nil, fmt.Errorf("is a %T: expected an RSA key", k)
		}
		return pub, nil
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "RSA PRIVATE KEY", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("is a private key: expected the public one (openssl rsa -pubout)")
	}
	return nil, fmt.Errorf("PEM block %.40q: expected \"PUBLIC KEY\"", block.Type)
}

// NewKey checks an RSA public key and gives it a name.
func NewKey(name string, pub *rsa.PublicKey) (Key, error) {
	if pub == nil || pub.N == nil {
		return Key{}, fmt.Errorf("key %s: no key", name)
	}
	bits := pub.N.BitLen()
	switch {
	case bits < MinKeyBits:
		return Key{}, fmt.Errorf("key %s: RSA key of %d bits: expected at least %d", name, bits, MinKeyBits)
	case bits > maxKeyBits:
		return Key{}, fmt.Errorf("key %s: RSA key of %d bits: expected at most %d", name, bits, maxKeyBits)
	case pub.E < 3 || pub.E&1 == 0:
		return Key{}, fmt.Errorf("key %s: RSA exponent %d: expected an odd number from 3 on", name, pub.E)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return Key{}, fmt.Errorf("key %s: %w", name, err)
	}
	return Key{Name: name, Public: pub, Fingerprint: sha256.Sum256(der)}, nil
}

// KeyName returns the name a key gets from a path or URL: its last element.
func KeyName(p string) string {
	name := path.Base(strings.ReplaceAll(p, "\\", "/"))
	if name == "." || name == "/" || name == ".." {
		return ""
	}
	return name
}

// sniff says in a few words what bytes look like, for messages.
func sniff(b []byte) string {
	t := bytes.TrimLeft(b, " \t\r\n\ufeff")
	switch {
	case len(b) == 0:
		return "nothing"
	case len(t) == 0:
		return "white space"
	case t[0] == '<':
		return "a web page"
	case t[0] == '{' || t[0] == '[':
		return "JSON"
	case bytes.HasPrefix(b, []byte("ADB")):
		return "an APK v3 (ADB) file, which is not supported"
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		return "gzip data"
	case bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "zstd data"
	case bytes.HasPrefix(b, []byte("C:Q1")):
		return "a plain APKINDEX"
	}
	return fmt.Sprintf("%.16q", b)
}

// Keyring is the set of keys that count for one repository. It must not be
// changed while it is in use. The nil *Keyring is empty.
type Keyring struct {
	byName   map[string][]Key
	nameless []Key
}

// NewKeyring returns a keyring of the given keys.
func NewKeyring(keys ...Key) *Keyring {
	r := &Keyring{}
	r.Add(keys...)
	return r
}

// Add adds keys. Two different keys of one name are both kept, and a signature
// by either counts.
func (r *Keyring) Add(keys ...Key) {
	if r.byName == nil {
		r.byName = map[string][]Key{}
	}
	for _, k := range keys {
		if k.AnyName {
			if !hasKey(r.nameless, k) {
				r.nameless = append(r.nameless, k)
			}
			continue
		}
		n := bareName(k.Name)
		if !hasKey(r.byName[n], k) {
			r.byName[n] = append(r.byName[n], k)
		}
	}
}

func hasKey(ks []Key, k Key) bool {
	for _, o := range ks {
		if o.Fingerprint == k.Fingerprint {
			return true
		}
	}
	return false
}

// bareName drops the ending ".rsa.pub": mirrors and key proxies serve keys
// without it, and a signature always has it.
func bareName(name string) string { return strings.TrimSuffix(name, ".rsa.pub") }

// Lookup returns the keys that a signature naming name may have been made with.
// The ending ".rsa.pub" does not matter, and keys without a name are among them.
func (r *Keyring) Lookup(name string) []Key {
	if r == nil {
		return nil
	}
	return append(slices.Clip(r.byName[bareName(name)]), r.nameless...)
}

// Len returns the number of keys.
func (r *Keyring) Len() int { return len(r.Keys()) }

// Keys returns all keys, sorted by name, then fingerprint.
func (r *Keyring) Keys() []Key {
	if r == nil {
		return nil
	}
	out := slices.Clone(r.nameless)
	for _, ks := range r.byName {
		out = append(out, ks...)
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Name != out[j].Name {
			return out[i].Name < out[j].Name
		}
		return bytes.Compare(out[i].Fingerprint[:], out[j].Fingerprint[:]) < 0
	})
	return out
}

// Names returns the names of all keys, sorted.
func (r *Keyring) Names() []string {
	var out []string
	for _, k := range r.Keys() {
		out = append(out, k.Name)
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
