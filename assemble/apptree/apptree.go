// Package apptree reads what a configuration's app key names, a directory, a tar
// archive or a file, into a tree whose digest depends on nothing but names,
// contents, links and whether files can be executed: not on times, owners, the
// umask, the order in a directory, or whether files are hard links to each other.
//
// It knows neither images nor where the tree goes: owners, modes that are asked
// for and the layer are the business of assemble/rootfs and assemble/layer.
//
//	tree, err := apptree.Open("build/app", apptree.Options{Exclude: []string{"**/__pycache__"}})
//	if err != nil {
//		return err // build/app/current: symbolic link to "../../v2": leads out of the tree
//	}
//	fmt.Println(tree.Digest().Hex())
//
// [Tree.Archive] is the tree as a tar archive, whose SHA-256 is the digest;
// [ParseArchive] reads it again.
package apptree

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Limits on a tree. It is kept in memory, and a rebuild kit carries it; what is
// larger should be packages.
const (
	DefaultMaxSize = 192 << 20 // bytes of all contents
	MaxEntries     = 200_000
	maxLink        = 4096 // bytes of a symbolic link's target, as in Linux
)

// Errors that are wrapped.
var (
	// ErrEscapes: a name or a symbolic link leads out of the tree.
	ErrEscapes = errors.New("leads out of the tree")
	// ErrType: a device, a socket or something else that no image gets this way.
	ErrType = errors.New("expected files, directories and symbolic links only")
	// ErrTooLarge: a limit was met.
	ErrTooLarge = errors.New("too large")
)

// Options say what is read of a source.
type Options struct {
	// Exclude are patterns of what is left out, with everything below it: relative
	// to the tree, * and ? within a name, ** for any number of directories. A
	// pattern without a slash counts in every directory.
	Exclude []string
	// KeepSetuid keeps setuid, setgid and sticky bits, which are dropped otherwise.
	KeepSetuid bool
	// MaxSize bounds the contents together, in bytes; 0 means [DefaultMaxSize].
	MaxSize int64
}

// Entry is a path of a tree.
type Entry struct {
	// Path is relative to the tree; empty for the tree itself, which comes first:
	// a directory, or the only entry when the source is one file.
	Path string
	// Type is apk.TypeFile, apk.TypeDir or apk.TypeSymlink.
	Type apk.EntryType
	// Mode is 0755 for directories and for files that their owner can execute,
	// else 0644, with the special bits that were kept; 0777 for symbolic links.
	Mode uint32
	Link string // target of a symbolic link
	// Content of a file.
	Content []byte
}

// Tree is what was read. Entries are sorted: a directory comes before what is in it.
type Tree struct {
	Entries []Entry
	digest  apk.SHA256
	archive []byte
}

// Digest is the SHA-256 of [Tree.Archive].
func (t *Tree) Digest() apk.SHA256 { return t.digest }

// Archive is the tree as a tar archive. The caller must not change it.
func (t *Tree) Archive() []byte { return t.archive }

// Size is the sum of the contents, in bytes.
func (t *Tree) Size() (n int64) {
	for i := range t.Entries {
		n += int64(len(t.Entries[i].Content))
	}
	return n
}

// builder collects entries within limits.
type builder struct {
	options Options
	exclude *matcher
	at      map[string]int
	entries []Entry
	size    int64
}

func newBuilder(o Options) (*builder, error) {
	if o.MaxSize == 0 {
		o.MaxSize = DefaultMaxSize
	}
	m, err := newMatcher(o.Exclude)
	if err != nil {
		return nil, err
	}
	return &builder{options: o, exclude: m, at: map[string]int{}}, nil
}

// room reserves n bytes of content.
func (b *builder) room(n int64) error {
	if n < 0 || n > b.options.MaxSize-b.size {
		return fmt.Errorf("%w: expected at most %d bytes together", ErrTooLarge, b.options.MaxSize)
	}
	b.size += n
	return nil
}

// put adds an entry; a later one of the same path replaces a file or a link, as in
// tar.
func (b *builder) put(e Entry) error {
	if len(e.Path) > maxLink {
		return fmt.Errorf("path of %d bytes: %w", len(e.Path), ErrTooLarge)
	}
	if i, ok := b.at[e.Path]; ok {
		if (b.entries[i].Type == apk.TypeDir) != (e.Type == apk.TypeDir) {
			return errors.New("found both as a directory and as something else")
		}
		b.entries[i] = e
		return nil
	}
	if len(b.entries) == MaxEntries {
		return fmt.Errorf("%w: expected at most %d files", ErrTooLarge, MaxEntries)
	}
	b.at[e.Path] = len(b.entries)
	b.entries = append(b.entries, e)
	return nil
}

// normal is the mode that a tree keeps of what a file system or an archive says.
func (b *builder) normal(typ apk.EntryType, mode uint32) uint32 {
	out := uint32(0o644)
	if typ == apk.TypeDir || mode&0o100 != 0 {
		out = 0o755
	}
	if b.options.KeepSetuid {
		out |= mode & 0o7000
	}
	return out
}

// finish adds directories that are only implied, checks the whole and sorts it.
func (b *builder) finish() (*Tree, error) {
	for i := 0; i < len(b.entries); i++ {
		p := b.entries[i].Path
		if p == "" {
			continue
		}
		dir := parent(p)
		j, ok := b.at[dir]
		if !ok {
			if err := b.put(Entry{Path: dir, Type: apk.TypeDir, Mode: 0o755}); err != nil {
				return nil, fmt.Errorf("%s: %w", dir, err)
			}
			continue
		}
		if b.entries[j].Type != apk.TypeDir {
			return nil, fmt.Errorf("%s: expected a directory: %s is below it", orTree(dir), p)
		}
	}
	if len(b.entries) == 0 {
		return nil, errors.New("nothing in it")
	}
	for i := range b.entries {
		if e := &b.entries[i]; e.Type == apk.TypeSymlink {
			if err := checkLink(e.Path, e.Link); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(b.entries, func(x, y Entry) int { return strings.Compare(sortKey(x.Path), sortKey(y.Path)) })
	t := &Tree{Entries: b.entries}
	var err error
	if t.archive, err = archive(t.Entries); err != nil {
		return nil, err
	}
	t.digest = sha256.Sum256(t.archive)
	return t, nil
}

// sortKey makes a directory come before what is in it, and that before its
// neighbours.
func sortKey(p string) string { return strings.ReplaceAll(p, "/", "\x00") }

func parent(p string) string {
	if dir := path.Dir(p); dir != "." {
		return dir
	}
	return ""
}

func orTree(p string) string {
	if p == "" {
		return "the tree"
	}
	return p
}

// checkLink refuses what points out of the tree: it would mean something else in
// every image.
func checkLink(p, target string) error {
	fail := func(err error) error { return fmt.Errorf("%s: symbolic link to %.200q: %w", p, target, err) }
	switch {
	case target == "" || strings.ContainsRune(target, 0):
		return fail(errors.New("no path"))
	case len(target) > maxLink:
		return fail(ErrTooLarge)
	case p == "":
		return fail(errors.New("expected a directory or a file"))
	case strings.HasPrefix(target, "/"):
		return fail(ErrEscapes)
	}
	// Lexically: the target is never followed here, and in an image nothing
	// leads out of its root.
	to := path.Join(path.Dir(p), target)
	if to == ".." || strings.HasPrefix(to, "../") {
		return fail(ErrEscapes)
	}
	return nil
}
