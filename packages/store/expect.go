package store

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"strconv"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Expect is what a package must be. Fields that are zero are not checked,
// except for the control checksum, see [Unsafe.NoChecksum].
type Expect struct {
	Name, Version string
	Checksum      apk.SHA1 // of the control section, from the index
	Size          int64    // of the .apk file in bytes, from the index

	FileSHA256    apk.SHA256 // of the whole .apk file, from a lock
	ReceiptSHA256 apk.SHA256 // [Receipt.Digest], from a lock

	// Key returns the public key of that file name, nil when it is not known.
	// A signature by a known key must be right; one by an unknown key counts
	// as none. Nil: no key is known.
	Key func(name string) *rsa.PublicKey

	Unsafe Unsafe
}

// Unsafe switches checks off. What was in fact skipped because of a switch
// stands in [Receipt.Waived].
type Unsafe struct {
	NoChecksum  bool // accept a package when neither Checksum nor FileSHA256 is given
	NoDataHash  bool // accept a package whose .PKGINFO names no datahash
	NoSignature bool // do not check the package's own signature
}

// The checks that [Receipt.Waived] can name.
const (
	WaivedChecksum  = "control checksum"
	WaivedDataHash  = "data hash"
	WaivedSignature = "package signature"
)

// ID returns "name-version", or the checksum when there is no name.
func (e *Expect) ID() string {
	switch {
	case e.Name == "" && e.Checksum.IsZero():
		return "(unnamed)"
	case e.Name == "":
		return e.Checksum.String()
	case e.Version == "":
		return e.Name
	}
	return e.Name + "-" + e.Version
}

// checkHead checks all that is known before the data section has been read.
// sized is the file's size, 0 when it is not known yet.
func (e *Expect) checkHead(r *Receipt) error {
	p := &r.Package
	id := e.ID()
	mismatch := func(what, found, wanted string) error {
		return &MismatchError{Package: id, What: what, Found: found, Wanted: wanted}
	}
	switch {
	case e.Checksum.IsZero() && e.FileSHA256.IsZero() && !e.Unsafe.NoChecksum:
		return fmt.Errorf("package %s: no checksum to check it against", id)
	case !e.Checksum.IsZero() && e.Checksum != p.Checksum:
		return mismatch("control checksum", p.Checksum.String(), e.Checksum.String())
	case e.Name != "" && e.Name != p.Name:
		return mismatch("name", p.Name, e.Name)
	case e.Version != "" && e.Version != p.Version:
		return mismatch("version", p.Version, e.Version)
	case p.DataHash.IsZero() && !e.Unsafe.NoDataHash:
		return fmt.Errorf("package %s: %w: nothing vouches for the data section", id, errNoDataHash)
	}
	if e.Checksum.IsZero() && e.FileSHA256.IsZero() {
		r.Waived = append(r.Waived, WaivedChecksum)
	}
	if p.DataHash.IsZero() {
		r.Waived = append(r.Waived, WaivedDataHash)
	}
	return e.checkSignature(r)
}

// checkSignature checks the signatures of known keys: each must be right.
func (e *Expect) checkSignature(r *Receipt) error {
	if len(r.Signature) == 0 || e.Key == nil && !e.Unsafe.NoSignature {
		return nil
	}
	if e.Unsafe.NoSignature {
		r.Waived = append(r.Waived, WaivedSignature)
		return nil
	}
	list, err := apk.ReadSignatures(r.Signature)
	if err != nil {
		return fmt.Errorf("package %s: %w", e.ID(), err)
	}
	for _, s := range list {
		key := e.Key(s.KeyName)
		if key == nil {
			continue
		}
		err := s.Verify(key, r.Control)
		if errors.Is(err, apk.ErrAlgorithm) {
			continue
		}
		if err != nil {
			return fmt.Errorf("package %s: %w", e.ID(), err)
		}
		if r.SignedBy == "" {
			r.SignedBy = s.KeyName
		}
	}
	return nil
}

// checkFile checks what is known of the whole file.
func (e *Expect) checkFile(r *Receipt) error {
	mismatch := func(what, found, wanted string) error {
		return &MismatchError{Package: r.ID(), What: what, Found: found, Wanted: wanted}
	}
	digest := r.Digest()
	switch {
	case e.Size != 0 && e.Size != r.FileSize:
		return mismatch("size", strconv.FormatInt(r.FileSize, 10), strconv.FormatInt(e.Size, 10))
	case !e.FileSHA256.IsZero() && e.FileSHA256 != r.FileSHA256:
		return mismatch("sha256 of the file", r.FileSHA256.Hex(), e.FileSHA256.Hex())
	case !e.ReceiptSHA256.IsZero() && e.ReceiptSHA256 != digest:
		return mismatch("receipt digest", digest.Hex(), e.ReceiptSHA256.Hex())
	}
	return nil
}

// Check checks a receipt against e, as if the package were ingested now, and
// sets SignedBy and Waived. It does not read the blob: see [Store.Verify].
func (r *Receipt) Check(e Expect) error {
	r.SignedBy, r.Waived = "", nil
	if err := e.checkHead(r); err != nil {
		return err
	}
	return e.checkFile(r)
}

// complete fills in what the control section says: Package, Scripts and the
// positions in the file.
func (r *Receipt) complete(h *apk.Head) {
	r.Package = *h.Package
	r.Package.Checksum = h.ControlSHA1
	r.DataOffset = int64(len(r.Signature) + len(r.Control))
	r.FileSize = r.DataOffset + r.DataSize
	r.Package.Size = r.FileSize
	for name, body := range h.Files {
		if name == ".PKGINFO" {
			continue
		}
		if r.Scripts == nil {
			r.Scripts = map[string][]byte{}
		}
		r.Scripts[name] = bytes.Clone(body)
	}
}

var errNoDataHash = fmt.Errorf(".PKGINFO: no datahash"+"%.0w", ErrMalformed) // the verb prints nothing
