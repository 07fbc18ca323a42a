package lock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// MaxSize is the largest lock file that is read, in bytes.
const MaxSize = 64 << 20

// ErrInvalid is wrapped by every error about the content of a lock file.
var ErrInvalid = errors.New("invalid lock")

// ReadFile reads and checks the lock file at path.
func ReadFile(path string) (*Lock, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// Parse reads a lock and checks it: the version, that every package is pinned,
// that no package of an architecture stands twice, and that the digests are
// well formed. Errors wrap [ErrInvalid] and carry line and column where JSON
// itself is at fault.
func Parse(b []byte) (*Lock, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrInvalid, MaxSize)
	}
	var l Lock
	if err := json.Unmarshal(b, &l); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrInvalid, jsonProblem(b, err))
	}
	if err := errors.Join(l.check(), l.checkUnaltered(b)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return &l, nil
}

// checkUnaltered compares the text, white space apart, with what Marshal would
// write, and the digest with the content. Locks that apko wrote have none.
func (l *Lock) checkUnaltered(text []byte) error {
	if l.Cairn == nil {
		return nil
	}
	canonical, err := l.Marshal()
	if err != nil {
		return err
	}
	var found, want bytes.Buffer
	if err := errors.Join(json.Compact(&found, text), json.Compact(&want, canonical)); err != nil {
		return err
	}
	if !bytes.Equal(found.Bytes(), want.Bytes()) {
		return fmt.Errorf("altered since it was written: %s does not match the content\nhint: cairn lock writes it anew", l.Cairn.Digest)
	}
	return nil
}

// jsonProblem words a decoding error with its position.
func jsonProblem(b []byte, err error) string {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return position(b, syntax.Offset) + ": " + syntax.Error()
	case errors.As(err, &typ):
		return fmt.Sprintf("%s: %s: found %s, expected %s", position(b, typ.Offset), typ.Field, typ.Value, typ.Type)
	}
	return err.Error()
}

func position(b []byte, offset int64) string {
	before := b[:min(max(offset, 0), int64(len(b)))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("line %d column %d", line, column)
}

func (l *Lock) check() error {
	if l.Version != Version {
		return fmt.Errorf("version: found %q, expected %q", l.Version, Version)
	}
	if l.Cairn != nil && (l.Cairn.Format < 1 || l.Cairn.Format > FormatSlices) {
		return fmt.Errorf("cairn.format: found %d, this release reads up to %d: use a newer cairn", l.Cairn.Format, FormatSlices)
	}
	if err := l.checkBase(); err != nil {
		return err
	}
	if err := l.checkSlices(); err != nil {
		return err
	}
	seen := map[string]int{}
	for i := range l.Contents.Packages {
		p := &l.Contents.Packages[i]
		if err := p.check(l.Cairn != nil); err != nil {
			return fmt.Errorf("contents.packages[%d]: %w", i, err)
		}
		id := p.Architecture + " " + p.Name
		if first, dup := seen[id]; dup {
			return fmt.Errorf("contents.packages[%d]: %s stands twice for %s, first at [%d]", i, p.Name, p.Architecture, first)
		}
		seen[id] = i
	}
	return nil
}

// checkBase checks the base images: each pinned, none twice, and no package of
// one locked again.
func (l *Lock) checkBase() error {
	if l.Cairn == nil {
		return nil
	}
	list := l.Cairn.Request.Base
	for i := range list {
		b := &list[i]
		switch {
		case b.Architecture == "":
			return fmt.Errorf("cairn.request.base[%d]: architecture: missing", i)
		case b.Image.IsZero() || b.Index.IsZero():
			return fmt.Errorf("cairn.request.base[%d]: image and index are required", i)
		case baseOf(list, b.Architecture) != b:
			return fmt.Errorf("cairn.request.base[%d]: %s stands twice", i, b.Architecture)
		}
	}
	return l.checkHeld(list)
}

// checkSlices checks that every package with slices names some, and stands once.
func (l *Lock) checkSlices() error {
	if l.Cairn == nil {
		return nil
	}
	seen := map[[2]string]bool{}
	for i := range l.Cairn.Slices {
		s := &l.Cairn.Slices[i]
		key := [2]string{s.Architecture, s.Package}
		switch {
		case s.Architecture == "" || s.Package == "" || len(s.Slices) == 0 || s.Files.IsZero():
			return fmt.Errorf("cairn.slices[%d]: architecture, package, slices and files are required", i)
		case seen[key]:
			return fmt.Errorf("cairn.slices[%d]: %s stands twice for %s", i, s.Package, s.Architecture)
		}
		seen[key] = true
	}
	return nil
}

// checkHeld refuses a locked package that the base image of its architecture has.
func (l *Lock) checkHeld(list []Base) error {
	held := map[[2]string]string{} // version by architecture and name
	for i := range list {
		for _, p := range list[i].Packages {
			name, version, _ := strings.Cut(p, "=")
			if key := [2]string{list[i].Architecture, name}; held[key] == "" {
				held[key] = version
			}
		}
	}
	for i := range l.Contents.Packages {
		p := &l.Contents.Packages[i]
		if version := held[[2]string{p.Architecture, p.Name}]; version != "" {
			return fmt.Errorf("contents.packages[%d]: %s: the base image holds %s-%s", i, p.Name, p.Name, version)
		}
	}
	return nil
}

func (p *Package) check(own bool) error {
	switch {
	case p.Name == "":
		return errors.New("name: missing")
	case strings.ContainsAny(p.Name, "/\x00\n"):
		return fmt.Errorf("name: %q is no package name", p.Name)
	case !apk.ValidVersion(p.Version):
		return fmt.Errorf("%s: version: %q is no version", p.Name, p.Version)
	case p.Architecture == "":
		return fmt.Errorf("%s: architecture: missing", p.Name)
	case p.URL == "":
		return fmt.Errorf("%s: url: missing", p.Name)
	case p.Checksum.IsZero():
		return fmt.Errorf("%s: checksum: missing: the file was written by apko before 0.13; lock again", p.Name)
	case p.Cairn != nil && !own:
		return fmt.Errorf("%s: cairn: stands in a lock without cairn's part: the file was altered", p.Name)
	case p.Cairn != nil && (p.Cairn.SHA256.IsZero() || p.Cairn.DiffID.IsZero()):
		return fmt.Errorf("%s: cairn: sha256 and diff_id are required", p.Name)
	}
	if _, err := ParseChecksum(p.Data.Checksum); p.Data.Checksum != "" && err != nil {
		return fmt.Errorf("%s: data.checksum: %w", p.Name, err)
	}
	return nil
}
