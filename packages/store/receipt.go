// Package store keeps verified packages: each package is read once, checked
// against every hash that covers it, and kept as two things: its data section
// byte for byte as it came (a blob, which serves as an image layer as it is),
// and a receipt that says all that later stages need to know without opening
// the blob.
//
// It is content-addressed by the data section's SHA-256, safe under concurrent
// processes and kill -9, limited in size, and never the source of truth: all
// bytes are hashed again when they are used. It does not fetch and does not
// decide which keys are trusted.
//
//	st, err := store.Open(dir, store.Options{})
//	if err != nil {
//		return err
//	}
//	receipt, err := st.Ingest(ctx, body, store.Expect{Checksum: pkg.Checksum})
package store

import (
	"crypto/sha256"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Receipt is the immutable record of one package, keyed by DataHash.
type Receipt struct {
	// Package is the content of .PKGINFO, completed with Checksum and Size
	// as measured on the file.
	Package apk.Package

	// Signature and Control are the raw gzip members as they stand in the
	// file; Signature is empty for packages without one.
	Signature []byte
	Control   []byte
	// SignatureKey is the key file name that the signature member names
	// (".SIGN.RSA.<name>"), empty without one.
	SignatureKey string

	FileSHA256 apk.SHA256 // of the whole .apk file
	FileSize   int64      // of the whole .apk file, bytes

	// DataOffset is where the data section starts in the file; DataSize is its
	// compressed size, InflatedSize that of the tar in it. DataHash is the
	// SHA-256 of the compressed, DiffID of the inflated bytes.
	DataOffset   int64
	DataSize     int64
	DataHash     apk.SHA256
	DiffID       apk.SHA256
	InflatedSize int64

	// Entries are the members of the data section in archive order. They
	// include what apk-tools leaves out when it installs: see [Ignored].
	Entries []apk.Entry
	// TarEnd is the position in the inflated tar behind the last member and
	// its padding, where the end-of-archive begins (or would begin).
	TarEnd int64

	// Scripts are the install scripts and the like of the control section, by
	// member name (".post-install", ".trigger").
	Scripts map[string][]byte
	// Contents holds the bytes of the small files that planning needs, by
	// path: account files, os-release, ld.so.conf, busybox paths, embedded
	// SBOMs. See ContentWanted.
	Contents map[string][]byte

	// Verbatim is empty when the data section can be an image layer as it is,
	// else the reason why not ("no end-of-archive", "device node dev/null").
	Verbatim string

	// SignedBy is the key name whose signature was verified when this receipt
	// was last checked against an [Expect], empty when none was. Waived lists
	// what that check left out because of an [Unsafe] switch. Both depend on
	// the keys at hand and are not part of the receipt's stored form.
	SignedBy string
	Waived   []string

	digest apk.SHA256 // of the stored form, zero when not computed
}

// ReceiptFormat is the version of the stored form of receipts, and so of what
// [Receipt.Digest] covers.
const ReceiptFormat = 1

// ID returns "name-version" of the package.
func (r *Receipt) ID() string { return r.Package.ID() }

// Digest returns the SHA-256 of the receipt's stored form: of everything that
// the receipt says about the package. Two stores that ingested the same file
// give the same digest. It is computed once; do not change a receipt.
func (r *Receipt) Digest() apk.SHA256 {
	if !r.digest.IsZero() {
		return r.digest
	}
	return sha256.Sum256(appendReceipt(nil, r))
}

// MemberEnd returns the position in the inflated tar behind the entry's
// content and padding. The member is the bytes from e.HeaderOffset up to there.
func MemberEnd(e *apk.Entry) int64 {
	if e.Type != apk.TypeFile {
		return e.DataOffset
	}
	return e.DataOffset + (e.Size+blockSize-1)&^(blockSize-1)
}

// Ignored reports whether apk-tools 2.14 passes over a member of this path
// when it installs a package: names in the root that begin with a dot
// (".dummy"), and markers for empty directories ("usr/share/x/.keep_y").
func Ignored(p string) bool {
	if strings.HasPrefix(p, ".") {
		return true
	}
	base := p[strings.LastIndexByte(p, '/')+1:]
	return len(base) > len(keepPrefix) && strings.HasPrefix(base, keepPrefix)
}

const keepPrefix = ".keep_"
