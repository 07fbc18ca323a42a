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

	// Entries are the members of the data section in archive order.
	Entries []apk.Entry

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
}
