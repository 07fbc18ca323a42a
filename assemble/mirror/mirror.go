// Package mirror keeps the packages of a lock where an image can be built from them
// for ever: as a static APK repository in a directory, or as an OCI artifact in a
// registry. Package files are byte for byte those of their repositories.
//
// It does not resolve: what is in a mirror is what a lock says. And it trusts
// nothing of what it reads back: whoever takes a package from a mirror holds it
// against the lock that names it.
//
//	n, err := mirror.ToDir(ctx, ws, l, "mirror", mirror.Options{})
//	m, err := mirror.Open(ctx, "mirror/", target.Options{})
//	body, err := m.Package(ctx, &l.Contents.Packages[0])
//
// Formats: ARCH/NAME-VERSION.apk, ARCH/APKINDEX.tar.gz and the lock in a directory;
// an OCI 1.1 artifact of the type TypeMirror in a registry, which docs/mirror.md
// describes.
package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// The types of a mirror in a registry, and of its parts.
const (
	TypeMirror  = "application/vnd.cairn.mirror.v1+json"
	TypePackage = "application/vnd.cairn.mirror.apk.v1"
	TypeLock    = "application/vnd.cairn.mirror.lock.v1+json"

	// Title is where a part's path in a directory stands.
	Title = "org.opencontainers.image.title"
)

// LockName is the lock's file in a mirror whose lock names no configuration.
const LockName = "image.lock.json"

// What callers tell apart.
var (
	// ErrConflict: the mirror has another file of that name.
	ErrConflict = errors.New("another package of that name is there")
	// ErrNotMirror: there is no mirror.
	ErrNotMirror = errors.New("not a mirror")
	// ErrMismatch: a file of a mirror is not what the lock pins.
	ErrMismatch = store.ErrMismatch
)

// Options say how a mirror is made.
type Options struct {
	// Keys sign the indexes of a directory; without any they are unsigned. A build
	// from a lock needs no index.
	Keys []repository.SigningKey
	// Fetch says how packages are read.
	Fetch packages.FetchOptions
	// Progress is told what is done. Optional.
	Progress func(what string)
}

// Result says what became of it.
type Result struct {
	Packages int   `json:"packages"`
	Bytes    int64 `json:"bytes"` // of all package files
	// Written is what was not there already.
	Written target.Amount `json:"written"`
	// Reference is the mirror in a registry by its digest; empty for a directory.
	Reference string `json:"reference,omitempty"`
}

// file is a package file of a lock.
type file struct {
	path   string // ARCH/NAME-VERSION.apk
	arch   string
	sha256 apk.SHA256
	size   int64
	entry  apk.Package
	open   func() (io.ReadCloser, error)
}

// files brings the packages of a lock into the store.
func files(ctx context.Context, ws *packages.Workspace, l *lock.Lock, o packages.FetchOptions) ([]file, error) {
	var out []file
	for _, arch := range l.Architectures() {
		receipts, err := ws.Fetch(ctx, l, arch, o)
		if err != nil {
			return nil, err
		}
		for i, p := range l.For(arch) {
			r := receipts[i]
			out = append(out, file{path: pathOf(&p), arch: arch, sha256: r.FileSHA256, size: r.FileSize, entry: r.Package,
				open: func() (io.ReadCloser, error) { return whole(ws.Store(), r) }})
		}
	}
	return out, nil
}

func pathOf(p *lock.Package) string { return path.Join(p.Architecture, p.Name+"-"+p.Version+".apk") }

// whole is a package file as it was: signature, control section and data section.
func whole(st *store.Store, r *store.Receipt) (io.ReadCloser, error) {
	f, err := os.Open(st.BlobPath(r))
	if err != nil {
		return nil, err
	}
	head := strings.NewReader(string(r.Signature) + string(r.Control))
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(head, f), f}, nil
}

// lockFile is the lock as it is kept, and its name.
func lockFile(l *lock.Lock) (name string, text []byte, err error) {
	name = LockName
	if base := filepath.Base(l.Config.Name); l.Config.Name != "" && base != "." && base != string(filepath.Separator) {
		name = strings.TrimSuffix(strings.TrimSuffix(base, ".yaml"), ".yml") + ".lock.json"
	}
	text, err = l.Marshal()
	return name, text, err
}

// ToDir makes, or completes, a mirror in a directory. Files that are there are
// hashed, and written again when they are damaged; one that is another package of the
// same name is [ErrConflict].
func ToDir(ctx context.Context, ws *packages.Workspace, l *lock.Lock, dir string, o Options) (*Result, error) {
	list, err := files(ctx, ws, l, o.Fetch)
	if err != nil {
		return nil, err
	}
	name, text, err := lockFile(l)
	if err != nil {
		return nil, err
	}
	return writeDir(ctx, list, name, text, dir, o)
}

func writeDir(ctx context.Context, list []file, name string, lockText []byte, dir string, o Options) (*Result, error) {
	r := &Result{Packages: len(list)}
	archs := map[string][]*apk.Package{}
	var order []string
	for i := range list {
		f := &list[i]
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if archs[f.arch] == nil {
			order = append(order, f.arch)
			if err := os.MkdirAll(filepath.Join(dir, f.arch), 0o755); err != nil {
				return nil, err
			}
		}
		archs[f.arch] = append(archs[f.arch], &f.entry)
		r.Bytes += f.size
		written, err := f.write(filepath.Join(dir, filepath.FromSlash(f.path)))
		if err != nil {
			return nil, fmt.Errorf("mirror %s: %s: %w", dir, f.path, err)
		}
		if written {
			r.Written.Blobs++
			r.Written.Bytes += f.size
			if o.Progress != nil {
				o.Progress(f.path)
			}
		}
	}
	for _, arch := range order {
		index := filepath.Join(dir, arch, "APKINDEX.tar.gz")
		err := repository.UpdateIndex(ctx, index, repository.WriteOptions{Keys: o.Keys}, func(have []*apk.Package) ([]*apk.Package, error) {
			return merged(have, archs[arch]), nil
		})
		if err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return r, replaceFile(filepath.Join(dir, name), func(w io.Writer) error {
		_, err := w.Write(lockText)
		return err
	})
}

// merged adds entries to those of an index, in the place of the same files.
func merged(have, added []*apk.Package) []*apk.Package {
	out := slices.DeleteFunc(slices.Clone(have), func(p *apk.Package) bool {
		return slices.ContainsFunc(added, func(q *apk.Package) bool { return p.Filename() == q.Filename() })
	})
	return append(out, added...)
}

// write writes a package file unless it is there.
func (f *file) write(to string) (written bool, err error) {
	switch sum, size, err := hashFile(to); {
	case err == nil && sum == f.sha256:
		return false, nil
	case err == nil && size == f.size:
		// damaged: written again
	case err == nil:
		return false, fmt.Errorf("%w: found %d bytes with %s, expected %d bytes with %s\nhint: mirror locks of different repositories into different directories", ErrConflict, size, sum, f.size, f.sha256)
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	return true, replaceFile(to, f.copy)
}

// copy writes the file, which must be what the lock pins.
func (f *file) copy(w io.Writer) (err error) {
	rc, err := f.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(rc, f.size+1))
	if err != nil {
		return err
	}
	if sum := apk.SHA256(h.Sum(nil)); n != f.size || sum != f.sha256 {
		return fmt.Errorf("found %d bytes with %s, expected %d bytes with %s: %w", n, sum, f.size, f.sha256, ErrMismatch)
	}
	return nil
}

func hashFile(name string) (sum apk.SHA256, size int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return sum, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	size, err = io.Copy(h, f)
	h.Sum(sum[:0])
	return sum, size, err
}

// replaceFile writes a file whole or not at all.
func replaceFile(name string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".cairn-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// ToRegistry stores a mirror in a repository, under the reference's tag. What is there
// is not sent.
func ToRegistry(ctx context.Context, ws *packages.Workspace, l *lock.Lock, t *target.Target, o Options) (*Result, error) {
	list, err := files(ctx, ws, l, o.Fetch)
	if err != nil {
		return nil, err
	}
	name, text, err := lockFile(l)
	if err != nil {
		return nil, err
	}
	r := &Result{Packages: len(list)}
	lockSum := sha256.Sum256(text)
	layers := []v1.Descriptor{{MediaType: TypeLock, Size: int64(len(text)), Digest: digest(lockSum), Annotations: map[string]string{Title: name}}}
	blobs := []target.Blob{{Descriptor: layers[0], Open: opener(text)}}
	for i := range list {
		f := &list[i]
		d := v1.Descriptor{MediaType: TypePackage, Size: f.size, Digest: digest(f.sha256), Annotations: map[string]string{Title: f.path}}
		layers = append(layers, d)
		blobs = append(blobs, target.Blob{Descriptor: d, Open: func(context.Context) (io.ReadCloser, error) { return f.open() }})
		r.Bytes += f.size
	}
	artifact, err := target.Standalone(TypeMirror, nil, layers)
	if err != nil {
		return nil, err
	}
	for _, b := range artifact.Blobs { // the empty configuration
		blobs = append(blobs, target.Blob{Descriptor: v1.Descriptor{Size: int64(len(b)), Digest: digest(sha256.Sum256(b))}, Open: opener(b)})
	}
	m := target.Manifest{Raw: artifact.Manifest, MediaType: artifact.MediaType}
	n, err := t.Store(ctx, blobs, []target.Manifest{m})
	if err != nil {
		return nil, err
	}
	r.Written = n.Uploaded
	if tag := t.Ref().Tag(); tag != "" {
		if _, err := t.Tag(ctx, tag, m); err != nil {
			return nil, err
		}
	}
	r.Reference = t.Ref().WithDigest(m.Digest()).String()
	return r, nil
}

func digest(d apk.SHA256) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: d.Hex()} }

func opener(b []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(b))), nil }
}

// Mirror is one that packages are taken from.
type Mirror struct {
	dir    string
	target *target.Target
	layers []v1.Descriptor
}

// maxParts bounds how many packages a mirror in a registry may have.
const maxParts = 100_000

// Open opens a mirror: a directory, or a reference to a registry. A directory is
// whatever ends in a slash, begins with one or a dot, or is there.
func Open(ctx context.Context, name string, o target.Options) (*Mirror, error) {
	if dir, ok := IsDir(name); ok {
		if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
			return nil, errors.Join(fmt.Errorf("mirror %s: %w", name, ErrNotMirror), err)
		}
		return &Mirror{dir: dir}, nil
	}
	ref, err := target.Parse(name)
	if err != nil {
		return nil, err
	}
	t, err := target.Open(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	d, err := resolve(ctx, t)
	if err != nil {
		return nil, err
	}
	raw, _, err := t.Manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	var m struct {
		ArtifactType string          `json:"artifactType"`
		Layers       []v1.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(raw, &m); err != nil || m.ArtifactType != TypeMirror || len(m.Layers) > maxParts {
		return nil, fmt.Errorf("mirror %s: artifact type %.100q, expected %s: %w", name, m.ArtifactType, TypeMirror, ErrNotMirror)
	}
	return &Mirror{target: t, layers: m.Layers}, nil
}

// resolve finds the manifest that a reference names, which is no image.
func resolve(ctx context.Context, t *target.Target) (v1.Hash, error) {
	if h, ok := t.Ref().Digest(); ok {
		return h, nil
	}
	d, err := t.Tagged(ctx, t.Ref().Tag())
	return d.Digest, err
}

// IsDir tells whether a name is one of a directory, and of which.
func IsDir(name string) (dir string, ok bool) {
	if strings.HasSuffix(name, "/") || strings.HasPrefix(name, "/") || name == "." || name == ".." || strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../") {
		return filepath.Clean(name), true
	}
	fi, err := os.Stat(name)
	return name, err == nil && fi.IsDir()
}

// Package opens the file of a package of a lock; [store.ErrNotFound] when the mirror
// does not have it. Its bytes are for the caller to hold against the lock.
func (m *Mirror) Package(ctx context.Context, p *lock.Package) (io.ReadCloser, error) {
	name := pathOf(p)
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("mirror: %.200q: no file of a mirror: %w", name, store.ErrNotFound)
	}
	if m.target == nil {
		f, err := os.Open(filepath.Join(m.dir, filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("mirror %s: %s: %w", m.dir, name, store.ErrNotFound)
		}
		return f, err
	}
	for _, d := range m.layers {
		if d.Annotations[Title] == name && d.MediaType == TypePackage && (p.Cairn == nil || d.Digest.Hex == p.Cairn.SHA256.Hex()) {
			return m.target.OpenBlob(ctx, d)
		}
	}
	return nil, fmt.Errorf("mirror %s: %s: %w", m.target.Ref(), name, store.ErrNotFound)
}

// Locks returns the locks of a mirror by their names.
func (m *Mirror) Locks(ctx context.Context) (map[string]*lock.Lock, error) {
	out := map[string]*lock.Lock{}
	add := func(name string, b []byte) error {
		l, err := lock.Parse(b)
		if err != nil {
			return fmt.Errorf("mirror: %s: %w", name, err)
		}
		out[name] = l
		return nil
	}
	if m.target == nil {
		names, err := filepath.Glob(filepath.Join(m.dir, "*.lock.json"))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			l, err := lock.ReadFile(name)
			if err != nil {
				return nil, err
			}
			out[filepath.Base(name)] = l
		}
		return out, nil
	}
	for _, d := range m.layers {
		if d.MediaType != TypeLock {
			continue
		}
		b, err := m.target.Blob(ctx, d, lock.MaxSize)
		if err != nil {
			return nil, err
		}
		if err := add(d.Annotations[Title], b); err != nil {
			return nil, err
		}
	}
	return out, nil
}
