package repository

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages/apk"
)

// ReadOptions says how [ReadIndex] judges an index.
type ReadOptions struct {
	// Keyring holds the keys whose signatures count.
	Keyring *Keyring
	// UnsafeUnsigned accepts an index without a verified signature.
	UnsafeUnsigned bool
	// Limits bounds the input; Index and IndexInflated are used.
	Limits Limits
}

// ReadIndex reads an index in apk's v2 form: one or more gzip members of
// signatures (.SIGN.RSA.KEY for RSA with SHA-1, RSA256, RSA512), then gzip
// members of a tar with DESCRIPTION and APKINDEX. One signature by a key of the
// keyring over everything behind the signatures is required and suffices.
//
// The errors are ErrUnsigned, *UnknownKeyError, *SignatureError, ErrLimit and
// *FormatError, which has the size and digest of what was read.
func ReadIndex(r io.Reader, o ReadOptions) (*Index, error) {
	limits := o.Limits.withDefaults()
	b, err := readLimit(r, limits.Index)
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	v, err := verifyIndex(b, sha256.Sum256(b), o.Keyring, o.UnsafeUnsigned)
	if err != nil {
		return nil, err
	}
	raw, err := v.parse(limits.IndexInflated, nil)
	if err != nil {
		return nil, err
	}
	t, err := newTable(raw, raw[:len(raw)-sealSize])
	if err != nil {
		return nil, err
	}
	ix := v.index(t)
	ix.keys = o.Keyring
	return ix, nil
}

// verified is the bytes of an index file after their signature was judged.
type verified struct {
	bytes   []byte
	content int // where the signed content begins
	sha256  apk.SHA256
	signer  Signer
	unsafe  bool
}

// verifyIndex judges the signature of an index file.
func verifyIndex(b []byte, sum apk.SHA256, keys *Keyring, unsafe bool) (*verified, error) {
	v := &verified{bytes: b, sha256: sum}
	sigs, content, err := splitSignatures(b)
	if err != nil {
		return nil, v.problem(err)
	}
	v.content = content
	v.signer, err = verify(b, sigs, content, keys)
	if err == nil {
		return v, nil
	}
	if !unsafe {
		if errors.Is(err, ErrUnsigned) {
			// A damaged file may merely look unsigned; then that is the news.
			if err2 := v.wellFormed(); err2 != nil {
				return nil, err2
			}
		}
		var wrong *SignatureError
		if errors.As(err, &wrong) {
			return nil, fmt.Errorf("index: %w (read %d bytes, %s)", err, len(b), sum)
		}
		return nil, fmt.Errorf("index: %w", err)
	}
	v.unsafe = true
	return v, nil
}

func (v *verified) problem(err error) error {
	return &FormatError{Size: int64(len(v.bytes)), SHA256: v.sha256, Err: fmt.Errorf("index: %w", err)}
}

// wellFormed looks at the first file of the content only.
func (v *verified) wellFormed() error {
	z, err := gzip.NewReader(bytes.NewReader(v.bytes[v.content:]))
	if err != nil {
		return v.problem(gzipProblem(v.bytes, err))
	}
	if _, err := tar.NewReader(z).Next(); err != nil {
		return v.problem(tarProblem(err))
	}
	return nil
}

func tarProblem(err error) error {
	if errors.Is(err, tar.ErrHeader) {
		return errors.New("gzip data, but no tar archive in it: expected DESCRIPTION and APKINDEX")
	}
	return cutShort(err)
}

// index wraps the parsed form with what the verification found.
func (v *verified) index(t *table) *Index {
	ix := newIndex(t)
	ix.SignedBy = v.signer
	ix.UnsafeUnsigned = v.unsafe
	return ix
}

// parse returns the bytes of the parsed form.
func (v *verified) parse(limit int64, secret []byte) ([]byte, error) {
	b := newBuilder()
	description, err := readArchive(v.bytes[v.content:], limit, b.add)
	if err != nil {
		return nil, v.problem(err)
	}
	return b.finish(v.sha256, int64(len(v.bytes)), description, secret)
}

// readArchive reads the content members: a tar with DESCRIPTION (may be missing)
// and APKINDEX, each once. Other files are ignored, as apk-tools does.
func readArchive(b []byte, limit int64, add func(*apk.Package)) (description string, err error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return "", gzipProblem(b, err)
	}
	limited := newLimitReader(z, limit)
	t := tar.NewReader(limited)
	seen := map[string]bool{}
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", tarProblem(err)
		}
		name := strings.TrimPrefix(h.Name, "./")
		if seen[name] && (name == "APKINDEX" || name == "DESCRIPTION") {
			return "", fmt.Errorf("%s: twice in the archive", name)
		}
		seen[name] = true
		if err := readMember(name, h, t, &description, add); err != nil {
			return "", err
		}
	}
	// The rest is read for the checksum of the last gzip member.
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return "", cutShort(err)
	}
	if !seen["APKINDEX"] {
		return "", errors.New("no APKINDEX in the archive")
	}
	return description, nil
}

const maxDescription = 64 << 10

func readMember(name string, h *tar.Header, r io.Reader, description *string, add func(*apk.Package)) error {
	switch name {
	case "APKINDEX":
		if h.Typeflag != tar.TypeReg {
			return errors.New("APKINDEX: not a regular file")
		}
		err := apk.ParseIndex(r, func(p *apk.Package) error { add(p); return nil })
		if err != nil {
			return fmt.Errorf("APKINDEX: %w", cutShort(err))
		}
	case "DESCRIPTION":
		b, err := readLimit(r, maxDescription)
		if err != nil {
			return fmt.Errorf("DESCRIPTION: %w", cutShort(err))
		}
		*description = strings.TrimSpace(string(b))
	}
	return nil
}
