package config

//lint:file-ignore SA1019 apko deprecates include, cairn keeps it

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"gopkg.in/yaml.v3"

	"github.com/cairn-dev/cairn/assemble/apptree"
	"github.com/cairn-dev/cairn/packages/apk"
)

// Options change how a configuration is read. The zero value is right for most.
type Options struct {
	// IncludePaths are directories in which a configuration and its includes
	// are looked for when they are not found from the working directory.
	IncludePaths []string
	// Dir replaces the working directory.
	Dir string
	// ProbeVCS fills vcs-url, when the configuration has none, with the origin
	// and the revision of the git repository that the configuration lies in.
	ProbeVCS bool
	// MaxFileSize bounds each local file of the files key, in bytes; 0 means
	// [DefaultMaxFileSize].
	MaxFileSize int64
	// MaxAppSize bounds the trees of the app key together, in bytes; 0 means
	// [apptree.DefaultMaxSize].
	MaxAppSize int64
	// App gives the tree of an entry of the app key, as [apptree.Tree.Archive], by
	// its path in the image, in place of its source: for configurations that are
	// kept elsewhere. Without it a configuration that is read with Open has none.
	App func(path string) ([]byte, error)
	// Open replaces os.Open for everything that is read, for configurations
	// that are kept elsewhere.
	Open func(name string) (fs.File, error)
}

// DefaultMaxFileSize bounds a local file that goes into the image. It is kept
// in memory; what is larger should be a package.
const DefaultMaxFileSize = 64 << 20

// maxIncludes bounds how deep configurations include each other.
const maxIncludes = 32

// Load reads, merges and validates a configuration. The error is an *[Errors]
// with every problem when the files can be read and are wrong.
//
// The path, and an include, is taken as it is (a relative one from the working
// directory), then below each of Options.IncludePaths, then, an include only,
// beside the file that includes it. The first that exists is read.
func Load(path string, o Options) (*Config, error) {
	l := newLoader(o)
	open := l.Open
	if o.Open == nil { // a named pipe is waited for here, and only here
		open = func(name string) (fs.File, error) { return os.Open(name) }
	}
	name, f, err := l.find(open, path, "")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, pathCause(err))
	}
	data, err := readAll(f, maxConfigSize, false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, pathCause(err))
	}
	return l.finish(l.load(name, data), name)
}

// LoadBytes is [Load] for a configuration in memory. The name is used in
// messages; includes and local files are looked for beside it.
func LoadBytes(name string, data []byte, o Options) (*Config, error) {
	if len(data) > maxConfigSize {
		return nil, fmt.Errorf("%s: %w", name, tooLarge(maxConfigSize))
	}
	l := newLoader(o)
	return l.finish(l.load(name, data), name)
}

// loader is one call of Load.
type loader struct {
	Options
	report
	stack   []string // files being read, outermost first
	sources []Source
	hash    hash.Hash // apko's checksum
	apps    int64     // bytes of the trees that were read, as archives
}

func newLoader(o Options) *loader {
	if o.MaxFileSize == 0 {
		o.MaxFileSize = DefaultMaxFileSize
	}
	if o.MaxAppSize == 0 {
		o.MaxAppSize = apptree.DefaultMaxSize
	}
	if o.Open == nil {
		o.Open = openFile
		o.App = nil
	} else if o.App == nil {
		o.App = noApp
	}
	return &loader{Options: o, hash: sha256.New()}
}

// openFile opens a file. A named pipe is opened without waiting for a writer,
// so that one that is named where a file is expected does not block.
func openFile(name string) (fs.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// finish validates the merged configuration.
func (l *loader) finish(c *Config, name string) (*Config, error) {
	if c != nil {
		c.Sources = l.sources
		c.includePaths = l.IncludePaths
		c.ApkoChecksum = "sha256-" + base64.StdEncoding.EncodeToString(l.hash.Sum(nil))
		c.normalize()
		w := whole{Config: c, report: &l.report}
		w.check()
	}
	if err := l.err(); err != nil {
		return nil, err
	}
	c.setDefaults()
	c.Warnings = l.sorted(l.warnings)
	if l.ProbeVCS && c.VCSUrl == "" {
		c.probeVCS(name)
	}
	return c, nil
}

// load reads one configuration and what it includes. It returns nil when there
// is nothing to go on with.
func (l *loader) load(name string, data []byte) *Config {
	l.opened(name)
	l.hash.Write(data)
	l.sources = append(l.sources, newSource(name, l.inside(name), data))
	doc := document(&l.report, name, data)
	if doc == nil {
		return nil
	}
	c := l.decode(name, doc)
	if c == nil {
		return nil
	}
	l.readFiles(name, c)
	l.readSlices(name, c)
	l.readApps(name, c)
	if c.Include != "" && !strings.Contains(c.Include, "://") {
		l.include(name, c)
	}
	return c
}

// decode checks a document and fills a configuration from it.
func (l *loader) decode(name string, doc *yaml.Node) *Config {
	before := len(l.problems)
	ck := &checker{report: &l.report, file: name, opened: map[*yaml.Node]bool{}}
	marks := ck.value(place{doc, "configuration"}.root(), language())
	if ck.fatal {
		return nil
	}
	sliced, err := ck.entries.take()
	c := &Config{marks: marks, sliced: sliced}
	if err != nil && len(l.problems) == before {
		l.add(Problem{File: name, Line: 1, Column: 1, Key: "configuration", Problem: "wrong type", Detail: err.Error(), Err: err})
	}
	if err := doc.Decode(c); err != nil && len(l.problems) == before {
		line, message := yamlLine(err.Error())
		l.add(Problem{File: name, Line: line, Column: 1, Key: "configuration", Problem: "wrong type", Detail: message, Err: err})
	}
	return c
}

// root makes the place of a whole document: its keys are shown without prefix.
func (p place) root() place {
	if p.n.Kind == yaml.MappingNode {
		p.path = ""
	}
	return p
}

func (l *loader) include(name string, c *Config) {
	at, _ := c.marks.at("include")
	fail := func(problem, detail, hint string, err error) {
		l.add(Problem{File: name, Line: at.line, Column: at.col, Key: "include", Problem: problem, Detail: detail, Hint: hint, Err: err})
	}
	file, f, err := l.find(l.Open, c.Include, filepath.Dir(name))
	if err != nil {
		fail("not readable", "found "+strconv.Quote(shorten(c.Include))+": "+pathCause(err).Error(),
			"looked from the working directory, in the include paths, and beside "+name, err)
		return
	}
	data, err := readAll(f, maxConfigSize, true)
	if err != nil {
		fail("not readable", "found "+strconv.Quote(shorten(c.Include))+": "+pathCause(err).Error(), "", err)
		return
	}
	l.stack = append(l.stack, identity(name))
	defer func() { l.stack = l.stack[:len(l.stack)-1] }()
	for i, s := range l.stack {
		if s == identity(file) {
			chain := append(append([]string{}, l.stack[i:]...), s)
			fail("include cycle", "found "+strings.Join(chain, " → "), "", nil)
			return
		}
	}
	if len(l.stack) > maxIncludes {
		fail("include too deep", fmt.Sprintf("expected at most %d levels", maxIncludes), "", nil)
		return
	}
	if base := l.load(file, data); base != nil {
		merge(base, c)
	}
}

// identity is a file's name for telling whether it is the same.
func identity(name string) string { return filepath.Clean(name) }

// merge completes c with what it includes; the embedded part by apko's rules.
func merge(base, c *Config) {
	c.mergeSlices(base, len(base.Contents.Packages))
	if err := base.ImageConfiguration.MergeInto(&c.ImageConfiguration); err != nil {
		panic("config: apko's merge has no errors: " + err.Error())
	}
	c.Files = append(base.Files, c.Files...)
	c.App = append(base.App, c.App...)
	if c.Format == "" {
		c.Format = base.Format
	}
	c.Twin.Packages = append(base.Twin.Packages, c.Twin.Packages...)
	c.Lint.NoShell = c.Lint.NoShell || base.Lint.NoShell && !c.marks.has("lint", "no-shell")
	c.Lint.Ignore = append(base.Lint.Ignore, c.Lint.Ignore...)
	for name, keys := range base.Keyrings {
		if _, ok := c.Keyrings[name]; !ok {
			if c.Keyrings == nil {
				c.Keyrings = map[string][]string{}
			}
			c.Keyrings[name] = keys
		}
	}
	c.marks = mergeMarks(base.marks, c.marks, language())
}

// find opens the first place where a file exists.
func (l *loader) find(open func(string) (fs.File, error), path, beside string) (string, fs.File, error) {
	candidates := []string{l.in(path)}
	for _, dir := range l.IncludePaths {
		candidates = append(candidates, l.in(filepath.Join(dir, path)))
	}
	if beside != "" && !filepath.IsAbs(path) {
		candidates = append(candidates, filepath.Join(beside, path))
	}
	var first error
	for _, name := range candidates {
		f, err := open(name)
		if err == nil {
			return name, f, nil
		}
		if first == nil || errors.Is(first, fs.ErrNotExist) {
			first = err
		}
	}
	return "", nil, first
}

// in returns where a path is that is relative to the working directory.
func (l *loader) in(path string) string {
	if l.Dir == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(l.Dir, path)
}

// inside undoes in.
func (l *loader) inside(name string) string {
	if rel, err := filepath.Rel(l.Dir, name); l.Dir != "" && err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return name
}

// readAll reads an opened file and closes it. Only the outermost configuration
// may be something else than a regular file, such as a pipe.
func readAll(f fs.File, limit int64, regular bool) (data []byte, err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir() || regular && !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case info.Size() > limit:
		return nil, tooLarge(limit)
	}
	data, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = tooLarge(limit)
	}
	return data, err
}

func tooLarge(limit int64) error { return fmt.Errorf("too large: expected at most %d bytes", limit) }

// pathCause drops "open NAME:" from an error, where the name is given already.
func pathCause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func newSource(path, name string, data []byte) Source {
	text := bytes.ReplaceAll(bytes.TrimPrefix(data, byteOrderMark), []byte("\r\n"), []byte("\n"))
	return Source{Path: path, Name: name, SHA256: apk.SHA256(sha256.Sum256(text)), Size: int64(len(data)), Text: data}
}

// Find returns where apko finds a path that a configuration names: as it is, or
// below the first of the include paths where it exists. For the paths of
// contents.baseimage, which Load does not look at.
func Find(path string, includePaths []string) (string, error) {
	var first error
	for _, dir := range append([]string{""}, includePaths...) {
		name := path
		if dir != "" {
			name = filepath.Join(dir, path)
		}
		_, err := os.Stat(name)
		if err == nil {
			return name, nil
		}
		if first == nil {
			first = err
		}
	}
	return "", first
}
