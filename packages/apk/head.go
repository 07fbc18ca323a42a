package apk

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// The errors of [ReadHead] that callers tell apart; all wrap one of these.
var (
	// ErrNotPackage: the bytes are not those of an APK v2 package or index.
	ErrNotPackage = errors.New("not an apk v2 file")
	// ErrVersion3: the file is an APK v3 package or index ("ADB").
	ErrVersion3 = errors.New("apk v3 is not supported")
	// ErrTooLarge: a section is larger than [Limits] allow.
	ErrTooLarge = errors.New("too large")
)

// Limits bound what [ReadHead] reads, in bytes; the zero value of a field means
// 10 MiB, a negative one no limit. They apply to each of the two sections.
type Limits struct {
	ControlCompressed int64
	ControlInflated   int64
}

const (
	defaultLimit   = 10 << 20
	noLimit        = 1 << 60
	maxMembers     = 8   // signature members in front of the control member
	maxControlFile = 256 // files in one section
)

func (l Limits) withDefaults() Limits {
	for _, n := range []*int64{&l.ControlCompressed, &l.ControlInflated} {
		switch {
		case *n == 0:
			*n = defaultLimit
		case *n < 0:
			*n = noLimit
		}
	}
	return l
}

// Head is everything of a package file that stands before its data section.
type Head struct {
	// Signature and Control are the raw gzip members as they stand in the
	// file. Signature is empty for a package without one, and holds several
	// members when the package was signed several times.
	Signature []byte
	Control   []byte
	// SignatureName is the key file name of the first signature, empty without
	// one. Signatures lists all of them, including those of algorithms that
	// cannot be verified.
	SignatureName string
	Signatures    []Signature
	// Files are the files of the control section by name: ".PKGINFO",
	// ".post-install", ".trigger"…
	Files map[string][]byte
	// Package is the content of .PKGINFO, with Checksum set to ControlSHA1.
	Package     *Package
	ControlSHA1 SHA1
}

// DataOffset returns the position of the data section in the file.
func (h *Head) DataOffset() int64 { return int64(len(h.Signature) + len(h.Control)) }

// ReadHead reads the signature and control sections of a package file and leaves
// r at the first byte of the data section. It verifies nothing: neither the
// signatures (see [VerifySignature]) nor that the data section has the hash that
// Package.DataHash names.
//
// A package is two or more gzip members: any number of signature members (tars
// whose files are named ".SIGN.ALGORITHM.KEY"), one control member, and the
// data. Truncated input gives an error that wraps [io.ErrUnexpectedEOF].
func ReadHead(r *bufio.Reader, l Limits) (*Head, error) {
	l = l.withDefaults()
	if err := checkMagic(r); err != nil {
		return nil, err
	}
	h := &Head{}
	budget := l
	for range maxMembers + 1 {
		raw, files, err := readMember(r, budget)
		if err != nil {
			return nil, fmt.Errorf("package at offset %d: %w", len(h.Signature), err)
		}
		if len(files) == 0 || !strings.HasPrefix(files[0].name, signaturePrefix) {
			h.Control = raw
			return h, h.finish(files)
		}
		if err := h.addSignatures(files); err != nil {
			return nil, err
		}
		h.Signature = append(h.Signature, raw...)
		budget.ControlCompressed = l.ControlCompressed - int64(len(h.Signature))
	}
	return nil, fmt.Errorf("package: more than %d signature members: %w", maxMembers, ErrNotPackage)
}

func checkMagic(r *bufio.Reader) error {
	magic, err := r.Peek(3)
	switch {
	case err == io.EOF && len(magic) == 0:
		return fmt.Errorf("package is empty: %w", ErrNotPackage)
	case err == io.EOF:
		return fmt.Errorf("package of %d bytes: %w", len(magic), io.ErrUnexpectedEOF)
	case err != nil:
		return err
	case string(magic) == "ADB":
		return fmt.Errorf("package starts with %q: %w", magic, ErrVersion3)
	case magic[0] != 0x1f || magic[1] != 0x8b:
		return fmt.Errorf("package starts with % x, expected gzip (1f 8b): %w", magic, ErrNotPackage)
	}
	return nil
}

func (h *Head) addSignatures(files []controlFile) error {
	for _, f := range files {
		s, err := newSignature(f.name, f.body)
		if err != nil {
			return err
		}
		if h.SignatureName == "" {
			h.SignatureName = s.KeyName
		}
		h.Signatures = append(h.Signatures, s)
	}
	return nil
}

// finish fills in what follows from the control section.
func (h *Head) finish(files []controlFile) error {
	h.ControlSHA1 = sha1.Sum(h.Control)
	h.Files = make(map[string][]byte, len(files))
	for _, f := range files {
		if strings.HasPrefix(f.name, signaturePrefix) {
			return fmt.Errorf("control section: signature file %q: %w", f.name, ErrNotPackage)
		}
		if _, twice := h.Files[f.name]; twice {
			return fmt.Errorf("control section: %q stands twice: %w", f.name, ErrNotPackage)
		}
		h.Files[f.name] = f.body
	}
	info, ok := h.Files[".PKGINFO"]
	if !ok {
		return fmt.Errorf("control section has no .PKGINFO: %w", ErrNotPackage)
	}
	p, err := ParsePkgInfo(info)
	if err != nil {
		return err
	}
	p.Checksum = h.ControlSHA1
	h.Package = p
	return nil
}

// controlFile is one file of a signature or control section.
type controlFile struct {
	name string
	body []byte
}

// inflaters are reused: a new one costs 40 KiB, most members inflate to less.
var inflaters = sync.Pool{New: func() any { return new(gzip.Reader) }}

// readMember reads exactly one gzip member and the cut tar in it.
func readMember(r *bufio.Reader, l Limits) (raw []byte, files []controlFile, err error) {
	rec := &recorder{r: r, left: l.ControlCompressed}
	z := inflaters.Get().(*gzip.Reader)
	defer inflaters.Put(z)
	if err := z.Reset(rec); err != nil {
		return nil, nil, memberError(err)
	}
	z.Multistream(false)
	inflated, err := io.ReadAll(io.LimitReader(z, l.ControlInflated+1))
	if err != nil {
		return nil, nil, memberError(err)
	}
	if int64(len(inflated)) > l.ControlInflated {
		return nil, nil, fmt.Errorf("section inflates to more than %d bytes: %w", l.ControlInflated, ErrTooLarge)
	}
	if len(inflated)%512 != 0 {
		return nil, nil, fmt.Errorf("tar of %d bytes, expected a multiple of 512: %w", len(inflated), ErrNotPackage)
	}
	files, err = readCutTar(inflated)
	return rec.raw, files, err
}

func memberError(err error) error {
	switch {
	case errors.Is(err, ErrTooLarge):
		return err
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("gzip member is cut short: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("gzip member: %w (%w)", err, ErrNotPackage)
}

// recorder hands bytes from r to the inflater, which reads through ReadByte and
// so never takes one too many, and keeps them.
type recorder struct {
	r    *bufio.Reader
	raw  []byte
	left int64
}

func (c *recorder) ReadByte() (byte, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("section is larger than %d bytes compressed: %w", len(c.raw), ErrTooLarge)
	}
	b, err := c.r.ReadByte()
	if err == nil {
		c.raw = append(c.raw, b)
		c.left--
	}
	return b, err
}

func (c *recorder) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("section is larger than %d bytes compressed: %w", len(c.raw), ErrTooLarge)
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.raw = append(c.raw, p[:n]...)
	c.left -= int64(n)
	return n, err
}

// readCutTar reads the files of a tar that need not have an end-of-archive.
func readCutTar(b []byte) ([]controlFile, error) {
	var files []controlFile
	for t := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := t.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("tar: %w (%w)", err, ErrNotPackage)
		}
		if err := checkControlHeader(h, len(files)); err != nil {
			return nil, err
		}
		body, err := io.ReadAll(t)
		if err != nil {
			return nil, fmt.Errorf("tar: %.100q: %w", h.Name, err)
		}
		files = append(files, controlFile{h.Name, body})
	}
}

func checkControlHeader(h *tar.Header, n int) error {
	switch {
	case n == maxControlFile:
		return fmt.Errorf("more than %d files in the control section: %w", n, ErrNotPackage)
	case h.Typeflag != tar.TypeReg:
		return fmt.Errorf("control section: %.100q is of type %q, expected a regular file: %w", h.Name, h.Typeflag, ErrNotPackage)
	case !strings.HasPrefix(h.Name, ".") || strings.Contains(h.Name, "/") || path.Clean(h.Name) != h.Name || h.Name == "..":
		return fmt.Errorf("control section: %.100q: expected a name that begins with a dot and has no slash: %w", h.Name, ErrNotPackage)
	}
	return nil
}
