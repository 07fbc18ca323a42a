package target

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Ref says where an image is: in a repository of a registry, by tag or digest,
// or in an OCI layout directory. The zero value is none.
type Ref struct {
	layout string // directory; empty for a registry
	repo   name.Repository
	tag    string
	digest v1.Hash // zero for none
}

const refForms = `expected host/repository:tag, host/repository@sha256:…, dir/ or oci:dir`

// Parse reads a reference:
//
//	registry.example/team/app:1, app@sha256:…    an image in a registry
//	dir/, ./dir, /dir, oci:dir, dir/@sha256:…     an OCI layout directory
//
// The rules of names are Docker's: "hello" is docker.io/library/hello:latest.
// A tag beside a digest is kept for messages and not looked up. Nothing on disk
// is looked at: a plain name is never a directory.
func Parse(s string) (Ref, error) {
	r, err := parse(s)
	if err != nil {
		return Ref{}, fmt.Errorf("image %.300q: %w: %w", s, ErrReference, err)
	}
	return r, nil
}

func parse(s string) (r Ref, err error) {
	switch {
	case s == "":
		return r, errors.New("empty: " + refForms)
	case strings.ContainsAny(s, "\x00\n\r\t "):
		return r, errors.New("white space or a control character: " + refForms)
	}
	base, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		if r.digest, err = ParseDigest(digest); err != nil {
			return Ref{}, err
		}
	}
	if dir, ok := layoutDir(base); ok {
		if dir == "" {
			return Ref{}, errors.New(`no directory after "oci:"`)
		}
		r.layout = filepath.Clean(dir)
		return r, nil
	}
	if scheme, _, ok := strings.Cut(base, "://"); ok {
		return Ref{}, fmt.Errorf("%q is no part of a reference: %s", scheme+"://", refForms)
	}
	return r.parseName(base, hasDigest)
}

func (r Ref) parseName(base string, hasDigest bool) (Ref, error) {
	tag, err := name.NewTag(base, name.WeakValidation)
	if err != nil {
		return Ref{}, fmt.Errorf("%w: %s", err, refForms)
	}
	// Spelled in full, so that equal references are equal values.
	if r.repo, err = name.NewRepository(tag.Context().Name(), name.WeakValidation); err != nil {
		return Ref{}, err
	}
	if i := strings.LastIndexByte(base, ':'); !hasDigest || i > strings.LastIndexByte(base, '/') {
		r.tag = tag.TagStr()
	}
	return r, nil
}

// In spells a reference from another directory: the path of a layout is taken
// from dir, anything else stays as it is.
func In(dir, s string) string {
	base, digest, hasDigest := strings.Cut(s, "@")
	path, ok := layoutDir(base)
	if !ok || path == "" || dir == "" || filepath.IsAbs(path) {
		return s
	}
	out := "oci:" + filepath.Join(dir, path)
	if hasDigest {
		out += "@" + digest
	}
	return out
}

// layoutDir tells a directory by how it is written.
func layoutDir(s string) (string, bool) {
	if dir, ok := strings.CutPrefix(s, "oci:"); ok {
		return dir, true
	}
	return s, strings.HasSuffix(s, "/") || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./") ||
		strings.HasPrefix(s, "../") || s == "." || s == ".."
}

// ParseDigest reads "sha256:" and 64 lower-case hexadecimal digits. Other
// algorithms are refused: signatures name images by SHA-256.
func ParseDigest(s string) (v1.Hash, error) {
	h, err := v1.NewHash(s)
	if err == nil {
		err = checkDigest(h)
	}
	if err != nil {
		return v1.Hash{}, fmt.Errorf("digest %.100q: expected sha256: and 64 hexadecimal digits", s)
	}
	return h, nil
}

func checkDigest(h v1.Hash) error {
	if h.Algorithm != "sha256" || len(h.Hex) != 64 || strings.Trim(h.Hex, "0123456789abcdef") != "" {
		return fmt.Errorf("digest %.100q: expected sha256 and 64 hexadecimal digits: %w", h.String(), ErrMalformed)
	}
	return nil
}

// IsLayout reports whether the reference names a directory.
func (r Ref) IsLayout() bool { return r.layout != "" }

// Layout returns the directory, or "" for a registry.
func (r Ref) Layout() string { return r.layout }

// Repository returns "host/repository", or "" for a layout. Docker Hub's host
// is index.docker.io.
func (r Ref) Repository() string {
	if r.layout != "" || r.repo.RepositoryStr() == "" {
		return ""
	}
	return r.repo.Name()
}

// Tag returns the tag, or "" when the reference has none.
func (r Ref) Tag() string { return r.tag }

// Digest returns the digest of the reference; ok is false when it has none.
func (r Ref) Digest() (h v1.Hash, ok bool) { return r.digest, r.digest.Hex != "" }

// WithDigest returns the reference without its tag and with this digest: what
// to hand on once a tag was resolved.
func (r Ref) WithDigest(h v1.Hash) Ref {
	r.tag, r.digest = "", h
	return r
}

// name is the reference without tag and digest, for messages.
func (r Ref) name() string {
	if r.layout != "" {
		return "oci:" + r.layout
	}
	return r.repo.Name()
}

// String spells the reference in full so that Parse reads it back.
func (r Ref) String() string {
	s := r.name()
	if r.tag != "" {
		s += ":" + r.tag
	}
	if r.digest.Hex != "" {
		s += "@" + r.digest.String()
	}
	return s
}
