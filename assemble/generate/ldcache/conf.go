package ldcache

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// ConfPath is where the configuration begins.
const ConfPath = "etc/ld.so.conf"

// maxIncludes bounds the nesting of include lines.
const maxIncludes = 16

// Dirs returns the directories to search: those of the configuration in their
// order, then those of system, then /lib, /usr/lib, /lib64 and /usr/lib64. files
// holds etc/ld.so.conf and every file that its include lines may mean, by path;
// system is what the image's glibc was built with beside the usual, as Debian's
// is with /lib/x86_64-linux-gnu and /usr/lib/x86_64-linux-gnu.
//
// The syntax is ldconfig's: a directory per line, "#" begins a comment, "include"
// takes patterns (relative ones are relative to the file they stand in), "hwcap"
// lines and "=libc6" suffixes are ignored. Paths that are not absolute are passed
// over.
func Dirs(files map[string][]byte, system ...string) ([]string, error) {
	c := conf{files: files, names: slices.Sorted(maps.Keys(files))}
	if err := c.read(ConfPath, 0); err != nil {
		return nil, err
	}
	for _, dir := range append(slices.Clone(system), "/lib", "/usr/lib", "/lib64", "/usr/lib64") {
		c.add(dir)
	}
	return c.dirs, nil
}

type conf struct {
	files map[string][]byte
	names []string // sorted: the order of glob(3)
	dirs  []string
}

func (c *conf) add(dir string) {
	dir, _, _ = strings.Cut(dir, "=")
	dir = strings.TrimSpace(dir)
	if !path.IsAbs(dir) {
		return
	}
	if dir = path.Clean(dir); !slices.Contains(c.dirs, dir) {
		c.dirs = append(c.dirs, dir)
	}
}

func (c *conf) read(name string, depth int) error {
	if depth > maxIncludes {
		return fmt.Errorf("%s: includes are nested more than %d deep", name, maxIncludes)
	}
	number := 0
	for line := range strings.Lines(string(c.files[name])) {
		number++
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		switch {
		case line == "" || word == "hwcap":
		case word == "include":
			for pattern := range strings.FieldsSeq(rest) {
				if err := c.include(name, pattern, depth); err != nil {
					return fmt.Errorf("%s line %d: %w", name, number, err)
				}
			}
		default:
			c.add(line)
		}
	}
	return nil
}

func (c *conf) include(from, pattern string, depth int) error {
	full := path.Join(path.Dir(from), pattern)
	if path.IsAbs(pattern) {
		full = strings.TrimPrefix(path.Clean(pattern), "/")
	}
	for _, name := range c.names {
		ok, err := path.Match(full, name)
		if err != nil {
			return fmt.Errorf("include %q: %w", pattern, err)
		}
		if hidden := path.Base(name)[0] == '.' && path.Base(full)[0] != '.'; !ok || hidden {
			continue
		}
		if err := c.read(name, depth+1); err != nil {
			return err
		}
	}
	return nil
}
