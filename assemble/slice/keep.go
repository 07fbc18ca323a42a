package slice

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// EmptyError says that a pattern stands for nothing in the package.
type EmptyError struct {
	Ref
	Pattern Pattern
}

// Error begins with the pattern's place.
func (e *EmptyError) Error() string {
	return fmt.Sprintf("%s: slice %s: %s: nothing in the package is there", e.Pattern.Place, e.Ref, e.Pattern.Text)
}

// Keep tells which of a package's entries its slices have: what their patterns
// stand for, and the directories above. A pattern that stands for nothing is an
// [*EmptyError]: the package has changed, or the pattern was never right.
func Keep(ctx context.Context, entries []apk.Entry, list []*Slice) ([]bool, error) {
	keep := make([]bool, len(entries))
	above := map[string]bool{}
	for _, s := range list {
		out, err := matching(ctx, entries, s, s.Exclude)
		if err != nil {
			return nil, err
		}
		in, err := matching(ctx, entries, s, s.Paths)
		if err != nil {
			return nil, err
		}
		for m := range entries {
			if in[m] && !out[m] {
				keep[m] = true
				mark(above, entries[m].Path)
			}
		}
	}
	for m := range entries {
		if entries[m].Type == apk.TypeDir && above[entries[m].Path] {
			keep[m] = true
		}
	}
	return keep, nil
}

// mark adds the directories above a path.
func mark(above map[string]bool, file string) {
	for i := strings.LastIndexByte(file, '/'); i > 0; i = strings.LastIndexByte(file[:i], '/') {
		if above[file[:i]] {
			return
		}
		above[file[:i]] = true
	}
}

// matching tells what any of the patterns stands for. Each must for something.
func matching(ctx context.Context, entries []apk.Entry, s *Slice, patterns []Pattern) ([]bool, error) {
	found := make([]bool, len(entries))
	for i := range patterns {
		if err := ctx.Err(); err != nil {
			return nil, err // definitions may be somebody's who wants this to take long
		}
		p := &patterns[i]
		used := false
		for m := range entries {
			if p.Match(entries[m].Path, entries[m].Type == apk.TypeDir) {
				used, found[m] = true, true
			}
		}
		if !used {
			return nil, &EmptyError{s.Ref, *p}
		}
	}
	return found, nil
}

// Digest is the SHA-256 of slices as they are defined. Places do not matter.
func Digest(list []*Slice) apk.SHA256 {
	h := sha256.New()
	for _, s := range list {
		fmt.Fprintf(h, "slice %q\n", s.Ref)
		for _, p := range s.Paths {
			fmt.Fprintf(h, "path %q\n", p.Text)
		}
		for _, p := range s.Exclude {
			fmt.Fprintf(h, "exclude %q\n", p.Text)
		}
		for _, n := range s.Needs {
			fmt.Fprintf(h, "need %q\n", n.Ref)
		}
	}
	return sum(h)
}

// FilesDigest is the SHA-256 of the list of what is kept of a package, in its order:
// type, path, mode, owner, what a link points to, and the digest of the content.
func FilesDigest(entries []apk.Entry, keep []bool) apk.SHA256 {
	h := sha256.New()
	for m := range entries {
		if e := &entries[m]; keep[m] {
			fmt.Fprintf(h, "%c %q %o %d %d %q %s\n", e.Type, e.Path, e.Mode, e.UID, e.GID, e.Link, e.SHA256.Hex())
		}
	}
	return sum(h)
}

func sum(h interface {
	io.Writer
	Sum([]byte) []byte
}) apk.SHA256 {
	return apk.SHA256(h.Sum(nil))
}
