package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Kind is the kind of an output.
type Kind string

// The kinds of outputs.
const (
	Layout        Kind = "oci"            // a directory, OCI image layout
	OCIArchive    Kind = "oci-archive"    // a tar of an OCI image layout
	DockerArchive Kind = "docker-archive" // a tar for `docker load`, which is an OCI archive too
	DockerEngine  Kind = "docker"         // the engine behind DOCKER_HOST
)

// Output is where an image goes.
type Output struct {
	Kind Kind
	Path string // file or directory; empty for DockerEngine
	// Ref is a reference that the output itself names ("docker://hello:1");
	// nil for none.
	Ref *Ref
}

// String spells the output so that ParseOutput reads it back.
func (o Output) String() string {
	switch {
	case o.Kind == DockerEngine && o.Ref != nil:
		return "docker://" + o.Ref.String()
	case o.Kind == DockerEngine:
		return "docker://"
	}
	return string(o.Kind) + ":" + o.Path
}

const outputForms = "expected DIR/, FILE.tar, oci:DIR, oci-archive:FILE, docker-archive:FILE or docker://"

// ParseOutput reads an output argument:
//
//	dir/, an existing directory, oci:dir    OCI layout
//	x.tar, docker-archive:x                 docker archive
//	oci-archive:x                           OCI archive
//	docker://, docker://hello:1             container engine
//
// It looks at the file system only to see whether a plain name is a directory.
func ParseOutput(s string) (Output, error) { return ParseOutputIn("", s) }

// ParseOutputIn is ParseOutput for paths that are relative to dir, or, when dir
// is empty, to the working directory.
func ParseOutputIn(dir, s string) (Output, error) {
	o, err := parseOutput(dir, s)
	if err != nil {
		return Output{}, fmt.Errorf("output %.200q: %w", s, err)
	}
	return o, nil
}

func parseOutput(dir, s string) (Output, error) {
	switch {
	case s == "":
		return Output{}, errors.New("empty: " + outputForms)
	case strings.IndexByte(s, 0) >= 0:
		return Output{}, errors.New("a NUL byte in the name")
	case s == "-":
		return Output{}, errors.New("hint: docker-archive:/dev/stdout writes to standard output")
	}
	if rest, ok := strings.CutPrefix(s, "docker://"); ok {
		return engineOutput(rest)
	}
	if kind, path, ok := strings.Cut(s, ":"); ok && !strings.Contains(kind, "/") {
		return transport(dir, Kind(kind), path)
	}
	return plain(dir, s)
}

func engineOutput(ref string) (Output, error) {
	o := Output{Kind: DockerEngine}
	if ref == "" {
		return o, nil
	}
	r, err := ParseTag(ref)
	if err != nil {
		return o, fmt.Errorf("%w\nhint: docker:// loads into the local engine; to push to a registry use publish", err)
	}
	o.Ref = &r
	return o, nil
}

func transport(dir string, kind Kind, path string) (Output, error) {
	switch kind {
	case Layout, OCIArchive, DockerArchive:
	case DockerEngine, "docker-daemon":
		return Output{}, errors.New("hint: docker:// loads into the container engine")
	default:
		return Output{}, fmt.Errorf("kind %q is not known: %s\nhint: a file name with a colon is written with its directory, ./%s:%s", string(kind), outputForms, string(kind), path)
	}
	switch {
	case path == "":
		return Output{}, fmt.Errorf("no path after %q", string(kind)+":")
	case strings.Contains(filepath.Base(path), ":"):
		return Output{}, fmt.Errorf("a colon in %q\nhint: tags are given by the TAG argument, not by the output", filepath.Base(path))
	}
	return Output{Kind: kind, Path: within(dir, path)}, nil
}

func plain(dir, s string) (Output, error) {
	path := within(dir, s)
	if strings.HasSuffix(s, "/") || isDir(path) {
		return Output{Kind: Layout, Path: path}, nil
	}
	lower := strings.ToLower(s)
	switch {
	case strings.HasSuffix(lower, ".tar"):
		return Output{Kind: DockerArchive, Path: path}, nil
	case strings.HasSuffix(lower, ".gz"), strings.HasSuffix(lower, ".tgz"), strings.HasSuffix(lower, ".zst"), strings.HasSuffix(lower, ".xz"), strings.HasSuffix(lower, ".bz2"):
		return Output{}, errors.New("compressed archives are not written: the layers in them are compressed already\nhint: name it FILE.tar")
	}
	return Output{}, fmt.Errorf("not a directory and no .tar: %s\nhint: a directory that does not exist yet is written with a slash, %s/", outputForms, s)
}

// within returns the clean path of what dir's user calls path.
func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// ErrNotWritable is wrapped by the errors of [Output.CheckWritable].
var ErrNotWritable = errors.New("cannot be written")

// CheckWritable says, before any work is done, why the output could not be
// written: the directory it goes into is missing, is no directory or may not
// be written to, or something of another kind is in its place. It creates
// nothing. For an engine it checks nothing.
func (o Output) CheckWritable() error {
	if o.Kind == DockerEngine {
		return nil
	}
	if err := o.checkWritable(); err != nil {
		return fmt.Errorf("output %s: %w: %w", o.Path, ErrNotWritable, err)
	}
	return nil
}

func (o Output) checkWritable() error {
	fi, err := os.Stat(o.Path)
	switch {
	case err == nil && o.Kind == Layout && !fi.IsDir():
		return errors.New("a file is in its place: expected a directory")
	case err == nil && o.Kind == Layout:
		if err := checkLayoutDir(o.Path); err != nil {
			return err
		}
		return checkAccess(o.Path)
	case err == nil && fi.IsDir():
		return errors.New("a directory is in its place: expected a file")
	case err == nil && !fi.Mode().IsRegular():
		return unix.Access(o.Path, unix.W_OK) // a device or a pipe is written to directly
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return checkParent(filepath.Dir(resolve(o.Path)))
}

func checkParent(dir string) error {
	fi, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("directory %s does not exist\nhint: mkdir -p %s", dir, dir)
	case err != nil:
		return err
	case !fi.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	}
	return checkAccess(dir)
}

func checkAccess(dir string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("directory %s: %w", dir, err)
	}
	return nil
}

// resolve follows a symbolic link to the file that an output replaces, also
// when that file does not exist yet.
func resolve(path string) string {
	for range 40 {
		target, err := os.Readlink(path)
		if err != nil {
			return path
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return path
}
